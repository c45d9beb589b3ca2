"""The configuration, said once: types, defaults, meaning.

The JSON schema, the table in ``config/README.md`` and the validation all come
from these classes; ``trajmake config render`` writes the first two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from trajmake.settings.sections import (
    ContainerSettings,
    EvaluationSettings,
    ImageSettings,
    Limits,
    NotifySettings,
    OpenHandsSettings,
    QualitySettings,
    ResultSettings,
    Section,
    variable,
)

CALIBRATING = ("gold", "empty")
"""Entries of every catalog: `gold` must resolve an instance, `empty` must not."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+@=-]{0,99}$"
_SECRET = re.compile(r"key|token$|secret|password|authorization|credential", re.IGNORECASE)


class Prices(Section):
    """US dollars per million tokens."""

    input: float = Field(..., ge=0, description="Prompt tokens.")
    output: float = Field(..., ge=0, description="Completion tokens.")


class ModelSettings(Section):
    """One model: who acts and which model answers. A change repeats this model's runs, no other's."""

    display_name: str = Field("", description="Name in reports; the key when empty.")
    agent: str = Field(
        "mini_swe_agent",
        description="Who acts: `mini_swe_agent`, `openhands`, `predictions`, `scripted`, `gold` or `empty`.",
    )
    provider: Literal["litellm", "scripted"] = Field(
        "litellm", description="Who answers: a provider through litellm, or replies from files."
    )
    model: str = Field("", description="Provider string, e.g. `anthropic/claude-opus-4-6`.")
    api_key_env: str = Field("", description="Name of the environment variable that holds the key (never the key).")
    base_url: str = Field("", description="Endpoint, when it is not the provider's own.")
    temperature: float | None = Field(None, ge=0, description="Sampling temperature; the provider's own when null.")
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus sampling; the provider's own when null.")
    max_output_tokens: int | None = Field(None, gt=0, description="Tokens of one answer; the provider's own when null.")
    steps: int = Field(250, ge=0, description="Model calls of one run (0: no limit).")
    cost_usd: float = Field(3.0, ge=0, description="US dollars of one run (0: no limit).")
    tokens: int = Field(0, ge=0, description="Tokens of one run, prompts and answers (0: no limit).")
    requests_per_minute: int = Field(
        0, ge=0, description="Requests per minute of all your jobs on a host, evenly spaced (0: no limit)."
    )
    tokens_per_minute: int = Field(
        0, ge=0, description="Tokens per minute, prompts and answers, of all your jobs on a host (0: no limit)."
    )
    prices: Prices | None = Field(None, description="Prices; litellm's table when null, else unknown.")
    prompt_file: str = Field("", description="Prompt templates of the agent; the shipped ones when empty.")
    replies: str = Field("", description="Folder of `<instance_id>.yaml` files, for `provider: scripted`.")
    commands: list[str] = Field([], description="Shell commands, for `agent: scripted`.")
    predictions: str = Field(
        "",
        description="File of SWE-bench predictions (JSON or JSONL), for `agent: predictions`; its patches are tested.",
    )
    options: dict[str, Any] = Field({}, description="Further arguments of the provider's call, as litellm takes them.")

    @field_validator("options")
    @classmethod
    def _no_key(cls, options: dict[str, Any]) -> dict[str, Any]:
        secret = sorted(name for name in _names_in(options) if _SECRET.search(name))
        if secret:
            raise ValueError(f"holds {', '.join(secret)}; put the key into the environment and its name in api_key_env")
        return options

    @field_validator("api_key_env")
    @classmethod
    def _variable(cls, name: str) -> str:
        return variable(name, "put the key")

    @field_validator("base_url")
    @classmethod
    def _no_password(cls, url: str) -> str:
        if url and not re.match(r"https?://[^/]", url, re.IGNORECASE):
            raise ValueError("is no address that begins with http:// or https://")
        if "@" in url.split("://")[-1].split("/")[0]:
            raise ValueError("holds a user's name or password, which would be stored; use api_key_env")
        return url

    @model_validator(mode="after")
    def _complete(self) -> ModelSettings:
        if self.agent in ("mini_swe_agent", "openhands") and self.provider == "litellm" and not self.model:
            raise ValueError("needs `model`, the provider string (e.g. openai/gpt-5.2)")
        if self.agent == "predictions" and not self.predictions:
            raise ValueError("needs `predictions`, the file with the patches")
        if self.provider == "scripted" and not self.replies:
            raise ValueError("needs `replies`, the folder with the scripted answers")
        return self


class Settings(Section):
    """A session's configuration."""

    session: str = Field("demo", pattern=NAME, description="Name of the session; its folder under `output_dir`.")
    dataset: str = Field(..., description="The instances: JSON, JSONL, CSV, XLSX, Parquet, or a folder of such files.")
    strict: bool = Field(
        False, description="An invalid row of the dataset is an error at start; else it is reported and costs no other."
    )
    instances: list[str] = Field([], description="Ids to run; all when empty.")
    models: list[str] = Field(..., min_length=1, description="Models to run, in this order; keys of `catalog`.")
    mode: Literal["sequential", "hybrid", "parallel"] = Field(
        "hybrid",
        description="`sequential`: one instance at a time; `hybrid`: models in turn, instances side by side; "
        "`parallel`: all side by side. The profiles set it.",
    )
    output_dir: str = Field("outputs", pattern=r"^[^{}]+$", description="Where everything is written.")
    engine: str = Field(
        "auto",
        description="Where commands run: `docker`, `podman`, `namespace`, `apptainer`, or `auto` (Docker where a "
        "daemon answers, else `namespace`).",
    )
    max_parallel_instances: int = Field(
        0, ge=0, description="Containers at a time, whatever `-j` says (0: no limit). MAX_PARALLEL_INSTANCES overrides."
    )
    debug: bool = Field(False, description="Log every command and answer. `DEBUG` overrides.")
    limits: Limits = Field(default_factory=Limits, description="What things may take.")
    container: ContainerSettings = Field(default_factory=ContainerSettings, description="What one container may use.")
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings, description="How patches are tested.")
    quality: QualitySettings = Field(
        default_factory=QualitySettings, description="What a run should look like; the others are marked."
    )
    results: ResultSettings = Field(
        default_factory=ResultSettings, description="Where the session is copied whenever a run ends."
    )
    notify: NotifySettings = Field(default_factory=NotifySettings, description="Who is told how it ends.")
    only_valid: bool = Field(
        False,
        description="Run only instances that are valid by `calibration.csv`, which `snakemake calibrate` writes.",
    )
    images: ImageSettings = Field(default_factory=ImageSettings, description="Where images wait and how long.")
    openhands: OpenHandsSettings = Field(
        default_factory=OpenHandsSettings, description="What the agent `openhands` needs."
    )
    catalog: dict[str, ModelSettings] = Field(..., description="The models one can choose from.")

    @property
    def chosen(self) -> dict[str, ModelSettings]:
        """The models to run, by name, in their order."""
        return {name: self.catalog[name] for name in self.models}

    @field_validator("session", mode="before")
    @classmethod
    def _text(cls, session: Any) -> Any:
        return str(session) if isinstance(session, int) else session  # YAML reads 2024 as a number

    @field_validator("catalog")
    @classmethod
    def _names(cls, catalog: dict[str, ModelSettings]) -> dict[str, ModelSettings]:
        for name in catalog:
            if not re.match(NAME, name):
                raise ValueError(f"model name {name!r} cannot be a folder name")
        for name in CALIBRATING:
            entry = catalog.setdefault(name, ModelSettings(agent=name))
            if entry.agent != name:
                raise ValueError(f"`{name}` is the name of the agent that calibrates; call this model otherwise")
        return catalog


def _names_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield str(name)
            yield from _names_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _names_in(item)

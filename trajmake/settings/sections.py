"""The configuration's sections but for the models; :mod:`trajmake.settings.models` puts them together."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Section(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), defer_build=True)


class Limits(Section):
    """What things may take. Changing these repeats nothing that is finished."""

    instance_seconds: int = Field(
        7200, gt=0, description="Wall time of one agent run; then its status is TIMEOUT. `INSTANCE_TIMEOUT` overrides."
    )
    command_seconds: int = Field(60, gt=0, description="Wall time of one command of the agent.")
    test_seconds: int = Field(1800, gt=0, description="Wall time of one test run.")
    silent_seconds: int = Field(
        300,
        ge=20,
        description="After so long without a sign of life a process on another host counts as dead; another takes its "
        "work over.",
    )
    session_usd: float = Field(
        0,
        ge=0,
        description="US dollars that the models of the session may cost, over all runs and hosts (0: no limit). Once "
        "spent, runs end as FAILED with reason `budget_spent`; with more, the same command goes on with them.",
    )


class ContainerSettings(Section):
    """What one container may use (0: no limit)."""

    memory_mb: int = Field(8192, ge=0, description="Memory in MiB.")
    pids: int = Field(2048, ge=0, description="Processes and threads.")
    cpus: float = Field(0, ge=0, description="CPUs.")
    disk_mb: int = Field(
        32768, ge=0, description="MiB that it may write to disk; a command that runs when it has more is killed."
    )


class S3Settings(Section):
    """How a server of S3 is reached. Keys come from the environment or the profile, never from here."""

    profile: str = Field("", description="Profile of `~/.aws/config`; boto3's usual search when empty.")
    region: str = Field("", description="Region; the profile's when empty.")
    endpoint: str = Field("", description="Address of a server that is not Amazon's, e.g. `http://localhost:9000`.")
    unsigned: bool = Field(False, description="Send no credentials: public buckets.")


class ImageSettings(Section):
    """Where images come from and what stays on disk."""

    store: str = Field(
        "",
        description="Folder of the unpacked images of engines without a daemon; `store` in `output_dir` when empty.",
    )
    keep: bool = Field(
        False,
        description="Keep tarballs after loading and images after the last test run, for the next model or session.",
    )
    max_disk_gb: float = Field(
        0,
        ge=0,
        description="GB (10^9 bytes) that unpacked images of Trajmake's may take: idle ones make room before another "
        "is loaded (0: only the disk bounds them).",
    )
    double_tag: bool = Field(
        False,
        description="Tag images as `mswebench/sweb.eval.x86_64.ID:latest` and `mswebench/OWNER_m_REPO:pr-ID` too.",
    )
    mapping: str = Field(
        "",
        description="CSV `internal_uri,ecr_uri`: registry references (exact match) and what is pulled instead.",
    )
    s3: S3Settings = Field(default_factory=S3Settings, description="How images behind `s3://` are reached.")


class EvaluationSettings(Section):
    """How patches are tested."""

    repeats: int = Field(
        1, ge=1, description="Test runs per patch, each in a fresh container; tests that disagree are flaky."
    )
    control: bool = Field(
        True,
        description="Where a patch would resolve its instance, run the tests once more, made to fail: a patch that "
        "prints results itself is found out (Python's tests).",
    )
    ignore_flaky: bool = Field(
        False, description="Leave flaky tests out of the verdict; else a required test must pass every time."
    )


class QualitySettings(Section):
    """What a run should look like. One that does not is marked in `results.csv`; no verdict depends on it."""

    patch_bytes_min: int = Field(100, ge=0, description="Bytes of the patch, at least.")
    patch_bytes_max: int = Field(100_000, ge=0, description="Bytes of the patch, at most.")
    history_min: int = Field(20, ge=0, description="Entries of the trajectory's history, at least.")
    history_max: int = Field(200, ge=0, description="Entries of the trajectory's history, at most.")
    tests_executed_min: int = Field(1, ge=0, description="Tests that passed or failed in the test run, at least.")
    fail_to_pass_min: int = Field(1, ge=0, description="Tests under FAIL_TO_PASS in `report.json`, at least.")
    pass_to_pass_min: int = Field(1, ge=0, description="Tests under PASS_TO_PASS in `report.json`, at least.")


class ResultSettings(Section):
    """Where the session is copied whenever a run ends."""

    uri: str = Field(
        "",
        pattern="^(s3://[^/]+(/.*)?)?$",
        description="`s3://bucket/prefix`: the session's files go there under their paths in `output_dir`, only what "
        "changed; `trajmake pull` brings them back, here or on another host. Nowhere when empty.",
    )
    s3: S3Settings = Field(default_factory=S3Settings, description="How `uri` is reached.")


class NotifySettings(Section):
    """Who is told what becomes of a session. Addresses hold secrets: they come from the environment."""

    urls_env: str = Field(
        "",
        description="Name of the environment variable with Apprise addresses, separated by blanks "
        "(`mailto://…`, `slack://…`, `ntfy://…`); nobody is told when empty.",
    )
    on: list[Literal["completion", "failure", "budget"]] = Field(
        ["completion", "failure", "budget"],
        description="What is told: the session is complete; it ended with faults or unfinished; `budget_percent` of "
        "`limits.session_usd` is spent.",
    )
    budget_percent: float = Field(80, gt=0, le=100, description="Percent of the session's budget.")

    @field_validator("urls_env")
    @classmethod
    def _variable(cls, name: str) -> str:
        return variable(name, "put the addresses")


class OpenHandsSettings(Section):
    """The agent `openhands`: a bundle of Python and its SDK is built once and mounted into the containers."""

    bundles: str = Field(
        "",
        description="Folder of the bundles, which checkouts may share; `bundles` in `output_dir` when empty.",
    )
    python: str = Field(
        "", description="Python 3.12 or 3.13 for the bundle; looked for on PATH, in pyenv and by uv when empty."
    )


def variable(name: str, advice: str) -> str:
    """A setting that names an environment variable.

    Raises:
        ValueError: it can be none; most likely it is the secret itself.
    """
    if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"is no name of an environment variable; {advice} there, and its name here")
    return name

"""Configuration: typed, frozen, described once (:mod:`trajmake.settings.models`)."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from trajmake import agents, engines
from trajmake.errors import ConfigError
from trajmake.settings.models import ModelSettings, Settings
from trajmake.settings.sections import ImageSettings

__all__ = ["ImageSettings", "ModelSettings", "Settings", "config_digest", "from_file", "load", "model_digest"]

_WITHOUT_EFFECT = {"display_name", "api_key_env", "predictions", "prices", "requests_per_minute", "tokens_per_minute"}
_FALSE = ("", "0", "false", "no", "off")


def load(config: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """Check a configuration and give it as typed values.

    Args:
        config: What the YAML file (and ``--config``) said.
        environ: Environment; ``MAX_PARALLEL_INSTANCES``, ``INSTANCE_TIMEOUT`` (seconds)
            and ``DEBUG`` override the file. Default: the process's own.

    Raises:
        ConfigError: every problem found, one per line; an unknown key names the nearest known one.
    """
    merged = _with_environment(dict(config), os.environ if environ is None else environ)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        problems = [_problem(dict(e)) for e in error.errors()]
        raise ConfigError(
            "The configuration is wrong:\n" + "\n".join(f"  {p}" for p in problems),
            "config/README.md lists every key with its meaning.",
        ) from error
    _check_models(settings)
    return settings


def from_file(path: Path | str) -> Settings:
    """:func:`load` a YAML file.

    Raises:
        ConfigError: the file is missing, not YAML, or wrong.
    """
    import yaml

    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no configuration file {path}.", "Name it with --configfile.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The configuration file {path} cannot be read: {error}.", "It must be a YAML text."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} holds no mapping of keys to values.", "Start from config/config.yaml.")
    return load(config)


def model_digest(model: ModelSettings) -> str:
    """sha256 of what a model's trajectories depend on, the prompt file's content included.

    Names for display, the name of the key's variable and rate limits are left out: they change no answer. So is where
    predictions lie, of which each instance's own counts (:meth:`trajmake.predictions.Predictions.digest`), and what has
    its default: a setting that a later version adds must not buy anything again.
    """
    values = model.model_dump(mode="json", exclude_defaults=True, exclude=_WITHOUT_EFFECT)
    if model.prompt_file:
        try:
            values["prompt_file"] = hashlib.sha256(Path(model.prompt_file).read_bytes()).hexdigest()
        except OSError as error:
            raise ConfigError(
                f"The prompt file {model.prompt_file} cannot be read: {error.strerror}.",
                "Mend `prompt_file` in the catalog.",
            ) from error
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def config_digest(options: Settings) -> str:
    """sha256 of the settings as they took effect, but for the session's name: for provenance alone."""
    values = options.model_dump(mode="json", exclude={"session"})
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _with_environment(config: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    if value := environ.get("MAX_PARALLEL_INSTANCES"):
        config["max_parallel_instances"] = _positive("MAX_PARALLEL_INSTANCES", value)
    if value := environ.get("INSTANCE_TIMEOUT"):
        limits = dict(config.get("limits") or {})
        config["limits"] = limits | {"instance_seconds": _positive("INSTANCE_TIMEOUT", value)}
    if (value := environ.get("DEBUG")) is not None:
        config["debug"] = value.lower() not in _FALSE
    return config


def _positive(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) == 0:
        raise ConfigError(f"The environment variable {name} is {value!r}.", "Set it to a whole number above 0.")
    return int(value)


def _problem(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "configuration"
    if error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
        return f"{where}: unknown key" + (f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(known)}")
    if error["type"] == "missing":
        return f"{where}: is required"
    if error["type"] == "value_error":  # our own checks, of what may hold a key: the value is not shown
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    return f"{where}: {error['msg']} (got {error['input']!r:.80})"


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in loc:
        field = model.model_fields.get(part)
        if field is None:
            continue  # the name of a catalog entry
        inner = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)]
        model = next((t for t in inner if issubclass(t, BaseModel)), model)
    return list(model.model_fields)


def _check_models(settings: Settings) -> None:
    for name in settings.models:
        if name not in settings.catalog:
            near = difflib.get_close_matches(name, settings.catalog, n=1)
            raise ConfigError(
                f"There is no model `{name}` in the catalog.",
                f"Did you mean `{near[0]}`?" if near else f"Known models: {', '.join(settings.catalog)}.",
            )
    for name, entry in settings.catalog.items():
        if entry.agent not in agents.AGENTS:
            near = difflib.get_close_matches(entry.agent, agents.AGENTS, n=1)
            raise ConfigError(
                f"catalog.{name}.agent: there is no agent `{entry.agent}`.",
                f"Did you mean `{near[0]}`?" if near else f"Known agents: {', '.join(agents.AGENTS)}.",
            )
    if settings.engine != "auto":
        engines.choose(settings.engine)
    if len(set(settings.models)) < len(settings.models):
        raise ConfigError(f"`models` names one model twice: {', '.join(settings.models)}.", "Name each model once.")

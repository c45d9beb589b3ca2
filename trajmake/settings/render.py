"""What is written from the configuration's description: JSON schema and table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trajmake.settings.models import Settings

SCHEMA = "config/schema.json"
TABLE = "config/README.md"
COMMAND = "trajmake config render"


def schema() -> str:
    """The JSON schema of ``config.yaml``, for editors."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | Settings.model_json_schema(), indent=2) + "\n"


def table() -> str:
    """``config/README.md``: every key with type, default and meaning."""
    lines = [
        "# Configuration",
        "",
        f"Written by `{COMMAND}` from `trajmake/settings/models.py`; change it there.",
        "Unknown keys are errors. Keys are never secrets: keys of providers come from the environment.",
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    full = Settings.model_json_schema()
    lines += [f"| `{key}` | {kind} | {default} | {meaning} |" for key, kind, default, meaning in _rows(full, full, "")]
    return "\n".join(lines) + "\n"


def _rows(node: dict[str, Any], full: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    required = node.get("required", [])
    for name, field in node["properties"].items():
        key = prefix + name
        inner = _object(field, full)
        nested = inner is not None or isinstance(field.get("additionalProperties"), dict)
        default = "required" if name in required else "" if nested else f"`{json.dumps(field.get('default'))}`"
        yield key, _kind(field), default, field.get("description", "").replace("|", "\\|")
        if inner is not None:
            yield from _rows(inner, full, f"{key}.")
        elif nested and (entry := _object(field["additionalProperties"], full)):
            yield from _rows(entry, full, f"{key}.<name>.")


def _object(field: dict[str, Any], full: dict[str, Any]) -> dict[str, Any] | None:
    for option in (field, *field.get("anyOf", [])):
        if "$ref" in option:
            found: dict[str, Any] = full["$defs"][option["$ref"].rsplit("/", 1)[-1]]
            return found
    return None


def _kind(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " \\| ".join(_kind(option) for option in field["anyOf"])
    if "$ref" in field:
        return "mapping"
    kind = str(field.get("type", "any"))
    return {"object": "mapping", "array": "list", "string": "text"}.get(kind, kind)

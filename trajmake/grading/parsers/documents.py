"""JSON values inside a log, between whatever else was printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_DECODER = json.JSONDecoder(strict=False)


def values(log: str, opening: re.Pattern[str]) -> Iterator[tuple[Any, bool]]:
    """Each JSON value that begins where ``opening`` matches: ``(value, True)``, or ``(None, False)`` where it is cut.

    What lies inside a value that was read is not searched again.
    """
    position = 0
    while found := opening.search(log, position):
        try:
            value, position = _DECODER.raw_decode(log, found.start())
        except (json.JSONDecodeError, RecursionError):
            position = found.end()
            yield None, False
        else:
            yield value, True


def text(value: object) -> str:
    """``value`` when it is a string, else nothing: a program can print JSON of any shape."""
    return value if isinstance(value, str) else ""


def records(value: object, key: str) -> list[dict[str, Any]]:
    """The objects in the list ``value[key]``; none when it is something else."""
    found = value.get(key) if isinstance(value, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def number(value: object, key: str) -> int:
    """The whole number ``value[key]``, else 0."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, int) else 0

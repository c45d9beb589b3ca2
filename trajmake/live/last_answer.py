"""What a model asked for last, out of an entry of a journal of which only the end is read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trajmake import files

_TAIL = 64 << 10  # bytes in which the answer most likely stands: it comes after all that was asked
_ANSWER = b'\n  "message": '  # at the top of an entry; further in there is more white space, in texts no line end


def read(path: Path) -> dict[str, Any]:
    """The message in an entry of a journal; an empty one where there is none."""
    with contextlib.suppress(OSError, ValueError):  # gone meanwhile, or not written by us
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - _TAIL))
            tail = stream.read()
        if (start := tail.rfind(_ANSWER)) >= 0:
            found, _ = json.JSONDecoder().raw_decode(tail[start + len(_ANSWER) :].decode())
            return found if isinstance(found, dict) else {}
    found = files.read_object(path).get("message")
    return found if isinstance(found, dict) else {}


def asked_for(message: Mapping[str, Any]) -> str:
    """What an answer wants done, or else says, in one line."""
    wanted = list(_commands(message))
    return " ".join("; ".join(wanted or [_text(message.get("content"))]).split())


def _commands(message: Mapping[str, Any]) -> Iterator[str]:
    """A shell's command as it is; any other call by its name and its first few words."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        arguments = function.get("arguments")
        with contextlib.suppress(ValueError, TypeError):
            arguments = json.loads(arguments or "{}")
        if isinstance(arguments, dict) and isinstance(arguments.get("command"), str) and "path" not in arguments:
            yield arguments["command"]
            continue
        values = arguments.values() if isinstance(arguments, dict) else [arguments]
        yield " ".join([str(function.get("name")), *(str(value)[:200] for value in values if value)])


def _text(content: Any) -> str:
    """The text of a message's content, which may be in parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""

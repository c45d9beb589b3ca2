"""A model that answers from a file: for the demo, and as a double in tests.

The file is YAML: a list of turns, each ``{thought: text, commands: [shell, ...]}``,
or a mapping ``{turns: [...], repeat: true}`` that repeats the last turn for ever.
A turn without commands is a message without a tool call, which an agent takes
for a format error; so is every answer after the last turn (no submission is
invented for a script that forgot it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajmake.errors import ConfigError
from trajmake.llm.base import Completion, Usage

EXHAUSTED = "The script has no further turn."
SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""In a command: the work is done (mini-swe-agent's word for it)."""


@dataclass(frozen=True)
class Turn:
    """What the model says, and the shell commands it asks for."""

    thought: str
    commands: tuple[str, ...]


class ScriptedProvider:
    """Answers turn by turn.

    The turn is read off the request, not counted here: the same request always
    gets the same answer, byte for byte, also from another process. Tokens are an
    estimate, one per four characters of JSON; they follow the conversation's
    length as real ones do.

    Args:
        path: The file with the turns.
        model: Name that the responses give.

    Raises:
        ConfigError: the file is missing or is not a script.
    """

    def __init__(self, path: Path | str, *, model: str) -> None:
        self._turns, self._repeat = read(Path(path))
        self._model = model

    def complete(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> Completion:
        """The turn that follows the answers in ``messages``."""
        index = answers(messages)
        turn = self._turn(index)
        message: dict[str, Any] = {"role": "assistant", "content": turn.thought}
        if turn.commands:
            offered = {tool["function"]["name"] for tool in tools}
            message["tool_calls"] = [
                {"id": f"call_{index + 1}_{number}", "type": "function", "function": _call(command, offered)}
                for number, command in enumerate(turn.commands, 1)
            ]
        request = json.dumps([list(messages), list(tools)])
        return Completion(
            message=message,
            finish_reason="tool_calls" if turn.commands else "stop",
            model=self._model,
            response_id=f"scripted-{hashlib.sha256(request.encode()).hexdigest()[:16]}",
            usage=Usage(prompt_tokens=_tokens(request), completion_tokens=_tokens(json.dumps(message))),
        )

    def _turn(self, index: int) -> Turn:
        if index < len(self._turns):
            return self._turns[index]
        return self._turns[-1] if self._repeat else Turn(EXHAUSTED, ())


def answers(messages: Sequence[dict[str, Any]]) -> int:
    """How many answers of the model ``messages`` imply.

    Its own messages, and one for each complaint of the user that follows no message
    of the model: mini-swe-agent drops an answer it cannot parse and only complains.
    """
    count, previous, tasks = 0, "", 0
    for message in messages:
        role = message["role"]
        tasks += role == "user"
        dropped = role == "user" and tasks > 1 and previous != "assistant"
        count += role == "assistant" or dropped
        previous = role
    return count


def read(path: Path) -> tuple[tuple[Turn, ...], bool]:
    """Turns of a script, and whether the last one repeats.

    Raises:
        ConfigError: the file is missing or is not a script.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"No scripted replies at {path}.", "Write the file, or choose another model for this instance."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the scripted replies {path}: {error}") from error
    repeat = False
    if isinstance(content, dict) and set(content) <= {"turns", "repeat"}:
        repeat, content = bool(content.get("repeat")), content.get("turns")
    if not isinstance(content, list) or not content:
        raise ConfigError(f"{path} is not a script: it holds no list of turns.", "See trajmake/llm/scripted.py.")
    return tuple(_parse(path, number, turn) for number, turn in enumerate(content, 1)), repeat


def _parse(path: Path, number: int, turn: Any) -> Turn:
    if isinstance(turn, dict) and set(turn) <= {"thought", "commands"}:
        thought, commands = turn.get("thought") or "", turn.get("commands") or []
        if isinstance(thought, str) and isinstance(commands, list) and all(isinstance(c, str) for c in commands):
            return Turn(thought, tuple(commands))
    raise ConfigError(
        f"{path}: turn {number} is not a mapping of `thought` (text) and `commands` (list of texts).",
        "Quote what YAML could take for something else.",
    )


def _call(command: str, offered: set[str]) -> dict[str, str]:
    """A command in terms of the agent's tools: mini-swe-agent has ``bash``, OpenHands ``terminal`` and ``finish``."""
    if SUBMIT in command and "finish" in offered:
        return {"name": "finish", "arguments": json.dumps({"message": "Submitted."})}
    name = "terminal" if "terminal" in offered else "bash"
    return {"name": name, "arguments": json.dumps({"command": command})}


def _tokens(text: str) -> int:
    return -(-len(text) // 4)

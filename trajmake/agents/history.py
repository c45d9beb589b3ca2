"""What an agent did, as the events of an OpenHands V0 history (``docs/formats.md``).

Actions carry ``action`` and ``args``; observations carry ``observation``,
``content``, ``extras`` and the id of the action that caused them. ``response_id``, ours, names the model's answer that
an action came out of, as ``metrics`` does. (OpenHands' own place for it is a part of the whole answer.)
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

SHOWN = 10_000  # characters of an output kept in an event; an agent is shown no more


class History:
    """Collects events in order, numbered from 0.

    Methods take ``at``, the Unix time of the event, and ``response``, the id of the answer that it came out of.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def system(self, text: str, *, at: float | None = None) -> int:
        """The system prompt."""
        return self._action("agent", text, "system", {"content": text, "tools": None}, at)

    def message(self, source: str, text: str, *, at: float | None = None, response: str = "") -> int:
        """Words of the ``user`` (the task, a complaint) or of the ``agent``."""
        args = {"content": text, "image_urls": None, "wait_for_response": False}
        return self._action(source, text, "message", args, at, response)

    def run(
        self, command: str, thought: str = "", *, is_input: bool = False, at: float | None = None, response: str = ""
    ) -> int:
        """A command that the agent gave, or its input to one that still runs."""
        args = {"command": command, "thought": thought, "is_input": is_input, "hidden": False}
        return self._action("agent", f"Running command: {command}", "run", args, at, response)

    def ran(
        self, cause: int, command: str, output: str, *, exit_code: int, workdir: str, at: float | None = None
    ) -> int:
        """What the command of event ``cause`` printed, head and tail when it was long."""
        event = {
            "cause": cause,
            "observation": "run",
            "content": shown(output),
            "extras": {
                "command": command,
                "metadata": {"exit_code": exit_code, "working_dir": workdir},
                "hidden": False,
            },
            "success": exit_code == 0,
        }
        return self._add("agent", f"Command `{command}` executed with exit code {exit_code}.", event, at)

    def finish(self, text: str, *, at: float | None = None, response: str = "") -> int:
        """The agent says that it is done."""
        args = {"final_thought": text, "outputs": {}, "thought": ""}
        return self._action("agent", text, "finish", args, at, response)

    def act(self, action: str, args: dict[str, Any], text: str, *, at: float | None = None, response: str = "") -> int:
        """Any other action of the agent (``edit``, ``read``, ``think``, ...)."""
        return self._action("agent", text, action, args, at, response)

    def observe(
        self, cause: int | None, observation: str, content: str, extras: dict[str, Any], *, at: float | None = None
    ) -> int:
        """What any other action led to; None where it cannot be told which."""
        event = {"cause": cause, "observation": observation, "content": content, "extras": extras}
        return self._add("agent" if cause is not None else "environment", content[:200], event, at)

    def stop(self, reason: str, *, at: float | None = None) -> int:
        """A limit ended the run."""
        event = {
            "observation": "agent_state_changed",
            "content": "",
            "extras": {"agent_state": "error", "reason": reason},
        }
        return self._add("environment", reason, event, at)

    def _action(
        self, source: str, text: str, action: str, args: dict[str, Any], at: float | None, response: str = ""
    ) -> int:
        made = {"response_id": response} if response else {}
        return self._add(source, text, {"action": action, "args": args} | made, at)

    def _add(self, source: str, text: str, event: dict[str, Any], at: float | None) -> int:
        number = len(self.events)
        moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
        common = {"id": number, "timestamp": moment.isoformat(timespec="microseconds")}
        self.events.append(common | {"source": source, "message": text} | event)
        return number


def shown(output: str) -> str:
    """``output``, or its head and tail when it is longer than an agent is shown."""
    if len(output) <= SHOWN:
        return output
    half = SHOWN // 2
    return f"{output[:half]}\n[... {len(output) - SHOWN} characters elided ...]\n{output[-half:]}"

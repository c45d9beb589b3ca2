"""What an agent did, step by step, out of a history (OpenHands' V0 events) or, before there is one, of a journal.

A step is one action: a dictionary with

- ``number`` from 1, ``event`` (its id in the history; None in a journal), ``action`` (``run``, ``edit``, ...),
- ``thought``, ``command``, ``arguments`` (others that are not empty), ``output``, ``exit_code`` (None: not known),
- ``notes``: what user or environment said after it, complaints and ends for instance,
- ``started``, ``ended``: Unix times,
- ``cost_usd``, ``prompt_tokens``, ``completion_tokens``, ``latency`` (seconds) of the model's answer that it came out
  of. The first step out of an answer has them; None of the others, and where it cannot be told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from trajmake import files

Step = dict[str, Any]
_WORDS = ("think", "message", "finish")  # actions that are nothing but text
_ELSEWHERE = {"thought", "command", "content", "final_thought", "hidden", "is_input", "wait_for_response", "outputs"}
_PRICED = ("cost_usd", "prompt_tokens", "completion_tokens", "latency")


def of_history(history: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any] | None = None) -> list[Step]:
    """The steps of a history, in order. What one gave is found by the id of its cause.

    Args:
        history: OpenHands' events.
        metrics: OpenHands' too; what single answers cost and took.
    """
    made: dict[Any, Step] = {}
    answers = _Answers(metrics or {})
    for event in history:
        if "action" in event and event.get("source") == "agent" and event["action"] != "system":
            made[event.get("id")] = _step(len(made) + 1, event) | answers.take(_response(event))
        elif "observation" in event and event.get("cause") in made:
            step = made[event["cause"]]
            step["output"] += str(event.get("content") or "")
            step["ended"] = _moment(event)
            code = _mapping(_mapping(event.get("extras")).get("metadata")).get("exit_code")
            step["exit_code"] = code if isinstance(code, int) else step["exit_code"]
        elif made and (said := _said(event)):
            next(reversed(made.values()))["notes"].append(said)
    return answers.by_order(list(made.values()))


def of_journal(folder: Path) -> list[Step]:
    """The steps of a run that has no trajectory (yet), out of the journal of its completions."""
    numbered = {int(path.stem): path for path in folder.glob("*.json") if path.stem.isdigit()}
    entries = [entry for _, path in sorted(numbered.items()) if (entry := files.read_object(path)).get("message")]
    seen = _objects(entries[-1].get("messages")) if entries else []
    outputs = {message.get("tool_call_id"): message for message in seen if message.get("role") == "tool"}
    steps: list[Step] = []
    for entry in entries:
        message, usage = _mapping(entry["message"]), _mapping(entry.get("usage"))
        thought, start = _text(message.get("content")), len(steps)
        for call in _objects(message.get("tool_calls")) or [{}]:
            came = {**_mapping(call.get("function")), "output": outputs.get(call.get("id"))}
            steps.append(_called(len(steps) + 1, came, entry.get("timestamp")))
        steps[start] |= {"thought": thought, "cost_usd": entry.get("cost"), "latency": entry.get("latency")}
        steps[start] |= {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
    for step, after in zip(steps, entries[1:], strict=False) if len(steps) == len(entries) else ():
        step["ended"] = (after.get("timestamp") or 0) - (after.get("latency") or 0)
    return steps


def first_request(path: Path) -> str:
    """What the user said first in the request of a journal's entry; empty where it cannot be read."""
    messages = _objects(files.read_object(path).get("messages"))
    return next((_text(message.get("content")) for message in messages if message.get("role") == "user"), "")


class _Answers:
    """Costs, tokens and latencies of a run's answers, each given away once."""

    def __init__(self, metrics: Mapping[str, Any]) -> None:
        costs, usages, latencies = (
            _objects(metrics.get(name)) for name in ("costs", "token_usages", "response_latencies")
        )
        self._answers: list[dict[str, Any]] = []
        if len(costs) == len(usages) == len(latencies):
            for cost, usage, latency in zip(costs, usages, latencies, strict=True):
                tokens = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
                said = {"id": usage.get("response_id"), "cost_usd": cost.get("cost"), "latency": latency.get("latency")}
                self._answers.append(said | tokens)
        self._left = list(self._answers)
        self._named = False

    def take(self, response: str) -> dict[str, Any]:
        """What the answer of this id cost; nothing where another step has it already."""
        self._named |= bool(response)
        for place, answer in enumerate(self._left if response else ()):
            if answer["id"] == response:
                del self._left[place]
                return {name: answer[name] for name in _PRICED}
        return {}

    def by_order(self, steps: list[Step]) -> list[Step]:
        """Older histories name no answers: where there are as many as steps, each has its own.

        A closing ``finish`` may be ours, which no answer of its own led to.
        """
        count = len(self._answers)
        if not self._named and (len(steps) == count or (len(steps) == count + 1 and steps[-1]["action"] == "finish")):
            for step, answer in zip(steps, self._answers, strict=False):
                step.update({name: answer[name] for name in _PRICED})
        return steps


def _step(number: int, event: Mapping[str, Any]) -> Step:
    arguments = _mapping(event.get("args"))
    said = str(event.get("message") or "")
    words = event["action"] in _WORDS
    return {
        "number": number,
        "event": event.get("id"),
        "action": str(event["action"]),
        "thought": str(arguments.get("thought") or (said if words else "")),
        "command": "" if words else str(arguments.get("command") if event["action"] == "run" else said),
        "arguments": {str(name): value for name, value in arguments.items() if name not in _ELSEWHERE and value},
        "output": "",
        "exit_code": None,
        "notes": [],
        "started": _moment(event),
        "ended": None,
    } | dict.fromkeys(_PRICED)


def _called(number: int, call: Mapping[str, Any], at: Any) -> Step:
    """A step out of a tool call with its output, as a message of the journal has them."""
    try:
        arguments = _mapping(json.loads(call.get("arguments") or "{}"))
    except (TypeError, ValueError):
        arguments = {"arguments": call.get("arguments")}
    command, name = arguments.get("command"), str(call.get("name") or "message")
    run = isinstance(command, str) and set(arguments) <= {"command", "is_input", "timeout", "reset", "security_risk"}
    event = {"action": "run" if run else name, "args": arguments, "message": "" if run or name == "message" else name}
    output = _text(_mapping(call.get("output")).get("content"))
    return _step(number, event) | {"started": at, "output": output, "event": None}


def _said(event: Mapping[str, Any]) -> str:
    """What somebody else than the agent said, or why it ended."""
    if event.get("source") == "agent":
        return ""
    extras = _mapping(event.get("extras"))
    return str(extras.get("reason") or event.get("content") or event.get("message") or "")


def _response(event: Mapping[str, Any]) -> str:
    """Id of the answer that an action came out of: in our histories, and in those that OpenHands itself wrote."""
    made = _mapping(_mapping(event.get("tool_call_metadata")).get("model_response"))
    return str(event.get("response_id") or made.get("id") or "")


def _moment(event: Mapping[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(event.get("timestamp"))).timestamp()
    except ValueError:
        return None


def _text(content: Any) -> str:
    """The text of a message's content, which may be in parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in _objects(content))
    return content if isinstance(content, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, Iterable) else []

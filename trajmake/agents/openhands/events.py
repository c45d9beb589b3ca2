"""Events of the OpenHands SDK (V1) as a history in OpenHands' V0 form.

They come out of a container, where the model's commands run too: nothing about them is relied on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trajmake.agents.history import History, shown

_EDITS = {"create", "str_replace", "insert", "undo_edit"}


def to_history(events: Iterable[tuple[float, Mapping[str, Any]]], workdir: str) -> History:
    """History of events, each with the Unix time when it came; the conversation's own errors are left out.

    Args:
        events: In order.
        workdir: Where a command ran that does not say so.
    """
    history = History()
    numbers: dict[str, tuple[int, str]] = {}  # id of an event -> number and name of its action
    for at, event in events:
        kind = event.get("kind")
        if kind == "SystemPromptEvent":
            history.system(text_of([event.get("system_prompt"), event.get("dynamic_context")]), at=at)
        elif kind == "MessageEvent":
            source = "user" if event.get("source") == "user" else "agent"
            said = text_of(_mapping(event.get("llm_message")).get("content"))
            history.message(source, said, at=at, response=_response(event))
        elif kind == "ActionEvent":
            numbers[str(event.get("id"))] = _act(history, event, at)
        elif kind == "ObservationEvent":
            _observe(history, numbers, event, workdir, at)
        elif kind in ("AgentErrorEvent", "UserRejectObservation"):
            said = str(event.get("error") or event.get("rejection_reason") or "")
            history.observe(None, "error", said, {"tool_call_id": event.get("tool_call_id")}, at=at)
        elif kind == "Condensation":
            args = {"summary": event.get("summary"), "forgotten": len(event.get("forgotten_event_ids") or [])}
            history.act("condensation", args, "Earlier events are summarized.", at=at, response=_response(event))
    return history


def text_of(parts: Any) -> str:
    """The text of message parts; images and what is no part are passed over."""
    found = [_mapping(part).get("text") for part in parts] if isinstance(parts, list) else [parts]
    return "\n".join(text for text in found if isinstance(text, str))


def _act(history: History, event: Mapping[str, Any], at: float) -> tuple[int, str]:
    action = _mapping(event.get("action"))
    thought = text_of(event.get("thought"))
    came: Any = {"at": at, "response": _response(event)}
    tool, command = str(event.get("tool_name") or ""), action.get("command")
    args = {key: value for key, value in action.items() if key != "kind" and value is not None} | {"thought": thought}
    if tool == "terminal" and action:
        return history.run(str(command), thought, is_input=bool(action.get("is_input")), **came), "run"
    if tool == "finish" and action:
        return history.finish(str(action.get("message") or ""), **came), "finish"
    if tool == "file_editor" and action:
        name = "edit" if command in _EDITS else "read"
        return history.act(name, args, f"{command} {action.get('path')}", **came), name
    if tool == "think" and action:
        return history.act("think", {"thought": action.get("thought") or ""}, "", **came), "think"
    name = {"task_tracker": "task_tracking"}.get(tool, tool or "unknown")
    if not action:  # a call that could not be understood: the words as they came
        args |= {"arguments": _mapping(event.get("tool_call")).get("arguments")}
    return history.act(name, args, str(event.get("summary") or ""), **came), name


def _observe(
    history: History, numbers: Mapping[str, tuple[int, str]], event: Mapping[str, Any], workdir: str, at: float
) -> None:
    cause, name = numbers.get(str(event.get("action_id")), (None, str(event.get("tool_name") or "unknown")))
    seen = _mapping(event.get("observation"))
    content = text_of(seen.get("content"))
    if name == "finish":
        return
    if name == "run" and cause is not None:
        facts = _mapping(seen.get("metadata"))
        code = seen.get("exit_code")
        content = f"{facts.get('prefix') or ''}{content}{facts.get('suffix') or ''}"
        where = str(facts.get("working_dir") or workdir)
        number = code if isinstance(code, int) else -1
        history.ran(cause, str(seen.get("command") or ""), content, exit_code=number, workdir=where, at=at)
        return
    extras = {key: seen[key] for key in ("command", "path", "prev_exist", "is_error") if key in seen}
    history.observe(cause, name, shown(content), extras, at=at)


def _response(event: Mapping[str, Any]) -> str:
    """Id of the model's answer that an event came out of; empty where it does not say."""
    return str(event.get("llm_response_id") or "")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

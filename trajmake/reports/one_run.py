"""One run, out of the files that its stages left: outcome, patch, failing tests, last steps, where its logs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.errors import ConfigError
from trajmake.sessions import layout, survey
from trajmake.sessions.found import Outputs, near

_EVALUATION_LOGS = ("run_instance.log", "test_output*.txt")
_WORDS = ("think", "message", "finish")  # actions that are nothing but text


def read(outputs: Outputs, session: str, model: str, instance: str, *, last: int = 5) -> dict[str, Any]:
    """Everything about a run that can be shown.

    Args:
        outputs: The folder of all sessions.
        session: Its name.
        model: The model's name in the catalog.
        instance: The instance's id.
        last: How many steps from the end.

    Returns:
        ``outcome``, ``patch``, ``failing`` (ids of required tests by kind), ``steps``, ``files`` (paths).

    Raises:
        ConfigError: the session has no such model, or this model no such instance.
    """
    output_dir = outputs.folder
    model, safe = _run(outputs, session, model, instance)
    (outcome,) = survey.survey(output_dir, session, [(model, safe)])
    names = {"session": session, "model": model, "instance_id": safe}
    folder, evaluation = (output_dir / pattern.format(**names) for pattern in (layout.INSTANCE, layout.EVALUATION))
    record = files.read_object(folder / "output.jsonl")
    graded = {} if "unfinished" in outcome else files.read_object(evaluation / "report.json")
    report = graded.get(outcome["instance_id"]) or {}
    return {
        "outcome": outcome,
        "patch": (record.get("test_result") or {}).get("git_patch") or "",
        "failing": {kind: tests["failure"] for kind, tests in (report.get("tests_status") or {}).items()},
        "steps": steps(record.get("history") or [])[-last:] if last else [],
        "files": _files(output_dir, names, folder, evaluation),
    }


def steps(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the agent did, in order: ``number`` (from 1), ``action``, ``thought``, ``command``, and its ``output``.

    ``history`` is OpenHands'. What a step gave is found by the id of its cause.
    """
    made: dict[Any, dict[str, Any]] = {}
    for event in history:
        if "action" in event and event.get("source") == "agent" and event["action"] != "system":
            arguments = event.get("args") or {}
            said = str(event.get("message") or "")
            words = event["action"] in _WORDS
            made[event.get("id")] = {
                "number": len(made) + 1,
                "action": event["action"],
                "thought": str(arguments.get("thought") or (said if words else "")),
                "command": "" if words else str(arguments.get("command") if event["action"] == "run" else said),
                "output": "",
            }
        elif "observation" in event and event.get("cause") in made:
            made[event["cause"]]["output"] += str(event.get("content") or "")
    return list(made.values())


def _run(outputs: Outputs, session: str, model: str, instance: str) -> tuple[str, str]:
    """Model and safe name of the instance; the gold and empty ones count too."""
    known = outputs.runs(session)
    names = {name for name, _ in known}
    if model not in names:
        raise ConfigError(f"Session {session} has no model {model}.", near(model, names, "Models"))
    instances = {layout.original_name(safe): safe for name, safe in known if name == model}
    if instance not in instances:
        hint = near(instance, instances, "Instances")
        raise ConfigError(f"{model} has no run on {instance} in session {session}.", hint)
    return model, instances[instance]


def _files(output_dir: Path, names: Mapping[str, str], folder: Path, evaluation: Path) -> list[str]:
    """Logs of the jobs first, then what they made: only what is there."""
    logs = output_dir / layout.LOGS.format(**names) / names["model"]
    stem = f"instance_{names['instance_id']}"
    paths = [logs / f"{stem}.log", logs / f"{stem}.grade.log", output_dir / layout.STATUS.format(**names)]
    for pattern in _EVALUATION_LOGS:
        paths += sorted(evaluation.glob(pattern))
    paths += [folder / "output.jsonl", output_dir / layout.JOURNAL.format(**names)]
    paths += [evaluation / name for name in ("patch.diff", "eval.sh", "report.json", "outcome.json")]
    paths += sorted((folder / "faults").glob("*.jsonl"))
    return [str(path) for path in paths if path.exists()]

"""``outcome.json``: the one state of one run, flat; every summary is made from these."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.grading.contamination import Flag
from trajmake.grading.verdict import RequiredTests, State, Verdict
from trajmake.outcomes import ExitStatus, Status, status_of
from trajmake.sessions.faults import Fault
from trajmake.sessions.status import StatusLine

TIMEOUT_EXIT_CODE = 124  # as timeout(1) has it
_KEYS = """session model instance_id status seconds exit_code verdict resolved message exit_status steps cost_usd
prompt_tokens completion_tokens history_entries patch_bytes patch_applied tests_executed flaky warnings
flags fail_to_pass_passed fail_to_pass_total pass_to_pass_passed pass_to_pass_total started ended
fault_stage fault_reason fault_message fault_hint""".split()


def build(
    session: str,
    model: str,
    record: Mapping[str, Any],
    verdict: Verdict,
    fault: Fault | None = None,
    flags: Sequence[Flag] = (),
) -> dict[str, Any]:
    """The state of a run from its trajectory's line and its verdict.

    A fault of any stage makes the status ``FAILED``; so does a verdict that the
    machine is to blame for. ``resolved`` is None then: such a run is in no rate.
    """
    details = (record.get("metadata") or {}).get("details") or {}
    metrics = record.get("metrics") or {}
    usage = metrics.get("accumulated_token_usage") or {}
    infra = verdict.state is State.INFRA_FAILURE
    ended = ExitStatus(details["exit_status"]) if details.get("exit_status") else None
    status = Status.FAILED if infra or ended is None else status_of(ended)
    tests = verdict.tests or RequiredTests()
    return {
        "session": session,
        "model": model,
        "instance_id": verdict.instance_id,
        "status": status.value,
        "seconds": round(details.get("seconds") or 0),
        "exit_code": _exit_code(status, fault),
        "verdict": verdict.state.value,
        "resolved": None if infra else verdict.resolved,
        "message": verdict.message,
        "exit_status": ended.value if ended else None,
        "steps": details.get("steps"),
        "cost_usd": metrics.get("accumulated_cost"),
        "prompt_tokens": usage.get("prompt_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
        "history_entries": len(record.get("history") or ()),
        "patch_bytes": len(record["test_result"]["git_patch"].encode("utf-8", errors="surrogateescape")),
        "patch_applied": verdict.patch_applied,
        "tests_executed": verdict.passed + verdict.failed + verdict.errors,
        "flaky": list(verdict.flaky),
        "warnings": [*verdict.warnings, *_other_models(details)],
        "flags": [{**asdict(flag), "evidence": list(flag.evidence)} for flag in flags],
        "fail_to_pass_passed": len(tests.fail_to_pass_success),
        "fail_to_pass_total": len(tests.fail_to_pass_success) + len(tests.fail_to_pass_failed),
        "pass_to_pass_passed": len(tests.pass_to_pass_success),
        "pass_to_pass_total": len(tests.pass_to_pass_success) + len(tests.pass_to_pass_failed),
        "started": details.get("started"),
        "ended": details.get("ended"),
        "fault_stage": fault.stage if fault else "run_tests" if infra else None,
        "fault_reason": fault.reason if fault else verdict.infra_failure_reason or None,
        "fault_message": fault.message if fault else verdict.message if infra else None,
        "fault_hint": fault.hint if fault else None,
    }


def read(path: Path) -> dict[str, Any]:
    """The state of a finished run; what an earlier version did not know is None.

    Raises:
        OSError, ValueError: there is none, or it is damaged.
    """
    state = files.read_json(path)
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no object")
    return dict.fromkeys(_KEYS) | state


def unfinished(session: str, model: str, instance_id: str, status: str, stage: str, why: str) -> dict[str, Any]:
    """What is shown of a run that has no outcome yet: the same keys, and ``unfinished``, why that is so.

    Args:
        session, model, instance_id: The run.
        status: As in :mod:`trajmake.sessions.survey`.
        stage: The first that is not done.
        why: A sentence.
    """
    known = {"session": session, "model": model, "instance_id": instance_id, "status": status, "verdict": ""}
    lists: dict[str, Any] = {"flaky": [], "warnings": [], "flags": []}
    return dict.fromkeys(_KEYS) | known | lists | {"message": why, "unfinished": f"{stage}: {why}"}


def status_line(outcome: Mapping[str, Any]) -> StatusLine:
    """The status file's line for an outcome."""
    epoch = int(outcome["ended"] or time.time())
    return StatusLine(Status(outcome["status"]), epoch, outcome["seconds"], outcome["exit_code"])


def _other_models(details: Mapping[str, Any]) -> list[str]:
    """A provider that answers with another model than it was asked for. A dated version is the same model."""
    asked = details.get("model_asked") or ""
    same = re.compile(rf"(.*/)?{re.escape(asked.rpartition('/')[2])}([-@:.]?(v?[0-9][-0-9.:]*|latest))?", re.IGNORECASE)
    others = [name for name in details.get("models_answered") or () if asked and not same.fullmatch(name)]
    return [f"asked for {asked}, answered by {', '.join(others)}"] if others else []


def _exit_code(status: Status, fault: Fault | None) -> int:
    if fault:
        return fault.exit_code
    return {Status.FAILED: 1, Status.TIMEOUT: TIMEOUT_EXIT_CODE}.get(status, 0)

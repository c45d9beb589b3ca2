"""What became of a run, in one word and in one sentence: runs are counted and listed by these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trajmake.grading.verdict import State
from trajmake.outcomes import ExitStatus, Status

Outcome = Mapping[str, Any]

ENDS = {
    "resolved": "Resolved",
    "unresolved": "Unresolved",
    "empty": "No patch",
    "timeout": "Timeout",
    "missing": "No prediction",
    "fault": "Machine fault",
}
"""Every run has exactly one of these ends."""
_STATUS_ENDS = {Status.TIMEOUT: "timeout", Status.MISSING: "missing"}
_ENDED = {
    ExitStatus.SUBMITTED: "submitted",
    ExitStatus.GAVE_UP: "gave up",
    ExitStatus.STEP_LIMIT: "had no steps left",
    ExitStatus.COST_LIMIT: "had no money left",
    ExitStatus.TOKEN_LIMIT: "had no tokens left",
    ExitStatus.TIME_LIMIT: "had no time left",
    ExitStatus.CONTEXT_LIMIT: "filled its context",
    ExitStatus.FORMAT_ERRORS: "answered in no known format",
}


def end(outcome: Outcome) -> str:
    """A key of ``ENDS``. A run that ran out of time and is resolved all the same is resolved."""
    if outcome["resolved"]:
        return "resolved"
    if outcome["resolved"] is None:
        return "fault"
    if outcome["status"] in _STATUS_ENDS:
        return _STATUS_ENDS[outcome["status"]]
    return "empty" if outcome["verdict"] == State.EMPTY_PATCH else "unresolved"


def reason(outcome: Outcome) -> str:
    """Why a run is not resolved, without what is its own (names, numbers), so that runs can be counted by it."""
    what = end(outcome)
    if what == "resolved":
        return ""
    if what == "fault":
        return f"{outcome['fault_reason'] or 'no verdict'} in {outcome['fault_stage'] or 'grade'}"
    if what == "missing":
        return "the file of predictions has none"
    if what == "timeout":
        return "the agent had no time left"
    ended = _ENDED[ExitStatus(outcome["exit_status"])]
    if what == "empty":
        return f"the agent {ended} without a patch"
    return _tests(outcome) + ("" if outcome["exit_status"] == ExitStatus.SUBMITTED else f"; the agent {ended}")


def _tests(outcome: Outcome) -> str:
    if not outcome["patch_applied"]:
        return "the patch does not apply"
    if outcome["message"]:
        # "The log is rejected: ...", "The patch ends its test run with SIGKILL; ...": the rest is the run's own.
        said = str(outcome["message"]).partition(":")[0].partition(";")[0].strip(" .")
        return said[:1].lower() + said[1:]
    unfixed = outcome["fail_to_pass_passed"] < outcome["fail_to_pass_total"]
    broken = outcome["pass_to_pass_passed"] < outcome["pass_to_pass_total"]
    if unfixed and broken:
        return "the bug is still there, and other tests fail now"
    return "other tests fail now" if broken else "the bug is still there"


def grouped(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Runs that are not resolved, by end and reason, the most frequent first.

    Returns:
        ``end``, ``reason``, ``count``, ``models`` (name → count), ``runs`` (model, instance id), and of faults
        ``said``: each message with its hint once.
    """
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if why := reason(outcome):
            groups.setdefault((end(outcome), why), []).append(outcome)
    rows = [_group(*key, members) for key, members in groups.items()]
    return sorted(rows, key=lambda row: (-row["count"], row["end"], row["reason"]))


def _group(what: str, why: str, members: Sequence[Outcome]) -> dict[str, Any]:
    models: dict[str, int] = {}
    for one in members:
        models[one["model"]] = models.get(one["model"], 0) + 1
    said = dict.fromkeys((one["fault_message"] or "", one["fault_hint"] or "") for one in members if what == "fault")
    return {
        "end": what,
        "reason": why,
        "count": len(members),
        "models": models,
        "runs": [(one["model"], one["instance_id"]) for one in members],
        "said": sorted(said),
    }

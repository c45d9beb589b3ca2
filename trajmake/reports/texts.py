"""``final_report.txt`` and ``{model}_summary.txt``: what people read first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trajmake.llm.spending import Spent
from trajmake.reports.session import ModelRuns, SessionRuns
from trajmake.sessions import quality

Outcome = Mapping[str, Any]
RULE = "=" * 72


def final_report(session: SessionRuns) -> str:
    """The session's report."""
    everything = session.outcomes
    statuses = Counter(outcome["status"] for outcome in everything)
    head = [
        RULE,
        "FINAL REPORT",
        RULE,
        f"Session ID: {session.id}",
        f"Dataset: {session.dataset}",
        f"Models: {len(session.models)}",
        f"Total Runs: {len(everything)}",
        f"Successful: {statuses['SUCCESS']}",
        f"Failed: {statuses['FAILED']}",
        f"Timed Out: {statuses['TIMEOUT']}",
        *_missing(statuses),
        *_not_done(statuses),
        f"Resolved: {_resolved(everything)}",
        f"Quality: {quality.summary(everything)}",
        *(["Spent: " + spending(session.spent, session.budget)] if session.spent.completions else []),
        f"Completion Time: {completed(everything)}",
        "",
    ]
    models = "".join(map(model_summary, session.models))
    sections = [_notes(everything), _flags(everything), _listed("Predictions", session.predictions)]
    sections += [_faults(everything), _listed("Invalid rows", session.invalid_rows, " (no model worked on them)")]
    sections.append(_listed("GPUs of the driver's host", list(map(gpu, session.gpus)), " (while agents worked)"))
    return "\n".join(head) + models + "".join(sections)


def spending(spent: Spent, budget: float) -> str:
    """What a session has spent, on repeated runs too, and may spend: ``1.2000 of 5 USD for 12 answers``."""
    limit = f" of {budget:g} USD" if budget else " USD"
    unknown = f" ({spent.unpriced} of unknown price)" if spent.unpriced else ""
    return f"{spent.usd:.4f}{limit} for {spent.completions} answers{unknown}"


def model_summary(runs: ModelRuns) -> str:
    """One model's block: how many ran to an end (success rate) and how many bugs it fixed (resolved rate)."""
    outcomes = runs.outcomes
    statuses = Counter(outcome["status"] for outcome in outcomes)
    lines = [
        "-" * 72,
        f"Model: {runs.display_name}",
        f"Configuration: {runs.configuration}",
        f"Total Instances: {len(outcomes)}",
        f"Successful: {statuses['SUCCESS']}",
        f"Failed: {statuses['FAILED']}",
        f"Timed Out: {statuses['TIMEOUT']}",
        *_missing(statuses),
        *_not_done(statuses),
        f"Success Rate: {_percent(statuses['SUCCESS'], len(outcomes))}",
        f"Resolved: {_resolved(outcomes)}",
        f"Quality: {quality.summary(outcomes)}",
        f"Cost: {_cost(outcomes)}",
        f"Completion Time: {completed(outcomes)}",
        "",
        *(_row(outcome) for outcome in outcomes),
        "",
    ]
    return "\n".join(lines) + "\n"


def _missing(statuses: Counter[str]) -> list[str]:
    return [f"Missing: {statuses['MISSING']} (no prediction; not resolved)"] if statuses["MISSING"] else []


def _not_done(statuses: Counter[str]) -> list[str]:
    counts = [f"{statuses[name]} {name}" for name in ("IN_PROGRESS", "STALE", "PENDING") if statuses[name]]
    return [f"Not finished: {', '.join(counts)}"] if counts else []


def unfinished(outcomes: Sequence[Outcome], logs: Path) -> str:
    """What a summary lacks, and why.

    Args:
        outcomes: All runs, those of :func:`trajmake.sessions.outcome.unfinished` among them.
        logs: Folder of the session's logs.
    """
    lacking = [outcome for outcome in outcomes if outcome.get("unfinished")]
    lines = [f"INCOMPLETE: {len(lacking)} of {len(outcomes)} runs have no verdict."]
    lines += [f"  {_name(one)}: {one['status']}, {one['unfinished']}" for one in lacking]
    lines += [f"What ended a job: its log in {logs}, Snakemake's in .snakemake/log.", "The same command goes on.", ""]
    return "\n".join(lines) + "\n"


def session_faults(outcomes: Sequence[Outcome], nameless: Sequence[str]) -> str:
    """What keeps a session from being complete; empty when nothing does.

    Args:
        outcomes: All runs.
        nameless: Rows of the dataset that cannot even be runs, one sentence each.
    """
    lines = []
    if failed := sum(outcome["status"] == "FAILED" for outcome in outcomes):
        lines += [f"{failed} of {len(outcomes)} runs met a fault of the machine:", fault_summary(outcomes)]
    if nameless:
        lines += [f"{len(nameless)} rows of the dataset are no instances:", *(f"    {row}" for row in nameless)]
        lines += ["    Hint: mend or remove them; `trajmake dataset check` says more."]
    return "".join(f"{line}\n" for line in lines)


def fault_summary(outcomes: Sequence[Outcome], *, examples: int = 3) -> str:
    """The machine's faults grouped by reason and message, with examples and what to do."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for outcome in outcomes:
        if outcome["status"] == "FAILED":
            key = tuple(str(outcome[f"fault_{part}"] or "") for part in ("stage", "reason", "message", "hint"))
            groups.setdefault(key, []).append(_name(outcome))  # type: ignore[arg-type]
    lines = []
    for (stage, reason, message, hint), names in sorted(groups.items()):
        more = f" and {len(names) - examples} more" if len(names) > examples else ""
        lines.append(f"{len(names)} x {reason} in {stage}: {message}")
        lines.append(f"    {', '.join(names[:examples])}{more}")
        if hint:
            lines.append(f"    Hint: {hint}")
    return "\n".join(lines)


def _faults(outcomes: Sequence[Outcome]) -> str:
    summary = fault_summary(outcomes)
    if not summary:
        return ""
    return f"{'-' * 72}\nFaults of the machine (in no rate of resolved; the same command repeats them):\n{summary}\n"


def _notes(outcomes: Sequence[Outcome]) -> str:
    """What deviated in test runs without being a fault, and flaky tests: once per instance, with the models."""
    notes: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        said = list(outcome.get("warnings", ()))
        if flaky := outcome.get("flaky"):
            more = f" and {len(flaky) - 3} more" if len(flaky) > 3 else ""
            said.append(f"flaky tests: {', '.join(flaky[:3])}{more}")
        for note in said:
            notes.setdefault((outcome["instance_id"], note), []).append(outcome["model"])
    if not notes:
        return ""
    lines = [f"  {instance}: {note} ({', '.join(models)})\n" for (instance, note), models in sorted(notes.items())]
    return f"{'-' * 72}\nNotes on test runs: {len(lines)}\n{''.join(lines)}"


def _flags(outcomes: Sequence[Outcome]) -> str:
    """What should be looked at before a result is believed; with where it was seen."""
    lines = [
        f"{_name(outcome)}: {flag['kind']} ({flag['count']}): {'; '.join(flag['evidence'])}"
        for outcome in outcomes
        for flag in outcome.get("flags", ())
    ]
    return _listed("Signs of contamination", lines, " (to be looked at; part of no verdict)")


def gpu(load: Mapping[str, Any]) -> str:
    """The load of a GPU while agents worked, as :func:`trajmake.live.gpus.summary` has it."""
    line = f"{load['name']} ({load['host']}): mean {load['mean_percent']:.0f}%, peak {load['peak_percent']:.0f}%"
    if load["peak_memory_mib"] is not None and load["total_mib"]:
        line += f", memory up to {load['peak_memory_mib'] / 1024:.1f} of {load['total_mib'] / 1024:.1f} GiB"
    return f"{line}; {load['samples']} samples"


def _listed(title: str, lines: Sequence[str], remark: str = "") -> str:
    if not lines:
        return ""
    return f"{'-' * 72}\n{title}: {len(lines)}{remark}\n" + "".join(f"  {line}\n" for line in lines)


def _name(outcome: Outcome) -> str:
    return f"{outcome['model']}/{outcome['instance_id']}"


def _row(outcome: Outcome) -> str:
    what = outcome["fault_reason"] or outcome["exit_status"] or ""
    name = " ".join(outcome["instance_id"].split())
    return f"  {name:<44} {outcome['status']:<8} {outcome['verdict']:<12} {what}"


def _resolved(outcomes: Sequence[Outcome]) -> str:
    judged = [outcome for outcome in outcomes if outcome["resolved"] is not None]
    resolved = sum(outcome["resolved"] for outcome in judged)
    lacking = sum("unfinished" in outcome for outcome in outcomes)
    apart = len(outcomes) - len(judged) - lacking
    note = f"; {apart} with a fault of the machine left out" if apart else ""
    note += f"; {lacking} without a verdict left out" if lacking else ""
    return f"{resolved} of {len(judged)} ({_percent(resolved, len(judged))}{note})"


def _cost(outcomes: Sequence[Outcome]) -> str:
    known = [outcome["cost_usd"] for outcome in outcomes if outcome["cost_usd"] is not None]
    unknown = sum(outcome["cost_usd"] is None for outcome in outcomes if "unfinished" not in outcome)
    return f"{sum(known):.4f} USD" + (f" and {unknown} runs of unknown price" if unknown else "")


def completed(outcomes: Sequence[Outcome]) -> str:
    """When the last of these runs ended."""
    ended = max((outcome["ended"] for outcome in outcomes if outcome["ended"]), default=0)
    return datetime.fromtimestamp(ended, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if ended else "-"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "-"

"""A session in figures, a row for each model: how runs ended, what was resolved, what it took."""

from __future__ import annotations

import csv
import io
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trajmake import agents, files
from trajmake.outcomes import ExitStatus
from trajmake.reports import texts
from trajmake.sessions import layout, survey
from trajmake.sessions.found import Outputs

Outcome = Mapping[str, Any]

# The first eight are what the final report has of each model, in its words; rates are in percent.
COLUMNS = {
    "Model": "model",
    "Configuration": "configuration",
    "Total Instances": "total_instances",
    "Successful": "successful",
    "Failed": "failed",
    "Timed Out": "timed_out",
    "Success Rate": "success_rate",
    "Completion Time": "completion_time",
    "Missing": "missing",
    "Not Finished": "not_finished",
    "Judged": "judged",
    "Resolved": "resolved",
    "Resolved Rate": "resolved_rate",
    "Quality OK": "quality_ok",
    "Mean Seconds": "mean_seconds",
    "Median Seconds": "median_seconds",
    "Mean Steps": "mean_steps",
    "Median Steps": "median_steps",
    "Prompt Tokens": "prompt_tokens",
    "Completion Tokens": "completion_tokens",
    "Cost USD": "cost_usd",
    "Mean Cost USD": "mean_cost_usd",
    "Cost per Resolved USD": "cost_per_resolved_usd",
    "Unknown Costs": "unknown_costs",
}


def analyze(outputs: Outputs, session: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row for each model of a session, with the keys of ``COLUMNS``; and the outcomes of all its runs."""
    names = outputs.models(session)
    states = outputs.states(session, names)
    rows = []
    for name in names:
        mine = [state for state in states if state["model"] == name]
        rows.append({"model": name, "configuration": _configuration(outputs.folder, mine), **figures(mine)})
    return rows, states


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What some marked runs come to; None where there is nothing to take a mean or a rate of.

    Times and steps are those of agents that came to their end; tokens and dollars are everybody's, since
    a fault gives no money back. A sum of dollars with an unknown one in it has no mean.
    """
    statuses = Counter(outcome["status"] for outcome in outcomes)
    judged = [outcome["resolved"] for outcome in outcomes if outcome["resolved"] is not None]
    acted = [one for one in outcomes if one["exit_status"] not in (None, ExitStatus.NO_PREDICTION)]
    seconds, steps = _known(acted, "seconds"), _known(acted, "steps")
    costs = _known(outcomes, "cost_usd")
    unknown = sum(one["cost_usd"] is None for one in outcomes if "unfinished" not in one)
    return {
        "total_instances": len(outcomes),
        "successful": statuses["SUCCESS"],
        "failed": statuses["FAILED"],
        "timed_out": statuses["TIMEOUT"],
        "success_rate": percent(statuses["SUCCESS"], len(outcomes)),
        "completion_time": texts.completed(outcomes),
        "missing": statuses["MISSING"],
        "not_finished": sum(statuses[name] for name in ("IN_PROGRESS", survey.STALE, survey.PENDING)),
        "judged": len(judged),
        "resolved": sum(judged),
        "resolved_rate": percent(sum(judged), len(judged)),
        "quality_ok": sum(bool(one["quality"]) for one in outcomes),
        "mean_seconds": _rounded(statistics.fmean, seconds, 1),
        "median_seconds": _rounded(statistics.median, seconds, 1),
        "mean_steps": _rounded(statistics.fmean, steps, 1),
        "median_steps": _rounded(statistics.median, steps, 1),
        "prompt_tokens": sum(_known(outcomes, "prompt_tokens")),
        "completion_tokens": sum(_known(outcomes, "completion_tokens")),
        "cost_usd": round(sum(costs), 6),
        "mean_cost_usd": None if unknown else _rounded(statistics.fmean, costs, 6),
        "cost_per_resolved_usd": round(sum(costs) / sum(judged), 6) if any(judged) and not unknown else None,
        "unknown_costs": unknown,
    }


def failures(states: Iterable[Outcome]) -> list[dict[str, Any]]:
    """The runs that the machine or their time ended, or that have no verdict yet, and why; sorted by reason."""
    rows = []
    for state in states:
        why = state.get("unfinished")
        if state["status"] == "FAILED" and not why:
            why = f"{state['fault_reason']} in {state['fault_stage']}: {state['fault_message']}"
        elif state["status"] == "TIMEOUT" and not why:
            why = f"the agent's time was over after {state['seconds']} s"
        if why:
            rows.append({key: state[key] for key in ("model", "instance_id", "status")} | {"why": why})
    return sorted(rows, key=lambda row: (row["model"], row["status"], row["why"], row["instance_id"]))


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as CSV; what is not known is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[key] for key in COLUMNS.values()] for row in rows)
    return text.getvalue()


def percent(part: int, whole: int) -> float | None:
    """A rate in percent, with two decimals."""
    return round(100 * part / whole, 2) if whole else None


def _known(outcomes: Iterable[Outcome], key: str) -> list[float]:
    return [outcome[key] for outcome in outcomes if outcome[key] is not None]


def _rounded(mean: Any, values: Sequence[float], digits: int) -> float | None:
    return round(mean(values), digits) if values else None


def _configuration(output_dir: Path, states: Iterable[Outcome]) -> str:
    """Agent and model, as a trajectory names them; of several that differ each once."""
    said = {}
    for state in states:
        names = {key: state[key] for key in ("session", "model")}
        folder = output_dir / layout.INSTANCE.format(instance_id=layout.safe_name(state["instance_id"]), **names)
        facts = files.read_object(folder / "metadata.json")
        agent, llm = facts.get("agent_class") or "", facts.get("llm_config") or {}
        asks = agent in agents.AGENTS and agents.needs_model(agent)
        said[", ".join(filter(None, (agent, (llm.get("model") or llm.get("provider")) if asks else "")))] = True
    return "; ".join(name for name in said if name)

"""A whole session as facts for a page: its numbers, its models, why runs failed, which tests fail, what made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajmake.reports import analysis, chance, reasons
from trajmake.reports.comparison import Side, compare
from trajmake.reports.session import SessionRuns
from trajmake.sessions.calibration import Calibrated

Outcome = Mapping[str, Any]

FREQUENT_TESTS = 15
"""How many of the tests that fail most often are listed."""


@dataclass(frozen=True)
class Records:
    """What lies beside the outcomes of a session.

    Attributes:
        output_dir: Where the session lies.
        reports: ``report.json`` of every run, in the order of the outcomes; gone through once, as they are large.
        metadata: ``metadata.json`` of every run, in any order; gone through once.
        calibration: Rows of ``calibration.csv``; none where the dataset was not calibrated.
    """

    output_dir: Path
    reports: Iterable[Mapping[str, Any]]
    metadata: Iterable[Mapping[str, Any]]
    calibration: Sequence[Mapping[str, str]] = ()


def describe(session: SessionRuns, records: Records) -> dict[str, Any]:
    """All facts of a session's page; nothing of them depends on the order of the jobs or on the clock.

    Returns:
        ``session``, ``dataset``; ``total``, the figures of all runs (:func:`trajmake.reports.analysis.figures`) with
        ``interval`` (Wilson's, percents), ``ends`` (count by end), times and money; ``models``, the same for each;
        ``pairs`` (:mod:`trajmake.reports.comparison`); ``failures`` (:func:`trajmake.reports.reasons.grouped`);
        ``tests``, ``failing`` (how many fail at all); ``said`` of predictions and of rows that are no runs;
        ``calibration``; ``flags``; ``provenance``.
    """
    outcomes = session.outcomes
    models = [
        {"name": one.model, "title": one.display_name, "configuration": one.configuration, **_figures(one.outcomes)}
        for one in session.models
    ]
    tests = _failing_tests(outcomes, records.reports)
    return {
        "session": session.id,
        "dataset": session.dataset,
        "total": _figures(outcomes) | _span(outcomes) | _money(session),
        "models": models,
        "pairs": _pairs(session, records.output_dir),
        "failures": reasons.grouped(outcomes),
        "tests": tests[:FREQUENT_TESTS],
        "failing": len(tests),
        "said": [*session.predictions, *session.invalid_rows],
        "calibration": _calibration(records.calibration),
        "flags": _flags(outcomes),
        "provenance": _provenance(records.metadata),
    }


def _figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    figures = analysis.figures(outcomes)
    low, high = chance.wilson(figures["resolved"], figures["judged"])
    ends = Counter(map(reasons.end, outcomes))
    interval = [round(100 * low, 2), round(100 * high, 2)]
    return figures | {"interval": interval, "ends": {name: ends[name] for name in reasons.ENDS if ends[name]}}


def _span(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    times = {key: [one[key] for one in outcomes if one[key]] for key in ("started", "ended", "seconds")}
    return {
        "instances": len({one["instance_id"] for one in outcomes}),
        "started": min(times["started"], default=None),
        "ended": max(times["ended"], default=None),
        "agent_seconds": sum(times["seconds"]),
    }


def _money(session: SessionRuns) -> dict[str, Any]:
    spent = session.spent
    return {"spent_usd": spent.usd, "unpriced": spent.unpriced, "budget_usd": session.budget}


def _pairs(session: SessionRuns, output_dir: Path) -> list[dict[str, Any]]:
    if len(session.models) < 2:
        return []
    sides = []
    for one in session.models:
        states = {str(outcome["instance_id"]): dict(outcome) for outcome in one.outcomes}
        sides.append(Side(session.id, one.model, states, one.model))
    pairs: list[dict[str, Any]] = compare(output_dir, sides)["pairs"]
    return pairs


def _failing_tests(outcomes: Sequence[Outcome], reports: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Required tests that fail, by how many judged runs of their instance they fail in."""
    judged: Counter[str] = Counter()
    failing: dict[tuple[str, str, str], list[str]] = {}
    for outcome, report in zip(outcomes, reports, strict=True):
        if outcome["resolved"] is None:
            continue
        instance = outcome["instance_id"]
        judged[instance] += 1
        for kind, tests in ((report.get(instance) or {}).get("tests_status") or {}).items():
            for test in tests["failure"]:
                failing.setdefault((instance, kind, test), []).append(outcome["model"])
    rows = [
        {"instance_id": instance, "kind": kind, "test": test, "models": models, "judged": judged[instance]}
        for (instance, kind, test), models in failing.items()
    ]
    return sorted(rows, key=lambda row: (-len(row["models"]), row["instance_id"], row["kind"], row["test"]))


def _calibration(rows: Sequence[Mapping[str, str]]) -> dict[str, Any] | None:
    if not rows:
        return None
    counts = Counter(row["State"] for row in rows)
    return {
        "counts": {str(state): counts[state] for state in Calibrated if counts[state]},
        "states": {row["Instance_ID"]: row["State"] for row in rows},
        "doubtful": [row for row in rows if row["State"] != Calibrated.VALID],
    }


def _flags(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    names = ("model", "instance_id", "resolved")
    return [{key: one[key] for key in names} | dict(flag) for one in outcomes for flag in one.get("flags", ())]


def _provenance(metadata: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """What, which, in how many runs. Only what is named here: a trajectory's metadata may hold more than one shows."""
    found: dict[str, Counter[str]] = {}

    def count(what: str, value: Any) -> None:
        if value:
            found.setdefault(what, Counter())[str(value)] += 1

    for facts in metadata:
        details = facts.get("details") or {}
        checkout = details.get("checkout") or {}
        if commit := checkout.get("commit"):
            count("Trajmake's commit", f"{commit} with changes" if checkout.get("dirty") else commit)
        for package, version in sorted((details.get("versions") or {}).items()):
            count(package, version)
        count("Agent", " ".join(filter(None, (facts.get("agent_class"), details.get("agent_version")))))
        count("Engine", details.get("engine"))
        for answered in details.get("models_answered") or ():
            count("Model that answered", answered)
        count("System", (details.get("host") or {}).get("system"))
        for what in ("config", "prompt", "model"):
            count(f"Digest of the {_DIGESTS[what]}", details.get(f"{what}_digest"))
    return [(what, value, counts[value]) for what, counts in found.items() for value in sorted(counts)]


_DIGESTS = {"config": "configuration", "prompt": "prompts", "model": "model's settings"}

"""``summary.json``: for programs what ``final_report.txt`` is for people."""

from __future__ import annotations

from typing import Any

from trajmake.reports import analysis
from trajmake.reports.session import SessionRuns


def summary(session: SessionRuns) -> dict[str, Any]:
    """``summary.json``: totals, spending, a record for each model, what went wrong, what is to be looked at.

    Rates are in percent, times in seconds, and None is what is not known. Of single runs it has those alone of which
    there is something to say; all of them are in ``results.csv``.
    """
    budget = session.budget or None
    return {
        "schema_version": 1,
        "session": session.id,
        "dataset": session.dataset,
        "totals": analysis.figures(session.outcomes),
        "spent": {
            "usd": round(session.spent.usd, 6),
            "answers": session.spent.completions,
            "unpriced_answers": session.spent.unpriced,
            "budget_usd": budget,
        },
        "models": [
            {
                "model": one.model,
                "display_name": one.display_name,
                "configuration": one.configuration,
                **analysis.figures(one.outcomes),
            }
            for one in session.models
        ],
        "failures": analysis.failures(session.outcomes),
        "flags": [
            {"model": outcome["model"], "instance_id": outcome["instance_id"], **flag}
            for outcome in session.outcomes
            for flag in outcome["flags"]
        ],
        "predictions": list(session.predictions),
        "invalid_rows": list(session.invalid_rows),
        "gpus": [dict(gpu) for gpu in session.gpus],
    }

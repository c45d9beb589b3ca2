"""The page of a session: what ran, what it cost, what failed and why, and every run, one click from its own page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from trajmake.outcomes import Status
from trajmake.pages import asset, numbers, page, text, vega
from trajmake.reports import reasons
from trajmake.sessions import layout
from trajmake.sessions.quality import CHECKS

Outcome = Mapping[str, Any]


def render(
    facts: Mapping[str, Any],
    outcomes: Sequence[Outcome],
    *,
    archived: Mapping[str, str] | None = None,
    folded: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
) -> str:
    """The page as HTML.

    Args:
        facts: :func:`trajmake.reports.session_facts.describe`'s.
        outcomes: ``outcome.json`` of every run, marked (:mod:`trajmake.sessions.quality`).
        archived: Model → where its runs' pages lie, seen from this page, in the archive of ``snakemake --report``.
        folded: The runs' pages within this one (:mod:`trajmake.pages.whole`), by :func:`address`. Links lead to
            these alone; without them, to the files beside this page.
        sources: Further sources for the Content-Security-Policy, by directive: those of the folded pages.
    """
    charts = vega.scripts()
    folds = list((folded or {}).items())
    return page(
        "session.html.j2",
        styles=[asset("session.css")],
        scripts=[*charts, asset("session.js"), *([asset("charts.js")] if charts else [])],
        also=sources,
        facts=facts,
        outcomes=outcomes,
        ends=reasons.ENDS,
        end=reasons.end,
        reason=reasons.reason,
        address=address,
        linked=(lambda model, instance: address(model, instance) in folded) if folded is not None else _always,
        numbers=numbers,
        charts=bool(charts),
        data=Markup(embedded(_data(facts, outcomes, archived, folded))),
        folds=[(key, Markup(value)) for key, value in folds],  # base64: nothing in it needs an escape
        left_out=len(outcomes) - len(folds) if folded is not None else 0,
    )


def address(model: str, instance_id: str) -> str:
    """Where a run's page lies, seen from its session's page: a relative URL."""
    return f"{quote(model)}/{quote(layout.safe_name(instance_id))}.html"


def embedded(value: Any) -> str:
    """JSON that can stand in a ``<script>``: nothing in it can end the element, what cannot be seen is written out."""
    written = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _always(model: str, instance: str) -> bool:
    return True


def _data(
    facts: Mapping[str, Any],
    outcomes: Sequence[Outcome],
    archived: Mapping[str, str] | None,
    folded: Mapping[str, str] | None,
) -> dict[str, Any]:
    """What the page's scripts work on. A run is a list, as thousands of them repeat no names."""
    names = [model["name"] for model in facts["models"]]
    whys = list(dict.fromkeys(map(reasons.reason, outcomes)))
    states = (facts["calibration"] or {}).get("states", {})
    places = {name: number for number, name in enumerate(names)}, {why: number for number, why in enumerate(whys)}
    keys = ("name", "title", "judged", "resolved", "resolved_rate", "interval", "cost_usd", "unknown_costs", "ends")
    return {
        "models": [{key: _plain(model[key]) for key in keys} for model in facts["models"]],
        "ends": reasons.ENDS,
        "reasons": list(map(_plain, whys)),
        "archived": [(archived or {}).get(name) for name in names] if archived else None,
        "folded": folded is not None,
        "columns": _COLUMNS,
        "runs": [_run(outcome, places, states, folded) for outcome in outcomes],
    }


_COLUMNS = """model instance page end reason steps cost seconds prompt completion patch f2p f2pTotal p2p p2pTotal
flags odd state""".split()


def _run(
    one: Outcome,
    places: tuple[Mapping[str, int], Mapping[str, int]],
    states: Mapping[str, str],
    folded: Mapping[str, str] | None,
) -> list[Any]:
    models, whys = places
    where = address(one["model"], one["instance_id"])
    cost = one["cost_usd"]
    acted = one["status"] not in (Status.FAILED, Status.MISSING)
    return [
        models[one["model"]],
        _plain(one["instance_id"]),
        where if folded is None or where in folded else None,
        reasons.end(one),
        whys[reasons.reason(one)],
        one["steps"],
        None if cost is None else round(cost, 6),
        one["seconds"] if acted or one["seconds"] else None,
        one["prompt_tokens"],
        one["completion_tokens"],
        one["patch_bytes"],
        one["fail_to_pass_passed"],
        one["fail_to_pass_total"],
        one["pass_to_pass_passed"],
        one["pass_to_pass_total"],
        " ".join(flag["kind"] for flag in one.get("flags", ())),
        ", ".join(name for key, name in CHECKS.items() if not one[key]),
        states.get(one["instance_id"], ""),
    ]


def _plain(value: Any) -> Any:
    return text.plain(value)

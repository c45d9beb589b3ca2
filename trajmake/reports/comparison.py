"""Models and sessions against each other, instance by instance: only what both have judged is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.errors import ConfigError
from trajmake.reports import analysis, chance
from trajmake.sessions import layout
from trajmake.sessions.found import LATEST, Outputs, near

NOISE = 0.05
"""A p-value not below this one is no evidence."""


@dataclass(frozen=True)
class Side:
    """One model in one session, with the outcomes of its runs by instance.

    Attributes:
        session, model: Which.
        states: As :func:`trajmake.sessions.survey.survey` has them.
        label: What tells it from the other sides.
    """

    session: str
    model: str
    states: dict[str, dict[str, Any]]
    label: str


def sides(outputs: Outputs, words: Sequence[str], session: str = LATEST) -> list[Side]:
    """What is meant by ``SESSION/MODEL``, ``MODEL`` (of ``session``), or ``SESSION`` (all its models).

    Raises:
        ConfigError: a name that is unknown or means two things, or fewer than two sides.
    """
    chosen = list(dict.fromkeys(pair for word in words for pair in _meant(outputs, word, session)))
    if len(chosen) < 2:
        what = "/".join(chosen[0]) if chosen else ", ".join(words)
        raise ConfigError(f"{what} alone is no comparison.", "Name two: MODEL, SESSION or SESSION/MODEL.")
    sessions, models = ({pair[place] for pair in chosen} for place in (0, 1))
    made = []
    for name, model in chosen:
        label = model if len(sessions) == 1 else name if len(models) == 1 else f"{name}/{model}"
        states = {state["instance_id"]: state for state in outputs.states(name, [model])}
        made.append(Side(name, model, states, label))
    return made


def compare(output_dir: Path, chosen: Sequence[Side]) -> dict[str, Any]:
    """Each side in figures, each pair of sides, and who resolved which instance.

    Returns:
        ``sides`` (rates are percents); ``pairs``; ``only``: by label, what this side alone resolved of the
        instances that all can be compared on; ``instances``: by id whether each side resolved it, None where it
        has no verdict.
    """
    pairs = [_pair(output_dir, first, second) for first, second in combinations(chosen, 2)]
    for pair, adjusted in zip(pairs, chance.holm([pair["p_value"] for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
    verdicts = {side.label: _verdicts(side) for side in chosen}
    every = sorted({instance for side in chosen for instance in side.states})
    instances = {one: {label: known.get(one) for label, known in verdicts.items()} for one in every}
    left_out = {one for pair in pairs for names in pair["left_out"].values() for one in names}
    only: dict[str, list[str]] = {label: [] for label in verdicts}
    for instance, known in instances.items():
        resolved = [label for label in known if known[label]]
        if len(resolved) == 1 and instance not in left_out:
            only[resolved[0]].append(instance)
    return {"sides": [_figures(side) for side in chosen], "pairs": pairs, "only": only, "instances": instances}


def _meant(outputs: Outputs, word: str, session: str) -> list[tuple[str, str]]:
    name, slash, model = word.partition("/")
    if slash:
        name = outputs.session(name)
        known = _models(outputs, name)
        if model not in known:
            raise ConfigError(f"Session {name} has no model {model}.", near(model, known, "Models"))
        return [(name, model)]
    sessions, home = outputs.sessions, outputs.session(session)
    models = _models(outputs, home)
    if word in sessions and word in models:
        hint = f"Write {home}/{word} for the model, {word}/MODEL for the session's."
        raise ConfigError(f"{word} is a session and a model of session {home}.", hint)
    if word in models:
        return [(home, word)]
    if word in sessions or word == LATEST:
        name = outputs.session(word)
        return [(name, model) for model in outputs.models(name)]
    hint = near(word, {*sessions, *models}, "Sessions and models")
    raise ConfigError(f"{word} is neither a session nor a model of session {home}.", hint)


def _models(outputs: Outputs, session: str) -> set[str]:
    return {model for model, _ in outputs.runs(session)}


def _verdicts(side: Side) -> dict[str, bool]:
    return {name: state["resolved"] for name, state in side.states.items() if state["resolved"] is not None}


def _figures(side: Side) -> dict[str, Any]:
    all_figures = analysis.figures(list(side.states.values()))
    low, high = chance.wilson(all_figures["resolved"], all_figures["judged"])
    names = ("total_instances", "judged", "resolved", "resolved_rate", "cost_usd", "cost_per_resolved_usd")
    figures = {name: all_figures[name] for name in (*names, "unknown_costs")}
    interval = [round(100 * low, 2), round(100 * high, 2)]
    return {"label": side.label, "session": side.session, "model": side.model, **figures, "interval": interval}


def _pair(output_dir: Path, first: Side, second: Side) -> dict[str, Any]:
    verdicts = _verdicts(first), _verdicts(second)
    outcomes: dict[tuple[bool, bool], list[str]] = {(a, b): [] for a in (True, False) for b in (True, False)}
    left_out: dict[str, list[str]] = {}
    for instance in sorted(first.states.keys() | second.states.keys()):
        reasons = [why for side in (first, second) if (why := _not_judged(side, instance))]
        if not reasons and _row(output_dir, first, instance) != _row(output_dir, second, instance):
            reasons = ["the dataset's row is another one"]
        if reasons:
            left_out.setdefault("; ".join(reasons), []).append(instance)
        else:
            outcomes[verdicts[0][instance], verdicts[1][instance]].append(instance)
    only_first, only_second = outcomes[True, False], outcomes[False, True]
    return {
        "first": first.label,
        "second": second.label,
        "paired": sum(map(len, outcomes.values())),
        "both": len(outcomes[True, True]),
        "only_first": only_first,
        "only_second": only_second,
        "neither": len(outcomes[False, False]),
        "p_value": chance.mcnemar(len(only_first), len(only_second)),
        "left_out": left_out,
    }


def _not_judged(side: Side, instance: str) -> str:
    """Why a side has no verdict on an instance; empty where it has one."""
    state = side.states.get(instance)
    if state is None:
        return f"{side.label} did not run"
    if "unfinished" in state:
        return f"{side.label} has no verdict yet"
    return f"{side.label} met a fault of the machine" if state["resolved"] is None else ""


def _row(output_dir: Path, side: Side, instance: str) -> str:
    """Digest of the row that a run was made for."""
    names = {"session": side.session, "model": side.model, "instance_id": layout.safe_name(instance)}
    facts = files.read_object(output_dir / layout.INSTANCE.format(**names) / "metadata.json")
    return str((facts.get("details") or {}).get("row_digest") or "")

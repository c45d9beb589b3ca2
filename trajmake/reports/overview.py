"""A session in one line: what ran, what became of it, what it cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from trajmake.sessions import cleaning, survey
from trajmake.sessions.found import Outputs

NAMES = {"SUCCESS": "done", "IN_PROGRESS": "running"}  # where they are not those of the status


@dataclass(frozen=True)
class Overview:
    """A session at a glance.

    Attributes:
        id: Its name.
        created, last_used: Unix times of its oldest and its newest file.
        models: Names; of those that only calibrate none, where there are others.
        instances: How many instances they have between them.
        statuses: Runs by status, every one that can be shown.
        judged: Runs with a verdict; a fault of the machine is none.
        resolved: Of these, how many are resolved.
        cost_usd: What all answers cost, on repeated runs too, as far as known.
        unpriced: Runs of unknown price.
        bytes: Size of its files.
    """

    id: str
    created: float
    last_used: float
    models: list[str]
    instances: int
    statuses: dict[str, int]
    judged: int
    resolved: int
    cost_usd: float
    unpriced: int
    bytes: int

    @property
    def as_json(self) -> dict[str, Any]:
        """Plain values; the number of runs of each status is a key of its own."""
        flat = asdict(self)
        counts = flat.pop("statuses")
        return flat | {NAMES.get(name, name.lower()): number for name, number in counts.items()}


def overviews(outputs: Outputs) -> list[Overview]:
    """All sessions of an output folder, the last used first."""
    everything = [_overview(outputs, name) for name in outputs.sessions]
    return sorted(everything, key=lambda one: (-one.last_used, one.id))


def _overview(outputs: Outputs, name: str) -> Overview:
    facts = cleaning.look(outputs.folder, name, linked=True)
    models = outputs.models(name)
    states = outputs.states(name, models)
    counts = Counter(state["status"] for state in states)
    judged = [state["resolved"] for state in states if state["resolved"] is not None]
    return Overview(
        id=name,
        created=facts.created,
        last_used=facts.last_used,
        models=models,
        instances=len({state["instance_id"] for state in states}),
        statuses={status: counts[status] for status in survey.SHOWN},
        judged=len(judged),
        resolved=sum(judged),
        cost_usd=facts.usd,
        unpriced=sum(state["cost_usd"] is None for state in states if "unfinished" not in state),
        bytes=facts.bytes,
    )

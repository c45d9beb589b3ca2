"""One picture of a session as plain data: what every drawer draws."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import Any

from trajmake.llm.spending import Spent
from trajmake.outcomes import Status
from trajmake.reports.reasons import ENDS
from trajmake.sessions import survey

RESOLVED, UNRESOLVED, TIMEOUT, FAULT, MISSING = "resolved", "unresolved", "timeout", "fault", "missing"
RUNNING, TESTING, STALE, PENDING = "running", "testing", "stale", "pending"
SIGNS = {
    RESOLVED: "✓",
    UNRESOLVED: "✗",
    TIMEOUT: "⏱",
    FAULT: "!",
    MISSING: "-",
    RUNNING: "▶",
    TESTING: "▷",
    STALE: "?",
    PENDING: "·",
}
"""Every state of a run, in the order in which they are counted, and its sign."""
ENDED = (RESOLVED, UNRESOLVED, TIMEOUT, FAULT, MISSING)
MEANINGS = {
    **{state: ENDS[state].lower() for state in ENDED},
    RUNNING: "running",
    TESTING: "to be tested",
    STALE: "its process is gone",
    PENDING: "to come",
}

GOING, COMPLETE, FAULTS, STOPPED = "running", "complete", "faults", "stopped"
_ENOUGH = 3  # runs that must have ended before a rate is believed
_LATEST = 8  # ended runs that are named
_WINDOW = 3600.0  # seconds of which the rate is taken

_OF_STATUS = {
    str(Status.FAILED): FAULT,
    str(Status.TIMEOUT): TIMEOUT,
    str(Status.MISSING): MISSING,
    str(Status.IN_PROGRESS): RUNNING,
    survey.STALE: STALE,
    survey.PENDING: PENDING,
}


@dataclass(frozen=True)
class Cell:
    """What is known of one run.

    Attributes:
        state: One of :data:`SIGNS`.
        ended: Unix time at which its agent ended; 0 where none has.
        judged: Whether it has a verdict.
        resolved: Whether that is "resolved": a run out of time may be, too.
        seconds, steps, cost_usd: As in its outcome.
        why: What went wrong with it, if anything did.
    """

    state: str
    ended: float = 0.0
    judged: bool = False
    resolved: bool = False
    seconds: int | None = None
    steps: int | None = None
    cost_usd: float | None = None
    why: str = ""

    @classmethod
    def of(cls, outcome: Mapping[str, Any]) -> Cell:
        """That of an outcome, or of what stands for one that is not there yet."""
        shown = str(outcome.get("status"))
        if unfinished := str(outcome.get("unfinished") or ""):
            state = _OF_STATUS.get(shown, TESTING) if unfinished.startswith("generate:") else TESTING
            return cls(state, why=str(outcome.get("message") or "") if state == STALE else "")
        resolved = bool(outcome.get("resolved"))
        return cls(
            _OF_STATUS.get(shown) or (RESOLVED if resolved else UNRESOLVED),
            float(outcome.get("ended") or 0),
            outcome.get("resolved") is not None,
            resolved,
            outcome.get("seconds"),
            outcome.get("steps"),
            outcome.get("cost_usd"),
            str(outcome.get("fault_reason") or ""),
        )


@dataclass(frozen=True)
class Running:
    """A run that an agent works on.

    Attributes:
        model, instance: Names as people know them.
        since: Unix time at which this attempt began.
        step: Answers of the model so far.
        command: What the last one asked for, one line; as untrusted as everything of an agent.
    """

    model: str
    instance: str
    since: float
    step: int = 0
    command: str = ""


@dataclass(frozen=True)
class Model:
    """One model's row of cells, one for each instance of the picture; None where it has no such run."""

    name: str
    cells: Sequence[Cell | None]

    @property
    def counts(self) -> dict[str, int]:
        """Runs by state, those that occur."""
        found = Counter(cell.state for cell in self.cells if cell)
        return {state: found[state] for state in SIGNS if found[state]}

    @property
    def resolved(self) -> int:
        """How many are resolved, those out of time among them."""
        return sum(cell.resolved for cell in self.cells if cell)


@dataclass(frozen=True)
class Gpu:
    """Load of one GPU of the driver's host: percent and MiB; None where it does not tell."""

    name: str
    percent: float | None
    memory_mib: float | None
    total_mib: float | None


@dataclass(frozen=True)
class Picture:
    """A session at one moment.

    Attributes:
        session: Its name.
        at: Unix time.
        driver: Who drives it; empty where nobody does.
        started: Unix time at which the last drive began; 0 where it is not known.
        budget_usd: What the session may spend; 0 for no limit or an unknown one.
        spent: What all its runs have spent; None where that cannot be read.
        instances: Their ids.
        models: In their order.
        running: What agents work on, the longest first.
        gpus: The driver's host's, while it is heard of.
    """

    session: str
    at: float
    driver: str = ""
    started: float = 0.0
    budget_usd: float = 0.0
    spent: Spent | None = None
    instances: Sequence[str] = ()
    models: Sequence[Model] = ()
    running: Sequence[Running] = ()
    gpus: Sequence[Gpu] = ()
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        found: Counter[str] = Counter()
        for model in self.models:
            found.update(model.counts)
        object.__setattr__(self, "counts", {state: found[state] for state in SIGNS if found[state]})

    @property
    def cells(self) -> list[Cell]:
        """All of them, model by model."""
        return [cell for model in self.models for cell in model.cells if cell]

    @property
    def total(self) -> int:
        """How many runs there are."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """How many of them have come to their end, whatever it was."""
        return sum(self.counts.get(state, 0) for state in ENDED)

    @property
    def judged(self) -> int:
        """How many have a verdict."""
        return sum(cell.judged for cell in self.cells)

    @property
    def resolved(self) -> int:
        """How many of these are resolved."""
        return sum(model.resolved for model in self.models)

    @property
    def phase(self) -> str:
        """``running`` while somebody drives it, then ``complete``, ``faults`` (all ended, some by a fault) or
        ``stopped``."""
        if self.driver:
            return GOING
        if self.ended < self.total or not self.total:
            return STOPPED
        return FAULTS if self.counts.get(FAULT) else COMPLETE

    @property
    def rate(self) -> float | None:
        """Runs that ended per hour, over the last hour of this drive; None while too few have to tell."""
        if not self.driver or not self.started:
            return None
        begin = max(self.started, self.at - _WINDOW)
        count = sum(cell.ended >= begin for cell in self.cells if cell.state in ENDED)
        return count / (self.at - begin) * 3600 if count >= _ENOUGH and self.at > begin else None

    @property
    def seconds_left(self) -> float | None:
        """Time until the rest has ended, at this rate; None where there is nothing to estimate from."""
        return (self.total - self.ended) / self.rate * 3600 if self.rate else None

    @property
    def latest(self) -> list[dict[str, Any]]:
        """The runs that ended last, the newest first."""
        ended = (
            (cell.ended, model.name, instance, cell)
            for model in self.models
            for instance, cell in zip(self.instances, model.cells, strict=True)
            if cell and cell.state in ENDED and cell.ended
        )
        newest = heapq.nlargest(_LATEST, ended, key=itemgetter(0, 1, 2))
        return [{"model": model, "instance": name, **asdict(cell)} for _, model, name, cell in newest]

    def as_json(self) -> dict[str, Any]:
        """Plain values; ``states`` of a model stand in the order of ``instances``."""
        return {
            "session": self.session,
            "at": round(self.at, 3),
            "phase": self.phase,
            "driver": self.driver,
            "started": self.started,
            "total": self.total,
            "ended": self.ended,
            "judged": self.judged,
            "resolved": self.resolved,
            "counts": self.counts,
            "spent_usd": round(self.spent.usd, 6) if self.spent else None,
            "answers": self.spent.completions if self.spent else None,
            "unpriced_answers": self.spent.unpriced if self.spent else None,
            "budget_usd": self.budget_usd,
            "runs_per_hour": self.rate,
            "seconds_left": self.seconds_left,
            "running": [asdict(run) for run in self.running],
            "latest": self.latest,
            "gpus": [asdict(gpu) for gpu in self.gpus],
            "instances": list(self.instances),
            "models": [
                {
                    "model": model.name,
                    "counts": model.counts,
                    "resolved": model.resolved,
                    "states": [cell.state if cell else None for cell in model.cells],
                }
                for model in self.models
            ],
        }

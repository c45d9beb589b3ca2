"""What a run's state is called on pages: one word, a sign and a kind of colour, the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trajmake.grading.verdict import State
from trajmake.outcomes import Status
from trajmake.sessions.survey import PENDING, STALE


@dataclass(frozen=True)
class Badge:
    """A state to be shown.

    Attributes:
        word: Its name.
        sign: One character, so that no colour says it alone.
        kind: ``good``, ``bad``, ``warn``, ``busy`` or "": classes of ``page.css``.
    """

    word: str
    sign: str
    kind: str


_VERDICTS = {
    State.RESOLVED: Badge("Resolved", "✓", "good"),
    State.UNRESOLVED: Badge("Unresolved", "✗", "bad"),
    State.EMPTY_PATCH: Badge("Empty patch", "∅", "bad"),
}
_UNFINISHED = {
    str(Status.IN_PROGRESS): Badge("Running", "▶", "busy"),
    STALE: Badge("Stale", "⚠", "warn"),
    PENDING: Badge("Pending", "·", ""),
}
FAULT = Badge("Fault", "⚠", "warn")
TIMEOUT = Badge("Timeout", "⏱", "warn")
MISSING = Badge("Missing", "?", "warn")
UNGRADED = Badge("No verdict yet", "·", "")


def badges(outcome: Mapping[str, Any]) -> list[Badge]:
    """The states of a run, as :mod:`trajmake.sessions.survey` has it: the verdict, then how the agent ended."""
    status = str(outcome.get("status"))
    if outcome.get("unfinished"):
        return [_UNFINISHED.get(status, UNGRADED)] + ([TIMEOUT] if status == Status.TIMEOUT else [])
    if status == Status.FAILED:
        return [FAULT]
    ends = {Status.TIMEOUT: TIMEOUT, Status.MISSING: MISSING}
    verdict = _VERDICTS.get(State(outcome["verdict"]), FAULT)
    return [verdict, *(badge for end, badge in ends.items() if status == end)]

"""What a parser finds in a log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

PASSED, FAILED, ERROR, SKIPPED, XFAIL = "PASSED", "FAILED", "ERROR", "SKIPPED", "XFAIL"

_RANK = {PASSED: 0, XFAIL: 0, SKIPPED: 1, FAILED: 2, ERROR: 3}


@dataclass(frozen=True)
class Reading:
    """A log, read by a test framework's parser.

    Attributes:
        statuses: Test id → PASSED, FAILED, ERROR, SKIPPED or XFAIL.
        started: The framework's runner left a sign that it started.
        doubt: Why this cannot be the account of a run that came to its end;
            empty when nothing speaks against it.
        spellings: Other ids under which datasets know these tests → status. An id
            that several tests share has the worst of their statuses.
    """

    statuses: dict[str, str] = field(default_factory=dict)
    started: bool = False
    doubt: str = ""
    spellings: dict[str, str] = field(default_factory=dict)

    @property
    def by_any_id(self) -> dict[str, str]:
        """Statuses by id, whichever of a test's ids a row has; a test's own id comes first."""
        return {**self.spellings, **self.statuses} if self.spellings else self.statuses


LINE_LIMIT = 4000
"""Characters of the longest line that is looked at: no result is longer, and a flood must not take hours."""


def lines(log: str, *, whole: bool = False) -> Iterator[str]:
    """The log's lines without the blanks behind them, and without lines that are too long.

    Args:
        log: A cleaned log.
        whole: Leave out a last line that does not end: half an id can be another
            test's. For formats whose end cannot be told.
    """
    found = log.split("\n")
    if whole:
        found.pop()
    return (line.rstrip() for line in found if len(line) <= LINE_LIMIT)


class Results:
    """Results in the order of the log; of two for one test the worse one counts."""

    def __init__(self) -> None:
        self._pairs: list[tuple[str, str]] = []
        self._spellings: dict[str, set[str]] = {}

    def add(self, name: str, status: str, *spellings: str) -> None:
        """A test's result, and what else the test is called."""
        self._pairs.append((name, status))
        for spelling in spellings:
            if spelling and spelling != name:
                self._spellings.setdefault(spelling, set()).add(name)

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def statuses(self) -> dict[str, str]:
        """Test id → status."""
        return worst(self._pairs)

    def passed(self) -> int:
        """How many tests passed."""
        return list(self.statuses().values()).count(PASSED)

    def reading(self, *, started: bool, doubt: str = "") -> Reading:
        """These results as a reading."""
        statuses = self.statuses()
        shared = ((name, statuses[test]) for name, tests in self._spellings.items() for test in tests)
        return Reading(statuses, started or bool(statuses), doubt, worst(shared))


def doubt(runner: str, *, closed: bool, named: int = 0, counted: int | None = None) -> str:
    """Why a log is not believed; empty when nothing speaks against it.

    Args:
        runner: Whose log it is.
        closed: Each run that started also printed its closing line.
        named: Passed tests that the log names.
        counted: Passed tests by the runner's own count, over all runs; None when
            it does not count.
    """
    if not closed:
        return f"{runner} started and never printed the line that closes its run"
    if counted is not None and named > counted:
        return f"the log names {named} passed tests, but {runner} counted {counted}"
    return ""


def merge(*readings: Reading) -> Reading:
    """What several formats tell of one log."""
    return Reading(
        worst(pair for reading in readings for pair in reading.statuses.items()),
        any(reading.started for reading in readings),
        "; ".join(reading.doubt for reading in readings if reading.doubt),
        worst(pair for reading in readings for pair in reading.spellings.items()),
    )


def worst(results: Iterable[tuple[str, str]]) -> dict[str, str]:
    """``(id, status)`` pairs as a table; of two results for one test the worse one counts.

    A test can pass and then fail in its teardown, and a line that a program
    prints must not cover up a failure that the runner reports.
    """
    statuses: dict[str, str] = {}
    for name, status in results:
        known = statuses.get(name)
        if known is None or _RANK[status] >= _RANK[known]:
            statuses[name] = status
    return statuses

"""What a session has spent, in files that all its jobs on all hosts share.

Each host has one small file, replaced under its lock, and the sum over these few
is what the session has spent: no daemon, no scan of thousands of journals, and no
host ever writes another's file. A sum is raised before its completion is journalled:
a crash in between leaves money counted that was spent, never the other way round.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from trajmake import files
from trajmake.errors import BudgetSpentError
from trajmake.machine import boot_id
from trajmake.sessions import layout

if TYPE_CHECKING:
    from trajmake.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spent:
    """US dollars of the completions with a known price, how many there were, and how many without."""

    usd: float = 0.0
    completions: int = 0
    unpriced: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.usd + other.usd, self.completions + other.completions, self.unpriced + other.unpriced)


class Spending:
    """The spending of one session.

    Args:
        folder: Shared by all jobs of the session.
        limit: US dollars that it may spend; 0 for no limit.
    """

    def __init__(self, folder: Path, limit: float = 0.0) -> None:
        self._folder = Path(folder)
        self._limit = limit
        self._mine = self._folder / f"{_host()}.json"

    def spent(self) -> Spent:
        """By all jobs, on all hosts, in all runs of this session."""
        return sum(map(_read, sorted(self._folder.glob("*.json"))), Spent())

    @classmethod
    def of(cls, options: Settings) -> Self:
        """That of a configuration's session."""
        where = layout.SPENDING.format(session=options.session)
        return cls(Path(options.output_dir) / where, options.limits.session_usd)

    @property
    def limit(self) -> float:
        """US dollars that the session may spend; 0 for no limit."""
        return self._limit

    def check(self) -> None:
        """Call it before each request: so each running job exceeds the limit by one completion at most.

        Raises:
            BudgetSpentError: nothing is left.
        """
        if self._limit and (spent := self.spent().usd) >= self._limit:
            raise BudgetSpentError(
                f"The session has spent {spent:.2f} of its {self._limit:g} USD.",
                "Raise `limits.session_usd` and run the same command again: what was stopped goes on where it is.",
            )

    def add(self, cost: float | None) -> None:
        """Count a completion; ``cost`` is None where no price is known."""
        self._folder.mkdir(parents=True, exist_ok=True)
        more = Spent(cost or 0.0, 1, int(cost is None))
        handle = os.open(self._mine.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            files.write_json(self._mine, asdict(_read(self._mine) + more), indent=None)
        finally:
            os.close(handle)

    def check_price(self, cost: float | None, model: str) -> None:
        """A limit cannot be kept with answers of unknown cost.

        Raises:
            BudgetSpentError: there is a limit, and this answer's cost is not known.
        """
        if self._limit and cost is None:
            raise BudgetSpentError(
                f"An answer of {model} has no known price, so the session's {self._limit:g} USD cannot be kept.",
                "Set this model's `prices`; where the provider names no tokens, set `limits.session_usd: 0`.",
            )


def _read(path: Path) -> Spent:
    """A damaged file is an error: money must not be forgotten."""
    try:
        return Spent(**files.read_json(path))
    except FileNotFoundError:
        return Spent()


def _host() -> str:
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in socket.gethostname())
    return f"{name}-{boot_id()[:8]}"  # hosts of one name, as clones have, are told apart by it

"""One process at a time works on a run, on whichever host: an orphan of a killed session and its successor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from trajmake.sessions import locks
from trajmake.sessions.turns import Turn
from trajmake.settings import Settings

logger = logging.getLogger(__name__)


def alone(lock: Path, options: Settings, patience: float, work: Callable[[Turn], None]) -> None:
    """Do the work under a claim; do it again where another host took us for dead: what we have by then is void.

    Args:
        lock: Of the claim.
        options: The session's.
        patience: Seconds to wait for a living holder.
        work: Must call :meth:`Turn.check` before it buys or leaves anything.

    Raises:
        ClaimedError: the claim is still held then.
    """
    while True:
        with locks.claim(lock, patience=patience, silent=options.limits.silent_seconds) as turn:
            try:
                work(turn)
                return
            except Exception:  # whatever came of it
                if not turn.lost:
                    raise
                logger.exception("this host was taken for dead, and another works on the run")

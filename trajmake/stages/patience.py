"""Faults that pass by themselves are waited for inside the job: a daemon that restarts, a container that is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from trajmake.errors import ContainerLostError, EngineAwayError

logger = logging.getLogger(__name__)

SECONDS = 30.0  # how long a daemon may be away: all jobs of a session wait for it once, not each of thousands
_FORGOTTEN = 600.0  # an outage that nobody saw the end of is not the present one
_LOST = 1  # a container that is lost again is no accident


def persistently(work: Callable[[], None], outage: Path) -> None:
    """Do the work; do it again where the engine was away for a while, and once where the container was lost.

    Args:
        work: May be called again after these faults.
        outage: File of the session, whose time says since when the daemon is away.

    Raises:
        EngineAwayError: the daemon has been away for :data:`SECONDS`.
        ContainerLostError: the repeat lost its container too.
    """
    lost, wait = 0, 0.5
    while True:
        try:
            work()
            break
        except ContainerLostError as error:
            lost += 1
            if lost > _LOST:
                raise
            logger.warning("%s Once more.", error.message)
        except EngineAwayError as error:
            left = SECONDS - _lasting(outage)
            if left <= 0:
                raise
            wait = min(2 * wait, left)
            logger.warning("%s Again in %.0f s.", error.message, wait)
            time.sleep(wait)
    if outage.exists():  # also one that others waited for in vain: the next is another
        outage.unlink(missing_ok=True)


def _lasting(outage: Path) -> float:
    """Seconds since the outage began: now, where it is not known yet."""
    try:
        lasting = time.time() - outage.stat().st_mtime
        if lasting < _FORGOTTEN:
            return lasting
    except FileNotFoundError:
        outage.parent.mkdir(parents=True, exist_ok=True)
    outage.touch()
    return 0.0

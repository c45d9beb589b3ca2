"""Old sessions: which there are, and removing them.

A session is a folder under ``results`` that a driver has locked; nothing else is ever removed. Images, bundles and
indexes of datasets are no session's and stay.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trajmake.errors import ClaimedError, ConfigError
from trajmake.llm.spending import Spending
from trajmake.sessions import layout, locks
from trajmake.sessions.status import DEAD_AFTER_SECONDS
from trajmake.sessions.turns import Turn

_COPYING = layout.RESULTS + "/.mirror.lock"
_PATIENCE = 24 * 3600.0  # seconds that one process waits for another that copies the same session
# The results go last, of them the lock: without it, what is left would be no session any more.
_PLACES = (layout.TRAJECTORIES, layout.PROGRESS, layout.LOGS, layout.BENCHMARKS, layout.RESULTS)


@dataclass(frozen=True)
class Session:
    """A session on disk.

    Attributes:
        name: Its name.
        created, last_used: Unix times of its oldest and its newest file.
        bytes: What its files hold.
        trajectories: How many runs have one.
        usd: What its answers cost, as far as known.
    """

    name: str
    created: float
    last_used: float
    bytes: int
    trajectories: int
    usd: float


def names(output_dir: Path) -> list[str]:
    """The sessions under an output folder."""
    locked = output_dir.glob(layout.LOCK.format(session="*"))
    return sorted(path.parent.name for path in locked if not path.parent.is_symlink())


def check(output_dir: Path, name: str) -> None:
    """Be sure that there is a session of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in (known := names(output_dir)):
        hint = f"Sessions there: {', '.join(known) or 'none'}."
        raise ConfigError(f"{output_dir} holds no session {name}.", hint)


def look(output_dir: Path, name: str, *, linked: bool = False) -> Session:
    """Look a session over.

    Args:
        output_dir: The folder of all sessions.
        name: Its name.
        linked: Parts of it may be links to other places, which no session that is to be removed has.

    Raises:
        ConfigError: there is none of this name, or a part of it is a link.
    """
    check(output_dir, name)
    first, last, size = time.time(), 0.0, 0
    for place in (output_dir / layout.FETCHED.format(session=name), *places(output_dir, name)):
        if place.is_symlink() and not linked:
            raise ConfigError(f"{place} is a link; what it leads to is not removed.", "Remove it by hand.")
        for folder, _, found in os.walk(place):
            for file in found:
                with contextlib.suppress(FileNotFoundError):  # a living session's files come and go
                    facts = os.lstat(os.path.join(folder, file))
                    first, last = min(first, facts.st_mtime), max(last, facts.st_mtime)
                    size += facts.st_size
    runs = output_dir / layout.TRAJECTORIES.format(session=name)
    count = sum(1 for _ in runs.glob("*/instance_*/output.jsonl"))
    spent = Spending(output_dir / layout.SPENDING.format(session=name)).spent()
    return Session(name, first, last, size, count, spent.usd)


def user(output_dir: Path, session: Session) -> str:
    """Who works on a session, as part of a sentence; empty where nobody does."""
    lock = output_dir / layout.LOCK.format(session=session.name)
    claims = (output_dir / layout.TRAJECTORIES.format(session=session.name)).glob("*/instance_*/.claim")
    if locks.held(lock):
        return f"is driven by {locks.signature(lock)}"
    mirror = output_dir / _COPYING.format(session=session.name)
    if locks.held(mirror):
        return f"is being copied by {locks.signature(mirror)}"
    if held := next((claim for claim in claims if locks.held(claim)), None):
        return f"has a job that still goes on, {locks.signature(held)}"
    if not locks.made_here(lock) and time.time() - session.last_used < DEAD_AFTER_SECONDS:
        return f"was used a moment ago by {locks.signature(lock)}"
    return ""


@contextlib.contextmanager
def copying(output_dir: Path, name: str) -> Iterator[Turn]:
    """Hold a session while the block copies it elsewhere: nobody removes it, and who would copy it too waits.

    Raises:
        ClaimedError: another process has been copying it for a day.
        ConfigError: there is no such session.
    """
    check(output_dir, name)
    with locks.claim(output_dir / _COPYING.format(session=name), patience=_PATIENCE) as turn:
        check(output_dir, name)  # it may be gone since then
        yield turn


def remove(output_dir: Path, session: Session) -> None:
    """Remove a session for good; interrupted, it is still one, and removed by the next call.

    Raises:
        ClaimedError: somebody works on it.
    """
    if who := user(output_dir, session):
        raise ClaimedError(f"Session {session.name} {who}.", "Wait for it, or stop it (kill -TERM).")
    lock = output_dir / layout.LOCK.format(session=session.name)
    mirror = output_dir / _COPYING.format(session=session.name)
    fetched = output_dir / layout.FETCHED.format(session=session.name)  # no part of a session: the same for another
    *others, results = places(output_dir, session.name)
    with locks.claim(mirror) as copy, locks.claim(lock) as turn:
        ours = (lock, turn.path, mirror, copy.path)
        for path in [fetched, *others, *(path for path in results.iterdir() if path not in ours)]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        # Each lock before its turn: a host that sees no locks of ours still sees that somebody has the turn.
        for path in ours:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # another one began in it just now
        results.rmdir()


def places(output_dir: Path, name: str) -> Iterator[Path]:
    """Where a session's files lie that are worth a copy."""
    return (output_dir / pattern.format(session=name) for pattern in _PLACES)

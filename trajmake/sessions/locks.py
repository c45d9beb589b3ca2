"""Locks that die with their process.

``flock`` is released by the kernel when its holder ends, however it ends, so
no lock is ever stale on one host. Across hosts :mod:`trajmake.sessions.turns`
decide. The file names its holder for the message.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from trajmake.errors import ClaimedError
from trajmake.sessions import turns
from trajmake.sessions.turns import SILENT_SECONDS, Turn

_PROBE_SECONDS = 0.3  # longer than `held` needs, which must not pass for a driver
_held: list[IO[str]] = []  # keeps a driver's lock open until its process ends


def drive(path: Path | str, silent: float = SILENT_SECONDS) -> None:
    """Become the one driver of a session, until this process ends.

    Args:
        path: The lock file.
        silent: See :func:`trajmake.sessions.turns.take`.

    Raises:
        ClaimedError: another living process drives it.
    """
    stream = _open(Path(path))
    deadline = time.monotonic() + _PROBE_SECONDS
    while not (taken := _try(stream)) and time.monotonic() < deadline:
        time.sleep(0.05)
    turn = turns.take(Path(path), silent) if taken else None
    if not turn:
        holder = _holder(stream)
        stream.close()
        raise ClaimedError(
            f"This session is driven already, by {holder} (lock {path}).",
            "Wait for it, or stop it (kill -TERM lets its running jobs finish). Another `session` may run beside it. "
            f"On another host that died it counts as living for {silent:.0f} s.",
        )
    _sign(stream)
    _held.append(stream)
    renewal = contextlib.ExitStack()
    renewal.enter_context(turn.renewed(silent))
    atexit.register(renewal.close)


def held(path: Path | str) -> bool:
    """Whether a living process holds this lock, on this host or another."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return turns.living(Path(path))


def drives(path: Path | str) -> bool:
    """Whether this process holds a driver's lock."""
    return any(os.path.samefile(path, stream.name) for stream in _held if os.path.exists(path))


def signature(path: Path | str) -> str:
    """Who took this lock last, living or dead: ``process PID on HOST``; empty where nobody did."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def made_here(path: Path | str) -> bool:
    """Whether a process of this host, or nobody, took this lock last."""
    return signature(path).rpartition(" on ")[2] in ("", socket.gethostname())


@contextlib.contextmanager
def claim(path: Path | str, *, patience: float = 0.0, silent: float = SILENT_SECONDS) -> Iterator[Turn]:
    """Hold a claim while the block runs; gives the turn, which a host that was silent for too long has lost.

    Args:
        path: The lock file.
        patience: Seconds to wait for a living holder.
        silent: See :func:`trajmake.sessions.turns.take`.

    Raises:
        ClaimedError: it is still held then.
    """
    deadline = time.monotonic() + patience
    with _open(Path(path)) as stream:
        turn = None
        while not _try(stream) or not (turn := turns.take(Path(path), silent)):
            if time.monotonic() >= deadline:
                raise ClaimedError(
                    f"{path} is held by {_holder(stream)}.", "Wait for that process or stop it, then run again."
                )
            time.sleep(min(0.5, max(0.01, deadline - time.monotonic())))
        _sign(stream)
        with turn.renewed(silent):
            yield turn


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+", encoding="utf-8")


def _try(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(stream: IO[str]) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    stream.flush()


def _holder(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.readline().strip() or "another process"

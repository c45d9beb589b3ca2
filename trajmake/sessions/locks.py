"""Locks that die with their process.

``flock`` is released by the kernel when its holder ends, however it ends, so
no lock is ever stale on one host. Across hosts :mod:`trajmake.sessions.turns`
decide. The file names its holder for the message. Whoever removes a session
removes its lock while he holds it: a lock counts only under its own path.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
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

_PROBE_SECONDS = 0.3  # longer than `held` needs, which must not pass for a holder
_OPENINGS = 20  # of a file that others remove just then; not for ever, whatever a file system answers
_held: list[IO[str]] = []  # keeps a driver's lock open until its process ends


def drive(path: Path | str, silent: float = SILENT_SECONDS) -> None:
    """Become the one driver of a session, until this process ends.

    Args:
        path: The lock file.
        silent: See :func:`trajmake.sessions.turns.take`.

    Raises:
        ClaimedError: another living process drives it.
    """
    taken = _wait(Path(path), 0.0, silent)
    if not taken:
        raise ClaimedError(
            f"This session is driven already, by {_holder(path)} (lock {path}).",
            "Wait for it, or stop it (kill -TERM lets its running jobs finish). Another `session` may run beside it. "
            f"On another host that died it counts as living for {silent:.0f} s.",
        )
    stream, turn = taken
    _held.append(stream)
    renewal = contextlib.ExitStack()
    renewal.enter_context(turn.renewed(silent))
    atexit.register(renewal.close)


def held(path: Path | str) -> bool:
    """Whether a living process holds this lock, on this host or another."""
    for _ in range(_OPENINGS):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if _names(path, handle):
                break
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return turns.living(Path(path))


def drives(path: Path | str) -> bool:
    """Whether this process holds a driver's lock."""
    return any(_names(path, stream.fileno()) for stream in _held)


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
        patience: Seconds to wait for a living holder; those who only look whether it is held are always waited for.
        silent: See :func:`trajmake.sessions.turns.take`.

    Raises:
        ClaimedError: it is still held then.
    """
    taken = _wait(Path(path), patience, silent)
    if not taken:
        raise ClaimedError(f"{path} is held by {_holder(path)}.", "Wait for that process or stop it, then run again.")
    stream, turn = taken
    with stream, turn.renewed(silent):
        yield turn


def _wait(path: Path, patience: float, silent: float) -> tuple[IO[str], Turn] | None:
    """The open file that is locked and the turn; None where somebody has them for longer than that."""
    deadline = time.monotonic() + max(patience, _PROBE_SECONDS)
    pause = 0.05
    while not (taken := _try(path, silent)):
        if (left := deadline - time.monotonic()) <= 0:
            return None
        time.sleep(min(pause, left))
        pause = min(2 * pause, 0.5)
    return taken


def _try(path: Path, silent: float) -> tuple[IO[str], Turn] | None:
    """Lock and turn; None where somebody has them, or removed the file while we took them."""
    with contextlib.ExitStack() as opened:
        stream = opened.enter_context(_open(path))
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            turn = turns.take(path, silent) if _names(path, stream.fileno()) else None
        except BlockingIOError:
            return None
        except FileNotFoundError:
            if _names(path, stream.fileno()):
                raise
            return None
        if not turn:
            return None
        if not _names(path, stream.fileno()):  # removed by a host that does not see our lock
            turn.end()
            return None
        _sign(stream)
        opened.pop_all()
        return stream, turn


def _open(path: Path) -> IO[str]:
    for _ in range(_OPENINGS):
        with contextlib.suppress(FileNotFoundError, FileExistsError):  # its folder is removed just now
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("a+", encoding="utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+", encoding="utf-8")


def _names(path: Path | str, handle: int) -> bool:
    """Whether this path leads to the open file, which may have been removed, and another made in its place."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            raise
        return False


def _sign(stream: IO[str]) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    stream.flush()


def _holder(path: Path | str) -> str:
    return signature(path) or "another process"

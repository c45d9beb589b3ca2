"""Turns: who holds a claim, where hosts do not see each other's ``flock``.

Beside the lock ``NAME`` lie files ``NAME.1``, ``NAME.2``, …: whoever makes the next one has the turn. ``link`` makes
a file for one caller alone, on every file system, and nobody removes or rewrites what another may own. Its holder
renews the file's time while it lives and empties the file at its end. A turn that was silent for too long is over, and
so is one of this very host, whose ``flock`` we have. Ages are taken by the file system's clock: hosts' clocks differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trajmake.errors import ClaimedError
from trajmake.machine import here

SILENT_SECONDS = 300.0
_BEATS = 10  # renewals in that time: a share may stall for most of it


@dataclass(frozen=True)
class Turn:
    """One holder's file.

    Attributes:
        path: The file.
        number: In the order of turns.
    """

    path: Path
    number: int

    @property
    def lost(self) -> bool:
        """Whether the next turn has begun: another host took us for dead."""
        return latest(self.path.with_suffix("")) != self.number

    def check(self) -> None:
        """Call it before whatever must not happen twice.

        Raises:
            ClaimedError: the turn is lost.
        """
        if self.lost:
            raise ClaimedError(
                f"{self.path} was silent for too long, and another process took over.",
                "Nothing is lost; look at the network and the shared file system of this host.",
            )

    @contextlib.contextmanager
    def renewed(self, silent: float) -> Iterator[None]:
        """Give signs of life while the block runs; over at its end."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(silent / _BEATS):
                with contextlib.suppress(OSError):  # a share that is away for a moment ends no run
                    os.utime(self.path)

        thread = threading.Thread(target=beat, name=f"turn {self.path}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.end()

    def end(self) -> None:
        """Let the next begin at once."""
        with contextlib.suppress(OSError):
            os.truncate(self.path, 0)


def take(lock: Path, silent: float = SILENT_SECONDS) -> Turn | None:
    """The next turn, or None while another host's holder gives signs of life. Hold the lock's ``flock`` before.

    Args:
        lock: The lock's path.
        silent: Seconds without a sign of life after which a holder on another host counts as dead.
    """
    number = latest(lock)
    if number and _lives(_file(lock, number), silent):
        return None
    mine = Turn(_file(lock, number + 1), number + 1)
    handle, made = tempfile.mkstemp(prefix=f"{lock.name}-", dir=lock.parent)
    try:
        os.fchmod(handle, 0o644)  # other users of the session look at it too
        os.write(handle, json.dumps({**here(), "pid": os.getpid()}).encode())
        os.close(handle)
        try:
            os.link(made, mine.path)
        except FileExistsError:
            # The answer to a link that was made may be lost, and the request repeated.
            if os.stat(made).st_nlink != 2:
                return None
    finally:
        os.unlink(made)
    if mine.lost:  # we were slow: the next turn came, and went
        mine.path.unlink(missing_ok=True)
        return None
    for older in range(number, 0, -1):
        try:
            _file(lock, older).unlink()
        except FileNotFoundError:
            break
    return mine


def latest(lock: Path) -> int:
    """Number of the last turn; 0 where there was none."""
    pattern = re.compile(re.escape(lock.name) + r"\.(\d+)")
    found = (pattern.fullmatch(name) for name in os.listdir(lock.parent))
    return max((int(match[1]) for match in found if match), default=0)


def living(lock: Path, silent: float = SILENT_SECONDS) -> bool:
    """Whether another host's process has the turn and gives signs of life."""
    try:
        number = latest(lock)
    except FileNotFoundError:
        return False
    return bool(number) and _lives(_file(lock, number), silent)


def _lives(path: Path, silent: float) -> bool:
    try:
        with path.open(encoding="utf-8") as stream:  # opening asks the server, where a mere look may be answered here
            holder, renewed = json.loads(stream.read() or "null"), os.fstat(stream.fileno()).st_mtime
    except FileNotFoundError:
        return True  # it was superseded just now: look again
    if holder is None or {**holder, **here()} == holder:  # over, or one of this very host
        return False
    with tempfile.NamedTemporaryFile(prefix=f"{path.name}-", dir=path.parent) as now:
        return os.fstat(now.fileno()).st_mtime - renewed < silent


def _file(lock: Path, number: int) -> Path:
    return lock.with_name(f"{lock.name}.{number}")

"""Status files: one line per instance and model (``docs/formats.md``).

``IN_PROGRESS|epoch``, ``SUCCESS|epoch|seconds``, ``FAILED|epoch|seconds|exit_code``,
``TIMEOUT|epoch|seconds``.

While a run goes on its file's modification time is renewed, so that other hosts
can tell it from a dead one; the content stays.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trajmake import files
from trajmake.outcomes import Status
from trajmake.sessions import locks

HEARTBEAT_SECONDS = 30.0
DEAD_AFTER_SECONDS = 10 * HEARTBEAT_SECONDS  # clocks differ, shares stall


@dataclass(frozen=True)
class StatusLine:
    """A status file's content: when (Unix seconds), how long (seconds), exit code (``FAILED`` only)."""

    status: Status
    epoch: int
    seconds: int = 0
    exit_code: int = 0

    def __str__(self) -> str:
        fields: list[str | int] = [self.status.value, self.epoch]
        if self.status is not Status.IN_PROGRESS:
            fields.append(self.seconds)
        if self.status is Status.FAILED:
            fields.append(self.exit_code)
        return "|".join(str(field) for field in fields)


def write(path: Path | str, line: StatusLine) -> None:
    """Replace the status file atomically."""
    files.write_text(path, f"{line}\n")


def read(path: Path | str) -> StatusLine | None:
    """The status, or None when there is no such file.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        fields = Path(path).read_text(encoding="utf-8").strip().split("|")
    except FileNotFoundError:
        return None
    return StatusLine(Status(fields[0]), *(int(field) for field in fields[1:]))


@contextlib.contextmanager
def heartbeat(path: Path | str) -> Iterator[None]:
    """Renew the file's modification time every ``HEARTBEAT_SECONDS`` while the block runs."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a share that is away for a moment ends no run
                os.utime(path)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def alive(path: Path | str, claim: Path | str) -> bool:
    """Whether the run that wrote ``IN_PROGRESS`` still goes on.

    Its claim tells, wherever locks reach; where it was made on another host and is not seen
    to be held, the age of the last heartbeat does.
    """
    if locks.held(claim):
        return True
    if locks.made_here(claim):
        return False
    try:
        return time.time() - Path(path).stat().st_mtime < DEAD_AFTER_SECONDS
    except FileNotFoundError:
        return False

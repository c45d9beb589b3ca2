"""How much a container has written to disk: looked at while a command runs, since few file systems have quotas."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

_SHARE = 0.05  # of the time may be spent on looking


class DiskWatch:
    """Says when a container has written more than it may.

    Each time it has, it may write a tenth more, up to twice the limit: what comes after the
    command that is killed for it (its patch is taken, files are removed) needs some room.

    Args:
        limit_mb: MiB; 0 for no limit.
        written: Gives the bytes it has written so far.
    """

    def __init__(self, limit_mb: int, written: Callable[[], int]) -> None:
        self.limit_mb = limit_mb
        self._written = written
        self._allowed = limit_mb << 20
        self._next = 0.0

    def over(self) -> bool:
        """Whether the limit is passed; looks at most so often that it costs little."""
        started = time.monotonic()
        if not self.limit_mb or started < self._next:
            return False
        written = self._written()
        now = time.monotonic()
        self._next = now + (now - started) / _SHARE
        if written <= self._allowed:
            return False
        tenth = (self.limit_mb << 20) // 10
        self._allowed = min(written + tenth, 20 * tenth)
        return True


def folder_bytes(folder: Path) -> int:
    """What the files under a folder take on disk; what cannot be read counts nothing."""
    total = 0
    todo = [str(folder)]
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return total

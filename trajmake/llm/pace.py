"""Requests and tokens per minute of one model, shared by all jobs of a user on a host.

A file under a lock holds two times: from when the next request may start, and when
the tokens spoken for so far will be paid off. Who reserves moves both on and sleeps
until its own start: in order, without polling, and without a daemon. Requests are
spaced evenly, since providers divide a minute too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trajmake.errors import ConfigError
from trajmake.machine import boot_id


class Pace:
    """The rate limits of one model.

    Args:
        name: Whatever the provider counts by: model, endpoint, account.
        requests: Per minute; 0 for no limit.
        tokens: Per minute, prompt and completion together; 0 for no limit.
        folder: Of the user's on this host.
    """

    def __init__(self, name: str, *, requests: float = 0, tokens: float = 0, folder: Path | None = None) -> None:
        self._requests = requests
        self._tokens = tokens
        # Not the folder for temporary files, which each process may have its own of.
        self._folder = folder or Path(f"/tmp/trajmake-pace-{os.geteuid()}")
        self._file = self._folder / hashlib.sha256(name.encode()).hexdigest()[:32]

    def wait(self, tokens: int) -> float:
        """Sleep until a request of about ``tokens`` may start; gives the seconds slept.

        A request starts when all tokens before it are paid off, so one that is larger than
        a minute's share can pass too.

        Raises:
            ConfigError: the file cannot be written.
        """
        if not self._requests and not self._tokens:
            return 0.0
        with self._times() as times:
            now = _now()
            start = max(now, *times)
            times[0] = start + (60 / self._requests if self._requests else 0)
            times[1] = start + (60 * tokens / self._tokens if self._tokens else 0)
        time.sleep(start - now)
        return start - now

    def settle(self, expected: int, used: int) -> None:
        """Replace the tokens that were reserved by those that the answer names."""
        if self._tokens:
            with self._times() as times:
                times[1] += 60 * (used - expected) / self._tokens

    @contextmanager
    def _times(self) -> Iterator[list[float]]:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(
                f"The rate limits' file {self._file} cannot be written: {error.strerror}.",
                "Remove it, or set no `requests_per_minute` and `tokens_per_minute`.",
            ) from error
        with os.fdopen(handle, "r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            times = _parse(stream.read())
            yield times
            stream.seek(0)
            stream.truncate()
            json.dump({"boot": boot_id(), "times": times}, stream)


def _parse(text: str) -> list[float]:
    """What an earlier boot, or a process that died while it wrote, left is void."""
    try:
        found = json.loads(text)
        requests, tokens = found["times"] if found["boot"] == boot_id() else (0, 0)
        return [float(requests), float(tokens)]
    except (ValueError, KeyError, TypeError):
        return [0.0, 0.0]


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # one clock for all processes, which nobody sets

"""Keeps ``progress_report.txt`` up to date, samples the GPUs and minds the budget, inside the driver of a session."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from pathlib import Path

from trajmake import files, notifications
from trajmake.errors import TrajmakeError
from trajmake.live import gpus, words
from trajmake.live.reader import Reader
from trajmake.sessions import drive, layout, status
from trajmake.sessions.found import Outputs
from trajmake.settings import Settings

logger = logging.getLogger(__name__)
_EVERY = 5.0  # seconds
_SHARE = 50  # of a core: what a look costs is slept this many times over


def keep(options: Settings, instances: list[str]) -> None:
    """Begin, as the driver of a session, to keep its report until this process ends.

    It ends with a last report, whatever ended the run: done, a fault, Ctrl-C. After ``kill -9`` there is none.

    Args:
        options: The settings.
        instances: Safe names of the instances to run.
    """
    drive.begin(options, instances)
    _Keeper(options).start()


class _Keeper:
    def __init__(self, options: Settings) -> None:
        self._options = options
        self._root, self._session = Path(options.output_dir), options.session
        self._reader = Reader(Outputs(self._root, options), self._session)
        self._report = self._root / layout.PROGRESS_REPORT.format(session=self._session)
        self._written = ""
        self._over = threading.Event()
        self._process = os.getpid()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="progress report", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def _work(self) -> None:
        pause, gpu = 0.0, True
        while not self._over.wait(pause):
            began = time.thread_time()
            busy = self._look()
            gpu = gpu and self._sample(busy)
            with contextlib.suppress(OSError, ValueError, TypeError):  # damaged: the jobs say so
                notifications.budget(self._options)
            pause = max(_EVERY, _SHARE * (time.thread_time() - began))

    def _look(self, *, driven: bool = True) -> bool:
        """Write the report if it has changed; whether agents work."""
        # Nobody's run may fail for a report: a disk that is full, a folder that is gone.
        with contextlib.suppress(OSError, TrajmakeError):
            if not self._report.parent.is_dir():
                return False
            if driven:
                os.utime(drive.heartbeat(self._root, self._session))
            picture = self._reader.picture(driven=driven)
            text = words.progress_report(picture)
            same = [line for line in text.splitlines() if not line.startswith(("Updated:", "Rate:", "Time Left:"))]
            if "\n".join(same) != self._written or not driven:
                files.write_text(self._report, text)
                self._written = "\n".join(same)
            return bool(picture.running)
        return False

    def _sample(self, busy: bool) -> bool:
        with contextlib.suppress(OSError, TrajmakeError):
            return gpus.sample(self._root / layout.GPUS.format(session=self._session), counts=busy)
        return True

    def _end(self) -> None:
        if os.getpid() != self._process:  # a fork of the driver that ends is none
            return
        self._over.set()
        self._thread.join(timeout=status.HEARTBEAT_SECONDS)
        with contextlib.suppress(OSError, TrajmakeError):
            if self._report.parent.is_dir():
                drive.end(self._root, self._session)
        self._look(driven=False)

"""The agent's time: what counts against the wall time of its run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Seconds of agent's work: its commands, and the latency of its model's answers.

    It stands while a provider in trouble or a full rate limit is waited for (the
    machine's doing), and while a journal is replayed. After a replay it goes on
    from the time that the journal recorded, so that neither the death of a run nor
    its continuation makes a ``TIMEOUT`` of it.
    """

    def __init__(self) -> None:
        self._counted = 0.0
        self._since: float | None = None

    def start(self) -> None:
        """Run, if it does not yet."""
        if self._since is None:
            self._since = time.monotonic()

    def stop(self) -> None:
        """Stand, until :meth:`start`."""
        self._counted, self._since = self.elapsed(), None

    def elapsed(self) -> float:
        """Seconds so far."""
        return self._counted + (time.monotonic() - self._since if self._since is not None else 0.0)

    def set(self, seconds: float) -> None:
        """Stand at ``seconds``, until :meth:`start`."""
        self._counted, self._since = seconds, None

    def advance(self, seconds: float) -> None:
        """Count ``seconds`` more, for time that passed while it stood."""
        self._counted += seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stand while the block runs."""
        self.stop()
        try:
            yield
        finally:
            self.start()

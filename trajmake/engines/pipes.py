"""A channel over the standard input and output of a child process."""

from __future__ import annotations

import os
import select
import subprocess
from typing import IO


class Pipes:
    """See :class:`trajmake.engines.stream.Channel`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        os.set_blocking(self._stdin.fileno(), False)

    def send(self, data: bytes, timeout: float) -> None:
        """See the protocol."""
        view = memoryview(data)
        while view:
            if self._stdin.closed or not ready(self._stdin.fileno(), select.POLLOUT, timeout):
                raise TimeoutError("the container takes no input")
            view = view[os.write(self._stdin.fileno(), view[:65536]) :]

    def receive(self, timeout: float) -> bytes | None:
        """See the protocol."""
        try:
            if not ready(self._stdout.fileno(), select.POLLIN, timeout):
                return None
            return os.read(self._stdout.fileno(), 1 << 18)
        except ValueError:  # another thread has closed it
            return b""

    def close(self) -> None:
        """See the protocol."""
        close(self._stdin)
        close(self._stdout)


def ready(handle: int, event: int, timeout: float) -> bool:
    """Wait until a file descriptor is ready (``select.POLLIN``, ``POLLOUT``), or at its end.

    ``poll``, since ``select`` refuses descriptors above 1023.
    """
    poll = select.poll()
    poll.register(handle, event)
    return bool(poll.poll(max(0.0, timeout) * 1000))


def close(stream: IO[bytes] | None) -> None:
    """Close a stream unless that has been done."""
    if stream is not None and not stream.closed:
        stream.close()

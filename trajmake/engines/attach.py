"""A channel over a Docker daemon's attach connection."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import TYPE_CHECKING

from trajmake.engines.pipes import ready

if TYPE_CHECKING:
    from docker import APIClient


class Attached:
    """See :class:`trajmake.engines.stream.Channel`; only standard output is passed on.

    Format: Docker Engine API, "Attach to a container", stream format: type,
    three zeros, size (big-endian), payload.
    """

    def __init__(self, api: APIClient, container: str) -> None:
        params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._response = api.attach_socket(container, params)  # kept: the socket is closed with it
        self._socket: socket.socket = getattr(self._response, "_sock", self._response)
        self._socket.settimeout(None)
        self._buffer = bytearray()
        self._open = True

    def send(self, data: bytes, timeout: float) -> None:
        """See the protocol."""
        view = memoryview(data)
        while view:
            if not self._open or not ready(self._socket.fileno(), select.POLLOUT, timeout):
                raise TimeoutError("the container takes no input")
            view = view[self._socket.send(view[:65536], socket.MSG_DONTWAIT) :]

    def receive(self, timeout: float) -> bytes | None:
        """See the protocol."""
        if not self._open or not ready(self._socket.fileno(), select.POLLIN, timeout):
            return b"" if not self._open else None
        data = self._socket.recv(1 << 18)
        if not data:
            return b""
        self._buffer += data
        return self._payloads() or None

    def close(self) -> None:
        """See the protocol."""
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._response.close()
            self._socket.close()

    def _payloads(self) -> bytes:
        """Standard output of the whole frames in the buffer."""
        out = bytearray()
        position = 0
        while len(self._buffer) - position >= 8:
            size = int.from_bytes(self._buffer[position + 4 : position + 8], "big")
            if len(self._buffer) - position - 8 < size:
                break
            if self._buffer[position] == 1:
                out += self._buffer[position + 8 : position + 8 + size]
            position += 8 + size
        del self._buffer[:position]
        return bytes(out)

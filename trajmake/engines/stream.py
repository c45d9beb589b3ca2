"""The two sides of the open shell's stream: frames that come in, output that is kept."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from trajmake.engines.bootstrap import SEPARATOR
from trajmake.errors import DiskFullError


class Channel(Protocol):
    """Bytes to and from the first process of a container."""

    def send(self, data: bytes, timeout: float) -> None:
        """Send everything.

        Raises:
            OSError: the other side is gone, or took nothing for ``timeout`` seconds.
        """
        ...

    def receive(self, timeout: float) -> bytes | None:
        """Some bytes; ``b""`` at the end of the stream; None when ``timeout`` seconds brought nothing."""
        ...

    def close(self) -> None:
        """Close both directions; safe to call twice, and while another thread receives."""
        ...


class EndOfStream(Exception):
    """The container closed its side (a private signal, turned into ContainerLostError)."""


class Sink(Protocol):
    """What takes bytes that stand before a frame."""

    def write(self, data: bytes, /) -> object: ...


class FrameReader:
    """Finds frames in what a channel brings; whatever is not a frame asked for is passed over."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = bytearray()

    def frame(self, nonces: tuple[str, ...], seconds: float, sink: Sink | None = None) -> list[str] | None:
        """The next frame that bears one of ``nonces``, as words; None when ``seconds`` passed without.

        With a ``sink``, the bytes before the frame go there, and the time
        starts anew whenever bytes arrive.

        Raises:
            EndOfStream: the stream ended first.
        """
        tokens = [SEPARATOR + nonce.encode() + b" " for nonce in nonces]
        deadline = time.monotonic() + seconds
        while True:
            words = self._take(tokens, sink)
            if words is not None:
                return words
            data = self._channel.receive(max(0.0, deadline - time.monotonic()))
            if data == b"":
                raise EndOfStream
            if data:
                self._buffer += data
                if sink is not None:
                    deadline = time.monotonic() + seconds
            elif time.monotonic() >= deadline:
                return None

    def _take(self, tokens: list[bytes], sink: Sink | None) -> list[str] | None:
        found = [place for token in tokens if (place := self._buffer.find(token)) >= 0]
        # A frame may have arrived in part only: that much is left for the next look.
        before = min(found) if found else max(0, len(self._buffer) - max(map(len, tokens)) + 1)
        if sink is not None and before:
            sink.write(bytes(self._buffer[:before]))
        del self._buffer[:before]
        end = self._buffer.find(b"\n") if found else -1
        if end < 0:
            return None
        words = self._buffer[1:end].decode("ascii", errors="replace").split(" ")
        del self._buffer[: end + 1]
        return words


class Output:
    """Takes a command's output up to its end mark: all of it to a log, head and tail to memory.

    Attributes:
        complete: The end mark has been seen.
        received: Bytes taken, with the end mark and what follows it.
        size: Bytes of output so far.
    """

    def __init__(self, nonce: str, log: Path | None, keep: int) -> None:
        self.complete = False
        self.received = 0
        self.size = 0
        self._mark = SEPARATOR + nonce.encode() + b"\n"
        self._held = b""
        self._path = log
        self._log: IO[bytes] | None = None
        self._head_size = keep // 2
        self._tail_size = keep - keep // 2
        self._head = bytearray()
        self._tail = bytearray()

    def __enter__(self) -> Output:
        if self._path is not None:
            with self._disk_full():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._log = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        if self._log is not None:
            with self._disk_full():
                self._log.close()

    def write(self, data: bytes, /) -> None:
        """Take some bytes; what follows the end mark (of background processes) is passed over."""
        self.received += len(data)
        if self.complete:
            return
        data = self._held + data
        place = data.find(self._mark)
        if place >= 0:
            self.complete, self._held, data = True, b"", data[:place]
        else:
            cut = max(0, len(data) - len(self._mark) + 1)
            data, self._held = data[:cut], data[cut:]
        self._keep(data)

    def add(self, data: bytes) -> None:
        """Put something of ours after the output."""
        self._keep(data)

    def finish(self) -> None:
        """No more will come: a piece that could have become the end mark is output after all."""
        held, self._held = self._held, b""
        self._keep(held)

    @property
    def truncated(self) -> int:
        """Bytes left out of :attr:`kept`."""
        return self.size - len(self._head) - len(self._tail)

    @property
    def kept(self) -> bytes:
        """The output, or its head and its tail with one line between them that says what is missing."""
        if not self.truncated:
            return bytes(self._head + self._tail)
        notice = f"\n[... {self.truncated} bytes left out ...]\n".encode()
        return bytes(self._head + notice + self._tail)

    def _keep(self, data: bytes) -> None:
        self.size += len(data)
        if self._log is not None:
            with self._disk_full():
                self._log.write(data)
        room = self._head_size - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > self._tail_size:
            del self._tail[: len(self._tail) - self._tail_size]

    @contextlib.contextmanager
    def _disk_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DiskFullError(
                f"No space left while writing {self._path}.", "Free disk space, then run the same command again."
            ) from error

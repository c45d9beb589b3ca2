"""Parts of a remote archive, with retries; and its manifest by a few kilobytes of it."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from typing import IO, Any, cast

from trajmake.errors import ImageMissingError
from trajmake.images import archive, compression
from trajmake.images.archive import Archive
from trajmake.images.sources.base import Remote

logger = logging.getLogger(__name__)

_ATTEMPTS = 5
_FIRST_PAUSE = 0.5  # seconds; doubled after each attempt without a byte
_AHEAD = 16 * 1024  # a layer's header, and the small members that stand around it


def read(remote: Remote, start: int, length: int) -> Iterator[bytes]:
    """``length`` bytes from ``start`` on; a lost connection is taken up again where it broke.

    Raises:
        ImageMissingError: the server fails several times on end, or it refuses.
        ImageBrokenError: the object has changed.
    """
    done, failures, pause = 0, 0, _FIRST_PAUSE
    while done < length:
        before = done
        try:
            for block in remote.read(start + done, length - done):
                done += len(block)
                yield block
            if done < length:
                raise ConnectionError(f"the connection ended {length - done} bytes early")
        except OSError as error:
            if done > before:
                failures, pause = 0, _FIRST_PAUSE
            failures += 1
            if failures >= _ATTEMPTS:
                message = f"Image {remote.uri} cannot be downloaded: {error} ({failures} attempts)."
                hint = "What has come is kept; the same command goes on from there."
                raise ImageMissingError(message, hint) from error
            logger.warning("image %s: %s; trying again in %.1f s", remote.uri, error, pause)
            time.sleep(pause)
            pause *= 2


class RangedFile(io.RawIOBase):
    """A remote archive as a seekable file that asks for what is read of it, a little ahead.

    Attributes:
        requests: Ranged requests so far.
        received: Bytes so far.
    """

    def __init__(self, remote: Remote) -> None:
        self.requests = 0
        self.received = 0
        self._remote = remote
        self._position = 0
        self._start = 0
        self._held = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._remote.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._remote.size - self._position)
        if length <= 0:
            return 0
        inside = self._position - self._start
        if not 0 <= inside < len(self._held):
            wanted = min(max(length, _AHEAD), self._remote.size - self._position)
            self._held = b"".join(read(self._remote, self._position, wanted))
            self._start, inside = self._position, 0
            self.requests += 1
            self.received += len(self._held)
        data = self._held[inside : inside + length]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def manifest(remote: Remote) -> Archive | None:
    """What a remote archive says of its image, without its layers.

    None where that cannot be had by parts: the server gives none, or the archive is compressed as a whole.

    Raises:
        ImageBrokenError: no image archive, truncated, or for another architecture.
        ImageMissingError: see :func:`read`.
    """
    if not remote.ranges:
        return None
    stream = RangedFile(remote)
    if compression.kind(stream.read(4) or b""):
        return None
    stream.seek(0)
    found = archive.read_stream(cast(IO[bytes], stream), remote.uri)
    logger.info("image %s: manifest read by %d requests, %d bytes", remote.uri, stream.requests, stream.received)
    return found

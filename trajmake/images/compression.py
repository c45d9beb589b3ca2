"""Archives as they come: plain, gzip or zstd, read as one plain, seekable stream."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 20


def kind(head: bytes) -> str:
    """``gzip``, ``zstd`` or "" by a file's first four bytes."""
    return "gzip" if head[:2] == GZIP_MAGIC else "zstd" if head[:4] == ZSTD_MAGIC else ""


def kind_of(path: Path) -> str:
    """:func:`kind` of a file."""
    with path.open("rb") as stream:
        return kind(stream.read(4))


def opened(path: Path) -> IO[bytes]:
    """The file's uncompressed content; seeking backwards decompresses it again from its start.

    What is damaged raises ``EOFError`` or ``OSError`` (gzip's too) when it is read.
    """
    stream = path.open("rb")
    found = kind(stream.read(4))
    stream.seek(0)
    return plain(stream, found)


def plain(stream: IO[bytes], found: str) -> IO[bytes]:
    """``stream``, which is compressed as :func:`kind` found, uncompressed."""
    if found == "gzip":
        return _Closing(gzip.GzipFile(fileobj=stream), stream)
    if found == "zstd":
        return _Closing(_Rewinding(lambda: _zstd(stream)), stream)
    return stream


def _zstd(stream: IO[bytes]) -> Any:
    import zstandard

    stream.seek(0)
    # The window that `zstd --long=31` asks for is taken too: 2 GiB at most.
    options = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    return options.stream_reader(stream, read_across_frames=True, closefd=False)


class _Rewinding(io.RawIOBase):
    """A decompressor's stream that can be read again from its start."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start
        self._stream = start()
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        import zstandard

        try:
            data = self._stream.read(len(buffer))
        except zstandard.ZstdError as error:
            raise EOFError(f"damaged zstd stream: {error}") from error
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            while self.read(_BLOCK):
                pass
            return self.seek(self._position + offset)
        target = offset + (self._position if whence == os.SEEK_CUR else 0)
        if target < self._position:
            self._stream, self._position = self._start(), 0
        while self._position < target and self.read(min(_BLOCK, target - self._position)):
            pass
        return self._position


class _Closing(io.BufferedReader):
    """Closes the file below too."""

    def __init__(self, raw: Any, below: IO[bytes]) -> None:
        super().__init__(raw, _BLOCK)
        self._below = below

    def close(self) -> None:
        super().close()
        self._below.close()

"""Checksums of a whole archive, computed while it passes by."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Protocol


class _Sum(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


class _PartsMd5:
    """MD5 of the MD5s of equal parts, ``-`` and their number: the ETag of what was put into S3 in parts."""

    def __init__(self, part_size: int) -> None:
        self._size = part_size
        self._room = part_size
        self._part = hashlib.md5(usedforsecurity=False)
        self._digests: list[bytes] = []

    def update(self, data: bytes, /) -> None:
        while data:
            now, data = data[: self._room], data[self._room :]
            self._part.update(now)
            self._room -= len(now)
            if not self._room:
                self._end()

    def _end(self) -> None:
        self._digests.append(self._part.digest())
        self._part, self._room = hashlib.md5(usedforsecurity=False), self._size

    def hexdigest(self) -> str:
        if self._room < self._size:
            self._end()
        return f"{hashlib.md5(b''.join(self._digests), usedforsecurity=False).hexdigest()}-{len(self._digests)}"


class Checksums:
    """sha256 of all bytes given, and whether they are what the source says.

    Args:
        expected: See :attr:`trajmake.images.sources.base.Remote.checksums`.
        part_size: See there.
    """

    def __init__(self, expected: Mapping[str, str], part_size: int = 0) -> None:
        self._expected = dict(expected)
        self._sums: dict[str, _Sum] = {"sha256": hashlib.sha256()}
        for name in self._expected:
            if name == "crc32":
                self._sums[name] = _Crc32()
            elif name == "md5-parts":
                self._sums[name] = _PartsMd5(part_size)
            else:
                self._sums[name] = hashlib.new(name, usedforsecurity=False)

    def update(self, data: bytes) -> None:
        """Take further bytes."""
        for each in self._sums.values():
            each.update(data)

    @property
    def sha256(self) -> str:
        """Of all bytes so far, in hex."""
        return self._sums["sha256"].hexdigest()

    def differences(self) -> Iterator[str]:
        """What is not as the source says, for people."""
        for name, wanted in self._expected.items():
            if (got := self._sums[name].hexdigest()) != wanted:
                yield f"{name} is {got}, the source says {wanted}"

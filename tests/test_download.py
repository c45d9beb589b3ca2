"""Downloads in parts: what is read while it comes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trajmake.images.download import BLOCK, Download

PIECE = 1 << 20


@dataclass
class Slow:
    """A server that gives the rest of a block only when somebody has read its first piece."""

    content: bytes
    read_first: threading.Event = field(default_factory=threading.Event)
    uri: str = "http://slow/image.tar"
    version: str = "1"
    ranges: bool = True
    checksums: Mapping[str, str] = field(default_factory=dict)
    part_size: int = 0

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, start: int, length: int) -> Iterator[bytes]:
        yield self.content[start : start + PIECE]
        if not self.read_first.wait(20):
            raise AssertionError("the first piece was held back until its block was complete")
        yield self.content[start + PIECE : start + length]


def test_a_block_is_read_while_it_comes(tmp_path: Path) -> None:
    """A daemon that is given the archive has else nothing to do until several blocks are there."""
    remote = Slow(os.urandom(BLOCK + 3 * PIECE))
    got = b""
    with Download(remote, tmp_path / "image.tar").fetching([(0, remote.size)]) as coming:
        for data in coming.read(0, remote.size):
            got += data
            remote.read_first.set()
    assert got == remote.content

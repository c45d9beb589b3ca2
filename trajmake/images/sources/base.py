"""What an image's URI can lead to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class LocalFile:
    """An archive on this machine."""

    path: Path


@dataclass(frozen=True)
class Reference:
    """A name that an engine can pull from a registry."""

    name: str


class Remote(Protocol):
    """An archive behind a network.

    Attributes:
        uri: For messages and records; see :func:`trajmake.sessions.layout.public_uri`.
        size: Bytes; -1 where the server does not say.
        version: Names the object's content (an ETag, a date): what was downloaded of another one is worthless.
        ranges: The server gives parts of it.
        checksums: What the server says of the whole content: ``md5``, ``sha1``, ``sha256`` or ``crc32`` in hex.
        part_size: Where ``checksums`` holds ``md5-parts``: the size of the parts it was made of.
    """

    uri: str
    size: int
    version: str
    ranges: bool
    checksums: Mapping[str, str]
    part_size: int

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """The bytes from ``start`` on, in blocks; of a server without ranges all of them.

        Raises:
            ConnectionError: may be gone on the next try: connection lost, server busy.
            ImageMissingError: it is not there, or not for us.
            ImageBrokenError: it has changed since it was looked up.
        """
        ...


Source = LocalFile | Reference | Remote

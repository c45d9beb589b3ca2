"""What Trajmake has loaded on this host, and freeing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trajmake.engines.base import Engine, Image
from trajmake.images import space
from trajmake.images.leases import Lease

_NOBODY = Path("/nonexistent/driver.lock")  # we are no session: every session's lease counts


@dataclass(frozen=True)
class Entry:
    """One image that Trajmake loaded.

    Attributes:
        image: As the engine knows it, without the tag that marks it as ours.
        last_used: Unix time; 0 when it is not known.
        user: Who uses it now, for people; "" when nobody does.
    """

    image: Image
    last_used: float
    user: str


def entries(engine: Engine) -> list[Entry]:
    """All of them, the longest unused first."""
    found = []
    for image in space.ours(engine):
        lease = Lease(image.id, _NOBODY)
        with lease.locked():
            user = lease.user()
        tags = tuple(tag for tag in image.tags if tag != space.mark(image.id))
        found.append(Entry(Image(image.id, tags, image.size), lease.last_used, user))
    return sorted(found, key=lambda entry: entry.last_used)


def prune(engine: Engine) -> Iterator[tuple[Image, str]]:
    """Remove those that nobody uses; gives each with "" or why it stays."""
    for image in space.ours(engine):
        yield image, space.remove(engine, image, _NOBODY)

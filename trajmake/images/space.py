"""Room for images: checked before it is taken, made by idle images of ours."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trajmake.engines.base import Engine, Image
from trajmake.errors import DiskFullError, TrajmakeError
from trajmake.images.leases import Lease

logger = logging.getLogger(__name__)

RESERVE = 256 << 20  # bytes that stay free for containers, logs and everybody else
_GB = 10**9


@dataclass(frozen=True)
class Need:
    """Bytes that a file system must have free.

    Attributes:
        place: A folder of it; None where it is another machine's.
        size: Bytes.
        purpose: For the message.
    """

    place: Path | None
    size: int
    purpose: str


def mark(image_id: str) -> str:
    """The tag that says: Trajmake loaded this image here, so Trajmake may remove it."""
    return f"trajmake/loaded:{image_id.removeprefix('sha256:')[:12]}"


def ours(engine: Engine) -> list[Image]:
    """Images of the engine that Trajmake loaded."""
    return [image for image in engine.images() if mark(image.id) in image.tags]


def make(engine: Engine, driver: Path, unpacked: int, needs: list[Need], *, max_disk_gb: float = 0) -> None:
    """See to it that there is room, removing idle images of ours where there is none, the longest unused first.

    Args:
        driver: The driver's lock of our session; see :class:`Lease`.
        unpacked: Bytes of the image that is to come.
        needs: Room that is taken on the way; needs of one file system add up.
        max_disk_gb: What all images of ours may take together (0: no bound).

    Raises:
        DiskFullError: there is none, and no more can be made.
    """
    while shortage := _shortage(engine, unpacked, needs, max_disk_gb):
        if not evict(engine, driver):
            what, hint = shortage
            raise DiskFullError(what, hint)


def evict(engine: Engine, driver: Path) -> bool:
    """Remove the image of ours that has been idle for longest; False where none is."""
    candidates = sorted(ours(engine), key=lambda image: Lease(image.id, driver).last_used)
    return any(remove(engine, image, driver) == "" for image in candidates)


def remove(engine: Engine, image: Image, driver: Path) -> str:
    """Remove an image of ours unless it is used; gives who uses it, or why it stays."""
    lease = Lease(image.id, driver)
    with lease.locked():
        if user := lease.user():
            return f"is used by {user}"
        try:
            engine.remove(image.id)
        except TrajmakeError as error:
            return error.message
    logger.info("image %s removed from %s", image.id, engine.name)
    return ""


def _shortage(engine: Engine, unpacked: int, needs: list[Need], max_disk_gb: float) -> tuple[str, str] | None:
    if max_disk_gb:
        held = sum(image.size for image in ours(engine))
        if held and held + unpacked > max_disk_gb * _GB:
            return (
                f"An image of {_shown(unpacked)} does not fit beside {_shown(held)} of images in use: "
                f"images.max_disk_gb is {max_disk_gb:g}.",
                "Raise it, run fewer jobs at a time (-j), or free images: trajmake images prune.",
            )
        if unpacked > max_disk_gb * _GB:
            return f"An image of {_shown(unpacked)} is larger than images.max_disk_gb, {max_disk_gb:g}.", "Raise it."
    for place, wanted, purposes in _by_file_system(needs):
        free = shutil.disk_usage(place).free
        if free < wanted + RESERVE:
            return (
                f"No room for an image at {place}: {' and '.join(purposes)} need {_shown(wanted)} and "
                f"{_shown(RESERVE)} stay free, but {_shown(free)} are free.",
                "Free disk space (trajmake images prune; docker system prune), then run the same command again.",
            )
    return None


def _by_file_system(needs: list[Need]) -> Iterator[tuple[Path, int, list[str]]]:
    found: dict[int, list[Need]] = {}
    for need in needs:
        if need.place is not None and need.size:
            found.setdefault(os.stat(need.place).st_dev, []).append(need)
    for group in found.values():
        assert group[0].place is not None
        yield group[0].place, sum(need.size for need in group), [need.purpose for need in group]


def _shown(size: int) -> str:
    return f"{size / _GB:.1f} GB" if size >= _GB // 10 else f"{size / 1e6:.1f} MB"

"""Room for images: checked before it is taken, made by idle images of ours."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trajmake.engines.base import Engine, Image
from trajmake.errors import DiskFullError, TrajmakeError
from trajmake.images.claims import Claim, Claims
from trajmake.images.leases import Lease

logger = logging.getLogger(__name__)

RESERVE = 256 << 20  # bytes that stay free for containers, logs and everybody else
_GB = 10**9
_PAUSE = 1.0  # seconds between two looks at what others are bringing


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


@contextlib.contextmanager
def taken(
    engine: Engine, driver: Path, unpacked: int, needs: Sequence[Need], *, max_disk_gb: float = 0
) -> Iterator[None]:
    """Have room while the block runs, for an image that is to come in it.

    Where there is none, idle images of ours are removed, the longest unused first; then images that other
    processes are bringing are waited for, since the room they were promised counts as used.

    Args:
        driver: The driver's lock of our session; see :class:`Lease`.
        unpacked: Bytes of the image that is to come.
        needs: Room that is taken on the way; needs of one file system add up.
        max_disk_gb: What all images of ours may take together (0: no bound).

    Raises:
        DiskFullError: there is none, and no more can be made.
    """
    claims = Claims()
    own = Claim(engine.name, unpacked, _by_file_system(needs))
    while True:
        with claims.locked():
            others = claims.others()
            shortage = _shortage(engine, own, others, max_disk_gb)
            if not shortage:
                held = claims.add(own)
                break
        if evict(engine, driver):
            continue
        if not others:
            raise DiskFullError(*shortage)
        logger.info("waiting for %d other image(s) on their way: %s", len(others), shortage[0])
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        claims.drop(held)


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


def _shortage(engine: Engine, own: Claim, others: Sequence[Claim], max_disk_gb: float) -> tuple[str, str] | None:
    if max_disk_gb and own.unpacked:
        held = sum(image.size for image in ours(engine))
        held += sum(other.unpacked for other in others if other.engine == engine.name)
        if held and held + own.unpacked > max_disk_gb * _GB:
            return (
                f"An image of {_shown(own.unpacked)} does not fit beside {_shown(held)} of images in use: "
                f"images.max_disk_gb is {max_disk_gb:g}.",
                "Raise it, run fewer jobs at a time (-j), or free images: trajmake images prune.",
            )
        if own.unpacked > max_disk_gb * _GB:
            return (
                f"An image of {_shown(own.unpacked)} is larger than images.max_disk_gb, {max_disk_gb:g}.",
                "Raise it.",
            )
    for device, (place, wanted, purposes) in own.needs.items():
        promised = sum(other.needs[device][1] for other in others if device in other.needs)
        free = shutil.disk_usage(place).free - promised
        if free < wanted + RESERVE:
            return (
                f"No room for an image at {place}: {purposes} need {_shown(wanted)} and "
                f"{_shown(RESERVE)} stay free, but {_shown(max(0, free))} are free.",
                "Free disk space (trajmake images prune; docker system prune), then run the same command again.",
            )
    return None


def _by_file_system(needs: Sequence[Need]) -> dict[str, tuple[str, int, str]]:
    found: dict[str, list[Need]] = {}
    for need in needs:
        if need.place is not None and need.size:
            found.setdefault(str(os.stat(need.place).st_dev), []).append(need)
    return {
        device: (str(group[0].place), sum(need.size for need in group), " and ".join(need.purpose for need in group))
        for device, group in found.items()
    }


def _shown(size: int) -> str:
    return f"{size / _GB:.1f} GB" if size >= _GB // 10 else f"{size / 1e6:.1f} MB"

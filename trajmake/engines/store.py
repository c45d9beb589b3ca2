"""Unpacked images on disk, for engines without a daemon.

``<store>/<hex of image id>/`` holds ``rootfs/`` and ``image.json`` (id, tags,
size, env). An image is unpacked under another name and renamed, so one that is
there is whole, also where two hosts that do not see each other's locks unpack
it at once: the second one's goes. ``use`` locks it against removal by this host;
locks end with their process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trajmake.engines.base import Image
from trajmake.errors import ImageBrokenError, ImageMissingError
from trajmake.files import read_json, write_json
from trajmake.images.archive import Archive, read_archive, unpack
from trajmake.machine import boot_id

_LONG_AGO = 24 * 3600.0  # seconds, more than any image takes to be unpacked


class ImageStore:
    """Images under one folder, which is made on the first load."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def load(self, tarball: Path, tags: Sequence[str] = ()) -> Image:
        """See :meth:`trajmake.engines.base.Engine.load`."""
        archive = read_archive(tarball)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = self.folder(archive.image_id)
        with locked(self.root / f".{folder.name}.lock"):
            if not folder.is_dir():
                self._unpack(archive, folder, {full_tag(tag) for tag in (*archive.tags, *tags)})
        return self.tag(archive.image_id, [*archive.tags, *tags])

    def images(self) -> list[Image]:
        """All images that are whole."""
        return [_image(record) for record in self._records()]

    def find(self, reference: str) -> Image | None:
        """The image with this id or tag (``:latest`` when it names none), or None."""
        if reference.startswith("sha256:"):
            record = self._record(self.folder(reference))
            return _image(record) if record else None
        wanted = full_tag(reference)
        return next((_image(record) for record in self._records() if wanted in record["tags"]), None)

    def tag(self, image_id: str, tags: Sequence[str]) -> Image:
        """See :meth:`trajmake.engines.base.Engine.tag`."""
        new = {full_tag(tag) for tag in tags}
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self.root / ".tags.lock"):
            for record in self._records():
                own = record["id"] == image_id
                names = set(record["tags"]) | new if own else set(record["tags"]) - new
                if names != set(record["tags"]):
                    write_json(self.folder(record["id"]) / "image.json", {**record, "tags": sorted(names)})
        image = self.find(image_id)
        if image is None:
            raise ImageMissingError(f"Image {image_id} is not in {self.root}.", "Load it again.")
        return image

    def remove(self, image_id: str) -> None:
        """See :meth:`trajmake.engines.base.Engine.remove`."""
        folder = self.folder(image_id)
        if not folder.is_dir():
            return
        with locked(self.root / f".{folder.name}.lock"), locked(self.root / ".tags.lock"):
            try:
                with locked(folder / "in-use", wait=False):
                    folder.rename(self.root / f".remove-{folder.name}-{secrets.token_hex(8)}")
            except BlockingIOError:
                message = f"Image {image_id} is in use by a running container."
                raise ImageBrokenError(message, "Stop it first.") from None
            except FileNotFoundError:  # another process was faster
                return
        for doomed in self.root.glob(".remove-*"):  # ours, and those of processes that died over it
            shutil.rmtree(doomed, ignore_errors=True)

    def use(self, image_id: str) -> int:
        """Lock an image against removal; the lock is the returned file descriptor's.

        Raises:
            ImageMissingError: there is no such image.
        """
        path = self.folder(image_id) / "in-use"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(handle, fcntl.LOCK_SH)
            if path.exists():  # it may have been removed while we waited for the lock
                return handle
            os.close(handle)
        except FileNotFoundError:
            pass
        raise ImageMissingError(f"Image {image_id} is not in {self.root}.", "Load it first.")

    def env(self, image_id: str) -> list[str]:
        """The image's variables, as ``NAME=value``."""
        return list(read_json(self.folder(image_id) / "image.json")["env"])

    def folder(self, image_id: str) -> Path:
        """Where the image lies, or would.

        Raises:
            ImageMissingError: that is no image id.
        """
        digest = image_id.removeprefix("sha256:")
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise ImageMissingError(f"{image_id!r} is not an image id (sha256:<64 hex digits>).")
        return self.root / digest

    def _unpack(self, archive: Archive, folder: Path, tags: set[str]) -> None:
        """Unpack; with those tags that no other image has, so that it is known by them whenever we are killed."""
        prefix = f".unpack-{folder.name}-{boot_id()[:8]}-"
        for work in self.root.glob(f".unpack-{folder.name}-*"):
            # Of a process of this host that died, since we hold the image's lock; or of one that died long ago.
            if work.name.startswith(prefix) or time.time() - work.stat().st_mtime > _LONG_AGO:
                shutil.rmtree(work, ignore_errors=True)
        work = Path(tempfile.mkdtemp(dir=self.root, prefix=prefix))
        try:
            (work / "rootfs").mkdir(mode=0o755)
            size = unpack(archive, work / "rootfs")
            (work / "in-use").touch()
            own = tags - {tag for record in self._records() for tag in record["tags"]}
            record = {"id": archive.image_id, "tags": sorted(own), "size": size, "env": list(archive.env)}
            write_json(work / "image.json", record)
            try:
                work.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise  # else another host was faster
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _records(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.root.glob("[0-9a-f]*/image.json")):
            if record := self._record(path.parent):
                yield record

    def _record(self, folder: Path) -> dict[str, Any] | None:
        try:
            return dict(read_json(folder / "image.json"))
        except FileNotFoundError:
            return None


def full_tag(tag: str) -> str:
    """``tag`` with ``:latest`` when it names no version."""
    return tag if ":" in tag.rsplit("/", 1)[-1] else f"{tag}:latest"


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Hold an exclusive lock on a file while the block runs.

    Raises:
        BlockingIOError: not ``wait`` and another process holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield handle
    finally:
        os.close(handle)


def _image(record: dict[str, Any]) -> Image:
    return Image(str(record["id"]), tuple(record["tags"]), int(record["size"]))

"""Where images are to be on a host, and who brings them there."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.engines.base import Engine
from trajmake.errors import ImageBrokenError
from trajmake.images.leases import Lease
from trajmake.sessions import faults, layout, locks
from trajmake.settings import Settings

PATIENCE = 24 * 3600.0  # seconds that one process waits for another that brings the same image


@dataclass(frozen=True)
class Host:
    """An engine, and the folder for images of all sessions beside each other."""

    engine: Engine
    options: Settings

    @property
    def folder(self) -> Path:
        """Of records, locks and kept tarballs."""
        return Path(self.options.output_dir) / layout.IMAGES

    @property
    def driver(self) -> Path:
        """The driver's lock of the session."""
        return Path(self.options.output_dir) / layout.LOCK.format(session=self.options.session)

    def lease(self, image_id: str) -> Lease:
        """This session's lease of an image."""
        return Lease(image_id, self.driver)

    def claim(self, uri: str, *, here: bool = False) -> contextlib.AbstractContextManager[object]:
        """One process at a time brings an image into this folder, or of this host to this host."""
        lock = self.again(uri).with_suffix(".lock") if here else self.folder / f".{layout.image_name(uri)}.lock"
        return locks.claim(lock, patience=PATIENCE)

    def kept(self, uri: str) -> Path:
        """The tarball that stays where ``images.keep`` is set."""
        return self.folder / f"{layout.image_name(uri)}.tar"

    def record(self, image: str) -> Path:
        """The file of what an image (its safe name) came to, of all sessions."""
        return Path(self.options.output_dir) / layout.LOADED.format(name=image)

    def known(self, image: str) -> dict[str, Any]:
        """What the record of an image (its safe name) says; empty where there is none.

        Raises:
            CarriedFault: it is a fault.
            ImageBrokenError: it is damaged.
        """
        path = self.record(image)
        try:
            found = files.read_json(path)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not ("id" in found or "fault" in found):
            raise ImageBrokenError(f"The record {path} is damaged.", "Remove it, then run the same command again.")
        faults.check(found)
        return found

    def again(self, uri: str) -> Path:
        """The tarball of an image that this host lacks."""
        return self.folder / f".{socket.gethostname()}-{layout.image_name(uri)}.tar"


def sweep(options: Settings) -> None:
    """Remove what was temporary in a run that was stopped, which Snakemake forgets: tarballs of images that are loaded,
    and the marks that they are.
    """
    place = Path(options.output_dir)
    fetched = place / layout.FETCHED.format(session=options.session)
    for tarball in () if options.images.keep else fetched.glob("*.tar"):
        if "id" in files.read_object(place / layout.LOADED.format(name=tarball.stem)):
            tarball.unlink(missing_ok=True)
    for mark in (*fetched.glob("*.loaded"), *fetched.glob("*.built")):
        mark.unlink(missing_ok=True)

"""Where images are to be on a host, and who brings them there."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path

from trajmake.engines.base import Engine
from trajmake.images.leases import Lease
from trajmake.sessions import layout, locks
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

    def again(self, uri: str) -> Path:
        """The tarball of an image that this host lacks."""
        return self.folder / f".{socket.gethostname()}-{layout.image_name(uri)}.tar"

"""Room that processes of this host were promised for images on their way.

One file each beside the leases, locked while its process lives: what a dead one
was promised counts no more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from trajmake.images import leases
from trajmake.images.leases import Lease


@dataclass(frozen=True)
class Claim:
    """What one image on its way will need.

    Attributes:
        engine: Name of the engine it goes into.
        unpacked: Bytes of the image.
        needs: Number of a file system → a folder of it, bytes that it must have free, what for.
    """

    engine: str
    unpacked: int
    needs: dict[str, tuple[str, int, str]]


class Claims:
    """The claims of this host's processes. One that has begun to use its room still counts whole."""

    def __init__(self) -> None:
        self._lease = Lease("room for images", Path("/nonexistent/driver.lock"))
        self._held: dict[Path, int] = {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else looks or claims while the block runs."""
        with self._lease.locked():
            yield

    def add(self, claim: Claim) -> Path:
        """Claim, within :meth:`locked`; what it gives is for :meth:`drop`."""
        path = self._folder / f"{secrets.token_hex(8)}.claim"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.fchmod(handle, 0o644)  # whatever the umask: every user of the host counts it
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(handle, json.dumps(asdict(claim)).encode())
        self._held[path] = handle
        return path

    def drop(self, claim: Path) -> None:
        """The image is there, or will not come."""
        claim.unlink(missing_ok=True)
        os.close(self._held.pop(claim))

    def others(self) -> list[Claim]:
        """What is claimed by processes that live; call it within :meth:`locked`."""
        found = []
        for path in self._folder.glob("*.claim"):
            with contextlib.suppress(FileNotFoundError, PermissionError), path.open("rb") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    said = json.load(stream)
                    needs = {device: (str(p), int(size), str(why)) for device, (p, size, why) in said["needs"].items()}
                    found.append(Claim(said["engine"], said["unpacked"], needs))
                else:
                    path.unlink()  # its process is dead
        return found

    @property
    def _folder(self) -> Path:
        folder = leases.FOLDER / "claims"
        leases.make_shared(folder.parent, 0o1777)
        leases.make_shared(folder, 0o1777)
        return folder

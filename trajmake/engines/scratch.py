"""Folders of running containers: claimed by name, locked while alive, removable when dead.

Whoever removes a folder looked at it before, and in between its name may have
gone to a new container: so what is removed is what was opened, never what has
the name by then.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from trajmake.errors import ClaimedError, EngineUnavailableError
from trajmake.machine import elsewhere, here

_CLAIM_SECONDS = 10.0  # a container whose owner was killed just now is still being removed
_OWNER = "owner.json"
_EMPTY = f'chmod -R u+rwx .; rm -rf "$@" && rm -f ./{_OWNER}'


@dataclass(frozen=True)
class Scratch:
    """A container's folder.

    Attributes:
        folder: Its path.
        lock: Locked file descriptor that says it is alive; whoever inherits it keeps it alive.
        place: File descriptor of the folder itself.
    """

    folder: Path
    lock: int
    place: int

    def remove(self) -> None:
        """Remove the folder, unless that was done and its name is another's now; once."""
        try:
            _remove(self.folder, self.place)
        finally:
            os.close(self.place)


def claim(scratch: Path, name: str, labels: Mapping[str, str]) -> Scratch:
    """A folder for a container of this name.

    Leftovers of containers that died without a clean end are removed.

    Raises:
        ClaimedError: a container of this name is alive.
        EngineUnavailableError: the scratch folder is another user's.
    """
    _own(scratch)
    reap(scratch)
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:80] + "-" + sha256(name.encode()).hexdigest()[:8]
    folder = scratch / safe
    made = _make(scratch, {**here(), "pid": os.getpid(), "name": name, "labels": dict(labels)})
    deadline = time.monotonic() + _CLAIM_SECONDS
    while True:
        try:
            made.folder.rename(folder)
            return Scratch(folder, made.lock, made.place)
        except OSError:
            if not _remove_dead(folder) and time.monotonic() > deadline:
                made.remove()
                os.close(made.lock)
                raise ClaimedError(f"A container {name} is already running here.", "Wait for it, or stop it.") from None
            time.sleep(0.02)


def reap(scratch: Path) -> list[str]:
    """Remove the folders of containers that died without a clean end, and name them."""
    return [folder.name for folder in (list(scratch.iterdir()) if scratch.is_dir() else ()) if _remove_dead(folder)]


def _own(scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    if scratch.stat().st_uid != os.geteuid():
        raise EngineUnavailableError(f"{scratch} belongs to another user.", "Set TMPDIR to a folder of your own.")


def _make(scratch: Path, owner: Mapping[str, object]) -> Scratch:
    """A folder under a name of no container."""
    folder = Path(tempfile.mkdtemp(dir=scratch, prefix=".new-"))
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lock = os.open(".owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=place)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, json.dumps(owner).encode())
    os.rename(".owner", _OWNER, src_dir_fd=place, dst_dir_fd=place)  # locked before anybody can see it
    return Scratch(folder, lock, place)


def _remove_dead(folder: Path) -> bool:
    """Remove a folder whose lock no process holds (one just made has not got one yet); whether it was one."""
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    with contextlib.ExitStack() as opened:
        opened.callback(os.close, place)
        try:
            lock = os.open(_OWNER, os.O_RDONLY | os.O_CLOEXEC, dir_fd=place)
        except FileNotFoundError:
            if time.time() - os.stat(place).st_mtime < 60:
                return False
        else:
            opened.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if elsewhere(os.read(lock, 1 << 20).decode(errors="replace")):
                return False
        return _remove(folder, place)


def _remove(folder: Path, place: int) -> bool:
    """Remove what is in the folder that was opened, then its name, which only an empty folder gives up.

    A command may have left folders that cannot be read, and others deeper than
    Python can go. The owner goes last: till then it is known for what it is.
    """
    if names := os.listdir(place):
        subprocess.run(
            ["/bin/sh", "-c", _EMPTY, "sh", *(f"./{name}" for name in names if name != _OWNER)],
            cwd=f"/proc/self/fd/{place}",
            stderr=subprocess.DEVNULL,
            check=False,
        )
    try:
        folder.rmdir()
    except OSError:
        return False
    return True

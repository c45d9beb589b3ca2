"""Folders of running containers: claimed by name, locked while alive, removable when dead."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from trajmake.errors import ClaimedError, EngineUnavailableError

_CLAIM_SECONDS = 10.0  # a container whose owner was killed just now is still being removed


def claim(scratch: Path, name: str, labels: Mapping[str, str]) -> tuple[Path, int]:
    """A folder for a container of this name, and the locked file descriptor that says it is alive.

    Whoever inherits the descriptor keeps the container alive in the eyes of
    others. Leftovers of containers that died without a clean end are removed.

    Raises:
        ClaimedError: a container of this name is alive.
        EngineUnavailableError: the scratch folder is another user's.
    """
    _own(scratch)
    reap(scratch)
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:80] + "-" + sha256(name.encode()).hexdigest()[:8]
    folder = scratch / safe
    fresh = Path(tempfile.mkdtemp(dir=scratch, prefix=".new-"))
    lock = os.open(fresh / "owner.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    owner = {"pid": os.getpid(), "start": _start_time(), "name": name, "labels": dict(labels)}
    os.write(lock, json.dumps(owner).encode())
    deadline = time.monotonic() + _CLAIM_SECONDS
    while True:
        try:
            fresh.rename(folder)
            return folder, lock
        except OSError:
            if _dead(folder):
                remove_tree(folder)
            elif time.monotonic() > deadline:
                os.close(lock)
                remove_tree(fresh)
                raise ClaimedError(f"A container {name} is already running here.", "Wait for it, or stop it.") from None
            time.sleep(0.02)


def reap(scratch: Path) -> list[str]:
    """Remove the folders of containers that died without a clean end, and name them."""
    dead = [folder for folder in (scratch.iterdir() if scratch.is_dir() else ()) if _dead(folder)]
    for folder in dead:
        remove_tree(folder)
    return [folder.name for folder in dead]


def _own(scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    if scratch.stat().st_uid != os.geteuid():
        raise EngineUnavailableError(f"{scratch} belongs to another user.", "Set TMPDIR to a folder of your own.")


def _dead(folder: Path) -> bool:
    """Whether no process holds the folder's lock (a folder just made has not got one yet)."""
    try:
        handle = os.open(folder / "owner.json", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return folder.exists() and time.time() - folder.stat().st_mtime > 60
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _start_time() -> int:
    """This process's start, in clock ticks since boot (proc(5), field 22 of stat)."""
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


def remove_tree(folder: Path) -> None:
    """Remove a container's folder; a command may have left folders that cannot be read."""
    for place, names, _ in os.walk(folder, topdown=True):
        for name in names:
            path = os.path.join(place, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)

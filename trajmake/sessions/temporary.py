"""Temporary folders of processes that were killed, Snakemake's too: known by an owner's lock, removed by the next."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path

from trajmake.machine import elsewhere, here
from trajmake.sessions import locks

_OWNER = ".trajmake-owner"
_held: list[int] = []  # keeps the lock until this process ends


def own(folder: Path | str) -> None:
    """Mark this process's temporary folder as in use, and remove those beside it whose owner is dead."""
    folder = Path(folder)
    fresh = folder / f"{_OWNER}.new"
    handle = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    os.write(handle, json.dumps(here()).encode())
    fresh.rename(folder / _OWNER)  # locked before anybody can see it
    _held.append(handle)
    reap(folder.parent)


def reap(place: Path) -> list[Path]:
    """Remove the marked folders in ``place`` whose owner is dead, and name them."""
    dead = [mark.parent for mark in place.glob(f"*/{_OWNER}") if not locks.held(mark) and _mine(mark)]
    for folder in dead:
        shutil.rmtree(folder, ignore_errors=True)
    return dead


def folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder that does not outlast its process by more than the next one's start."""
    made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    own(made.name)
    return made


def _mine(mark: Path) -> bool:
    try:
        return mark.stat().st_uid == os.geteuid() and not elsewhere(mark.read_text(errors="replace"))
    except FileNotFoundError:
        return False

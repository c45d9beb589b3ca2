"""This machine, as others can tell it from one that has its name."""

from __future__ import annotations

import json
import socket
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The running kernel's boot (random(4)): another one after each start; "?" where none is told."""
    return _BOOT.read_text().strip() if _BOOT.exists() else "?"


def here() -> dict[str, str]:
    """What :func:`elsewhere` tells this host's marks by."""
    return {"host": socket.gethostname(), "boot": boot_id()}


def elsewhere(mark: str) -> bool:
    """Whether a mark, JSON with what :func:`here` gives, is another living host's.

    On a shared file system its lock may not be seen here. A mark of an earlier
    boot of this host is not elsewhere, nor is one that says nothing.
    """
    try:
        said = {**here(), **json.loads(mark or "{}")}
    except (ValueError, TypeError):
        return False
    return bool(said["host"] != socket.gethostname() and said["boot"] != boot_id())

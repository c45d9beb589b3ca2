"""This machine, as others can tell it from one that has its name."""

from __future__ import annotations

from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The running kernel's boot (random(4)): another one after each start; "?" where none is told."""
    return _BOOT.read_text().strip() if _BOOT.exists() else "?"

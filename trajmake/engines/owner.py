"""The process that a container belongs to, as a label; and whether it is over."""

from __future__ import annotations

import os
from pathlib import Path

from trajmake.machine import boot_id

OWNER = "trajmake.owner"


def owner() -> str:
    """This process: the kernel's boot, the namespace of process ids, the id, the start in clock ticks since boot."""
    return f"{_place()} {os.getpid()} {_start(os.getpid())}"


def over(label: str) -> bool:
    """Whether the process that a label names has ended; False where this process cannot know."""
    place, pid, start = ["", "", "", *label.rsplit(" ", 2)][-3:]
    if place != _place() or not pid.isdigit():
        return False  # another machine's, one boot ago, or in a container of its own
    try:
        return str(_start(int(pid))) != start
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return not _there(int(pid))


def _there(pid: int) -> bool:
    """Whether a process has this id: /proc may hide those of other users (proc(5), hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _place() -> str:
    return f"{boot_id()} {os.stat('/proc/self/ns/pid').st_ino}"


def _start(pid: int) -> int:
    """Field 22 of proc(5)'s stat; a process id is given again."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])

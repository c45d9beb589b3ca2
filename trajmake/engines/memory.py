"""Memory use of a container as its control group tells it."""

from __future__ import annotations

from collections.abc import Callable

from trajmake.engines.base import ContainerFacts

_PEAKS = ("memory.max_usage_in_bytes", "memory.peak")  # cgroup v1, v2 (Linux >= 5.19)
_EVENTS = ("memory.oom_control", "memory.events")


def memory_facts(read: Callable[[str], bytes], folders: tuple[str, ...]) -> ContainerFacts:
    """Peak and out-of-memory kills, from the first folder that has them.

    The peak includes the page cache, as the limit does. A kill of any process
    counts, also when the container itself went on.

    Args:
        read: Gives a file's content or raises FileNotFoundError.
        folders: Where the control group may be seen.
    """
    peak = _first(read, folders, _PEAKS)
    events = _first(read, folders, _EVENTS)
    counts = dict(line.split()[:2] for line in events.splitlines() if len(line.split()) >= 2)
    return ContainerFacts(
        peak_memory=int(peak) if peak.strip().isdigit() else None,
        out_of_memory=int(counts.get("oom_kill", "0")) > 0,
    )


def _first(read: Callable[[str], bytes], folders: tuple[str, ...], names: tuple[str, ...]) -> str:
    for folder in folders:
        for name in names:
            try:
                return read(f"{folder}/{name}").decode()
            except FileNotFoundError:
                continue
    return ""

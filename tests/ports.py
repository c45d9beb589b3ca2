"""Ports for servers that must be told theirs."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_AMONG = 8000


def free(count: int = 1) -> list[int]:
    """Ports at which nobody listens.

    They lie below those that the kernel gives to whoever takes any, so that no
    connection has one when its server starts a moment later.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    for port in random.sample(range(first - _AMONG, first), _AMONG):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} ports are free")

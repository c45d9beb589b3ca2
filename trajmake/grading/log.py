"""Test logs as text: read without taking all memory, freed of what terminals and exports add."""

from __future__ import annotations

import re
from pathlib import Path

LIMIT = 64 * 1024 * 1024
"""Bytes of a log that are graded; of a longer one, the head and the tail."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_NOT_INDENTED = re.compile(r"\n(?!  |\n|\Z)")


def read_log(path: Path | str, limit: int = LIMIT) -> str:
    """A log as text, invalid UTF-8 replaced; one longer than ``limit`` bytes loses its middle.

    Losing lines can only make a test absent, which never resolves an instance.

    Raises:
        FileNotFoundError: there is no such log.
    """
    with Path(path).open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if size <= limit:
            return stream.read().decode("utf-8", errors="replace")
        head = stream.read(limit // 8)
        stream.seek(size - (limit - len(head)))
        tail = stream.read()
    head = head[: head.rfind(b"\n") + 1]
    tail = tail[tail.find(b"\n") + 1 :]
    cut = f"[{size - len(head) - len(tail)} bytes of the log left out here]\n"
    return head.decode("utf-8", errors="replace") + cut + tail.decode("utf-8", errors="replace")


def clean(log: str) -> str:
    """``log`` without colours and carriage returns, and without an export's indentation.

    Exported logs (``test_stdout``) have two blanks before every line but the first.
    """
    if "\x1b" in log:
        log = _ANSI.sub("", log)
    if "\r" in log:
        log = log.replace("\r\n", "\n").replace("\r", "\n")
    if "\n  " in log and not _NOT_INDENTED.search(log):
        log = log.replace("\n  ", "\n")
    return log

"""Why no test ran: the environment's doing, or the patch's.

Only asked when a log has no result at all. A broken environment is never
counted against a model; but a patch that keeps the tests from starting is the
model's doing, so a fault needs a sign that does not lead to the patch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("out_of_memory", re.compile(r"Cannot allocate memory|OutOfMemoryError|^Killed$", re.M)),
    ("disk_full", re.compile(r"No space left on device")),
    ("container_lost", re.compile(r"Error response from daemon|Cannot connect to the Docker daemon")),
    (
        "environment_broken",
        re.compile(
            r"^(?!\s*[+>]).*(?:: command not found|: not found)$"
            r"|No module named '?(?:pytest|unittest|django|tox|nose)'?$"
            r"|(?:bash|sh|source|\.): .*: No such file or directory"
            r"|^ERROR: (?:file or directory not found|not found): "
            r"|: error: unrecognized arguments: "
            r"|Could not resolve host|Temporary failure in name resolution",
            re.M,
        ),
    ),
)
_COMMAND_NOT_FOUND = (126, 127)


def cause(log: str, patch_paths: Iterable[str], exit_code: int | None, *, started: bool) -> tuple[str, str]:
    """Reason and a sentence why no test ran; ``("", sentence)`` when it is the patch's doing.

    Args:
        log: The cleaned log.
        patch_paths: What the model's patch touches, as far as it is still so.
        exit_code: The test command's.
        started: The test runner left a sign that it started.
    """
    touched = list(patch_paths)
    blamed = next((path for path in touched if _mentions(log, path)), "")
    if blamed:
        return "", f"No test ran, and the log leads to {blamed}, which the patch changes."
    for reason, pattern in _SIGNS:
        found = pattern.search(log)
        if found:
            return reason, f"No test ran: {_line_of(log, found.start())}"
    if exit_code == 0 and not log.strip() and touched:
        return "", "The test command ended with 0 and printed nothing: the patch ends the test runner before it starts."
    if exit_code in _COMMAND_NOT_FOUND:
        return "environment_broken", f"No test ran: the test command ended with exit code {exit_code} (not found)."
    if started:
        return "", "The test runner started, but no test ran."
    return "environment_broken", "No test ran, and the log holds no sign of the test runner."


def _mentions(log: str, path: str) -> bool:
    """Whether the log names the file, or a Python module of it (``No module named 'pkg.mod'``)."""
    if path in log and re.search(rf"(?<![\w.-]){re.escape(path)}(?![\w-])", log):
        return True
    pure = PurePosixPath(path)
    if pure.suffix != ".py":
        return False
    parts = pure.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    dotted = [".".join(parts[start:]) for start in range(len(parts))]
    return any(f"'{name}'" in log for name in dotted)


def _line_of(log: str, position: int) -> str:
    while position < len(log) and log[position] == "\n":
        position += 1
    start = log.rfind("\n", 0, position) + 1
    end = log.find("\n", position)
    return log[start : end if end >= 0 else None].strip()[:300]

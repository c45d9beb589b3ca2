"""Status files: one line per instance and model (``docs/formats.md``).

``IN_PROGRESS|epoch``, ``SUCCESS|epoch|seconds``, ``FAILED|epoch|seconds|exit_code``,
``TIMEOUT|epoch|seconds``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trajmake import files
from trajmake.outcomes import Status


@dataclass(frozen=True)
class StatusLine:
    """A status file's content: when (Unix seconds), how long (seconds), exit code (``FAILED`` only)."""

    status: Status
    epoch: int
    seconds: int = 0
    exit_code: int = 0

    def __str__(self) -> str:
        fields: list[str | int] = [self.status.value, self.epoch]
        if self.status is not Status.IN_PROGRESS:
            fields.append(self.seconds)
        if self.status is Status.FAILED:
            fields.append(self.exit_code)
        return "|".join(str(field) for field in fields)


def write(path: Path | str, line: StatusLine) -> None:
    """Replace the status file atomically."""
    files.write_text(path, f"{line}\n")


def read(path: Path | str) -> StatusLine | None:
    """The status, or None when there is no such file.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        fields = Path(path).read_text(encoding="utf-8").strip().split("|")
    except FileNotFoundError:
        return None
    return StatusLine(Status(fields[0]), *(int(field) for field in fields[1:]))

"""Fault records: what the machine did wrong, as data that travels down the graph.

A stage that cannot do its work writes a record in the place of its output, so
that the graph goes on to the summary, and appends the same record to the fault
file of its subject. The number of lines there is a parameter of the rule: it
has grown when the next run looks, and so that run repeats the stage.
"""

from __future__ import annotations

import contextlib
import json
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.errors import TrajmakeError

_MOST = 65536  # a fault record in the place of a tarball is told from one by its size


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        stage: The stage that met it first; later stages carry it.
        reason: From :class:`trajmake.errors.Reason`.
        message: What happened, with which thing.
        hint: What to do.
        exit_code: The reason's exit code.
        attempt: 1 for the first try of this stage and subject.
    """

    stage: str
    reason: str
    message: str
    hint: str
    exit_code: int
    attempt: int


class CarriedFault(Exception):
    """An earlier stage left a fault record where this stage's input should be."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def from_error(error: BaseException, stage: str, attempt: int) -> Fault:
    """The record of an exception; one that is no :class:`TrajmakeError` is a defect of ours, said so."""
    if not isinstance(error, TrajmakeError):
        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        error = TrajmakeError(
            f"Unexpected {type(error).__name__}: {str(error)[:500]}{where}",
            "This is a defect of Trajmake; the traceback is in the log.",
        )
    return Fault(stage, error.reason.value, error.message, error.hint, error.exit_code, attempt)


def record(path: Path | str, fault: Fault) -> None:
    """Append a fault to its subject's fault file."""
    files.append_line(path, json.dumps(asdict(fault), ensure_ascii=False))


def count(path: Path | str) -> int:
    """Faults recorded so far (0 when the file is not there)."""
    try:
        return Path(path).read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def last_reason(path: Path | str) -> str:
    """Reason of the fault recorded last; "" where there is none."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ""
    return str(json.loads(lines[-1])["reason"]) if lines else ""


def of(value: Any) -> Fault | None:
    """The fault that an artefact's content holds, or None."""
    fault = value.get("fault") if isinstance(value, dict) else None
    return Fault(**fault) if fault else None


def check(value: Any) -> None:
    """Stop a stage whose input is a fault record.

    Raises:
        CarriedFault: ``value`` holds a fault.
    """
    if fault := of(value):
        raise CarriedFault(fault)


def check_file(path: Path | str) -> None:
    """:func:`check` for a file that is a fault record only if it is small and JSON."""
    if Path(path).stat().st_size <= _MOST:
        data = Path(path).read_bytes()
        if data.startswith(b"{"):
            with contextlib.suppress(ValueError):
                check(json.loads(data))


def as_record(fault: Fault) -> dict[str, Any]:
    """What stands in the place of a JSON artefact."""
    return {"error": fault.message, "fault": asdict(fault)}

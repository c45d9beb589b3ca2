"""The state of every run of a session, as its files and locks tell it: also of runs that no job has finished.

``outcome.json`` has the state of a finished run. What is not finished is ``IN_PROGRESS`` while its process
lives, ``STALE`` where the process is gone, ``PENDING`` where none has begun; a run whose trajectory is there and
not its verdict keeps the trajectory's status.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trajmake.outcomes import Status
from trajmake.sessions import layout, locks, outcome, status

STALE = "STALE"
PENDING = "PENDING"
SHOWN = (*(str(known) for known in Status), STALE, PENDING)


def survey(output_dir: Path | str, session: str, runs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """An outcome for each run (model, safe name of the instance), in the order given.

    What is not finished has the same keys and ``unfinished``, a sentence that says why.
    """
    return [_state(Path(output_dir), session, model, instance_id) for model, instance_id in runs]


def _state(root: Path, session: str, model: str, instance_id: str) -> dict[str, Any]:
    names = {"session": session, "model": model, "instance_id": instance_id}
    folder, evaluation = root / layout.INSTANCE.format(**names), root / layout.EVALUATION.format(**names)
    chain = {
        "generate": folder / "output.jsonl",
        "run_tests": evaluation / "test_run.json",
        "grade": evaluation / "outcome.json",
    }
    if not (stage := _first_missing(chain)):
        with contextlib.suppress(OSError, ValueError):
            return outcome.read(chain["grade"])
        stage = "grade"
    shown, why = _unfinished(root, names, stage)
    return outcome.unfinished(session, model, layout.original_name(instance_id), shown, stage, why)


def _first_missing(chain: dict[str, Path]) -> str:
    """The first stage without an output, or with one that is older than the output before it."""
    before = 0
    for stage, path in chain.items():
        try:
            made = path.stat().st_mtime_ns
        except OSError:
            return stage
        if made < before:
            return stage
        before = made
    return ""


def _unfinished(root: Path, names: dict[str, str], stage: str) -> tuple[str, str]:
    """Status shown and why."""
    place, claim = root / layout.STATUS.format(**names), root / layout.CLAIM.format(**names)
    line = None
    with contextlib.suppress(ValueError, TypeError):  # what somebody else wrote there says nothing
        line = status.read(place)
    if stage != "generate":
        what = "its tests have not ended" if stage == "run_tests" else "it is not graded"
        return (str(line.status) if line else PENDING), f"the trajectory is there, {what}"
    if line and line.status is Status.IN_PROGRESS:
        who = locks.signature(claim) or "its process"
        if status.alive(place, claim):
            return str(Status.IN_PROGRESS), f"{who} works on it since {_clock(line.epoch)}"
        return STALE, f"{who} began it at {_clock(line.epoch)} and is gone"
    if locks.held(claim):
        return str(Status.IN_PROGRESS), f"{locks.signature(claim)} is about to begin"
    return PENDING, "no agent has begun"


def _clock(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(epoch))

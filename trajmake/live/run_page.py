"""The page of one run, from what is there of it; it follows the run while that goes on."""

from __future__ import annotations

import os
from pathlib import Path

from trajmake.pages import asset, trajectory
from trajmake.sessions import layout
from trajmake.sessions.found import Outputs


def render(outputs: Outputs, session: str, model: str, instance: str) -> str:
    """The page as HTML; ``instance`` is a safe name."""
    return trajectory.render(
        outputs,
        session,
        model,
        layout.original_name(instance),
        scripts=[asset("follow.js")],
        policy={"connect-src": "'self'"},
    )


def version(root: Path, session: str, model: str, instance: str) -> tuple[int, ...]:
    """Times of what a run's page is made of: another version, another page."""
    names = {"session": session, "model": model, "instance_id": instance}
    folder, evaluation = layout.INSTANCE.format(**names), layout.EVALUATION.format(**names)
    parts = (layout.JOURNAL.format(**names), f"{folder}/output.jsonl", f"{evaluation}/test_run.json")
    return tuple(_time(root / part) for part in (*parts, f"{evaluation}/outcome.json"))


def _time(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0

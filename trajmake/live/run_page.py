"""The page of one run, from what is there of it; it follows the run while that goes on."""

from __future__ import annotations

import os
from pathlib import Path

from trajmake.pages import asset, trajectory
from trajmake.reports.one_run import Run
from trajmake.sessions import layout


def render(root: Path, session: str, model: str, instance: str) -> str:
    """The page of a run that is there, as HTML.

    Args:
        root: The folder of all sessions.
        session, model: Names.
        instance: A safe name.
    """
    run = Run.at(root, session, model, instance)
    return trajectory.of_run(run, scripts=[asset("follow.js")], policy={"connect-src": "'self'"})


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

"""Trajectories that are to be bought anew, although there are bought answers for them.

A run's journal is gone on with, whatever became of its process: Snakemake repeats a
job that it did not see end, and deletes its outputs for it, so a job cannot tell by
what lies there whether ``--forcerun`` asked for it. So the session's driver writes
down, before its first job, which attempts ``--forcerun`` is to replace. An attempt
has an id, so the order is carried out once: a forced run that is killed goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from trajmake import files
from trajmake.llm import journal
from trajmake.sessions import layout

_OUTPUTS = ("output.jsonl", "metadata.json")


def order(output_dir: str, session: str, forced: Iterable[str], runs: Iterable[tuple[str, str]]) -> None:
    """Write down which attempts end here.

    Args:
        output_dir: The session's.
        session: Its name.
        forced: What is to be made again: rules, files, ``*`` for all.
        runs: Model and instance (safe name) of every run of the session.
    """
    root, forced = Path(output_dir), set(forced)
    place = root / layout.RENEWALS.format(session=session)
    every = not forced.isdisjoint({"*", "generate"})
    ended: dict[str, str] = {}
    for model, instance_id in runs if forced else ():
        names = {"session": session, "model": model, "instance_id": instance_id}
        folder = root / layout.INSTANCE.format(**names)
        if (every or not forced.isdisjoint(os.path.normpath(folder / name) for name in _OUTPUTS)) and _is_over(folder):
            found = journal.attempt(root / layout.JOURNAL.format(**names))
            # An attempt that replaces another has no trajectory yet: what lies there was put back after a fault.
            ended |= {f"{model}/{instance_id}": found["id"]} if found and not found.get("replaces") else {}
    if ended or place.exists():
        files.write_json(place, ended)


def ordered(output_dir: str, session: str, model: str, instance_id: str) -> str:
    """Id of the attempt of this run that is not to be gone on with; "" where there is none."""
    try:
        ended = files.read_json(Path(output_dir) / layout.RENEWALS.format(session=session))
    except FileNotFoundError:
        return ""
    return str(ended.get(f"{model}/{instance_id}", ""))


def _is_over(folder: Path) -> bool:
    """Whether there is a trajectory, or a fault to which its answers lead again and again."""
    try:
        details = files.read_json(folder / "metadata.json")["details"]
        return (folder / "output.jsonl").exists() and bool(details.get("exit_status") or details.get("stuck"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False

"""What an output folder holds, found from its folders: sessions, their models, their runs. No configuration is read.

A run is known from its folder, or from a summary that an interrupted session left; a run that is in neither has
not begun, and nothing on disk says that it is wanted.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trajmake.errors import ConfigError
from trajmake.sessions import cleaning, layout, survey
from trajmake.settings.models import CALIBRATING

LATEST = "latest"
_BEGUN = "instance_"


def session(output_dir: Path, name: str = LATEST) -> str:
    """The session meant; ``latest`` is the one that was driven last.

    Raises:
        ConfigError: there is no such session; the hint names near ones.
    """
    known = cleaning.names(output_dir)
    if not known:
        raise ConfigError(f"There is no session in {output_dir}.", "Name the configuration with --configfile.")
    if name == LATEST and name not in known:
        return max(known, key=lambda one: (output_dir / layout.LOCK.format(session=one)).stat().st_mtime_ns)
    if name not in known:
        raise ConfigError(f"{output_dir} holds no session {name}.", near(name, known, "Sessions"))
    return name


def models(output_dir: Path, name: str) -> list[str]:
    """The models of a session. Those that calibrate a dataset are none, where there are others."""
    found = sorted({model for model, _ in runs(output_dir, name)})
    return [model for model in found if model not in CALIBRATING] or found


def runs(output_dir: Path, name: str) -> list[tuple[str, str]]:
    """All runs (model, safe name of the instance) of a session, by model and name."""
    folders = (output_dir / layout.TRAJECTORIES.format(session=name)).glob(f"*/{_BEGUN}*")
    begun = {(path.parent.name, path.name.removeprefix(_BEGUN)) for path in folders}
    there = {(model, " ".join(layout.original_name(safe).split())) for model, safe in begun}
    return sorted(begun | {(model, layout.safe_name(i)) for model, i in _summarized(output_dir, name) - there})


def states(output_dir: Path, name: str, chosen: Iterable[str]) -> list[dict[str, Any]]:
    """An outcome for each run of the models chosen, as :func:`trajmake.sessions.survey.survey` has it."""
    wanted = set(chosen)
    return survey.survey(output_dir, name, [run for run in runs(output_dir, name) if run[0] in wanted])


def near(name: str, known: Iterable[str], what: str) -> str:
    """A hint for a name that is not known: near ones, else the first few."""
    names = sorted(known)
    if close := difflib.get_close_matches(name, names, n=3, cutoff=0.5) or [one for one in names if name in one][:3]:
        return f"Did you mean {' or '.join(close)}?"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{what} there: {', '.join(names[:10]) or 'none'}{more}."


def _summarized(output_dir: Path, name: str) -> set[tuple[str, str]]:
    """Runs that had not begun when the session's table was written."""
    table = output_dir / layout.RESULTS.format(session=name) / "results.csv"
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            return {
                (row["Model"], row["Instance_ID"])
                for row in csv.DictReader(stream)
                if row.get("Status") == survey.PENDING
            }
    except (FileNotFoundError, KeyError):  # no table, or another's
        return set()

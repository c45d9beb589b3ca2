"""What an output folder holds, found from its folders: sessions, their models, their runs.

A run is known from its folder. What has not begun has none: it is known from what the session's driver set out to do;
where that is not told, from the table that an earlier end of the session left, else from the configuration, if it is
the session's.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajmake.errors import ConfigError, TrajmakeError
from trajmake.sessions import cleaning, drive, layout, quality, survey
from trajmake.settings.models import CALIBRATING
from trajmake.settings.sections import QualitySettings

if TYPE_CHECKING:
    from trajmake.settings import Settings

LATEST = "latest"
_BEGUN = "instance_"
Run = tuple[str, str]
"""Model, and safe name of the instance."""


@dataclass(frozen=True)
class Outputs:
    """An output folder, and the configuration that named it, where there is one."""

    folder: Path
    options: Settings | None = None

    @property
    def sessions(self) -> list[str]:
        """Their names."""
        return cleaning.names(self.folder)

    def session(self, name: str = LATEST) -> str:
        """The session meant; ``latest`` is the one that was driven last.

        Raises:
            ConfigError: there is no such session; the hint names near ones.
        """
        known = self.sessions
        if not known:
            raise ConfigError(f"There is no session in {self.folder}.", "Name the configuration with --configfile.")
        if name == LATEST and name not in known:
            return max(known, key=lambda one: (self.folder / layout.LOCK.format(session=one)).stat().st_mtime_ns)
        if name not in known:
            raise ConfigError(f"{self.folder} holds no session {name}.", near(name, known, "Sessions"))
        return name

    def models(self, session: str) -> list[str]:
        """The models of a session. Those that calibrate a dataset are none, where there are others."""
        found = sorted({model for model, _ in self.runs(session)})
        return [model for model in found if model not in CALIBRATING] or found

    def runs(self, session: str) -> list[Run]:
        """All runs of a session, by model and name."""
        folders = (self.folder / layout.TRAJECTORIES.format(session=session)).glob(f"*/{_BEGUN}*")
        begun = {(path.parent.name, path.name.removeprefix(_BEGUN)) for path in folders}
        table = self.folder / layout.RESULTS.format(session=session) / "results.csv"
        planned = drive.read(self.folder, session)
        if planned.started:
            return sorted(begun | {(model, name) for model in planned.models for name in planned.instances})
        return sorted(begun | (_waiting(table, begun) if table.exists() else self._planned(session)))

    def states(self, session: str, models: Iterable[str]) -> list[dict[str, Any]]:
        """An outcome for each run of these models, as :func:`trajmake.sessions.survey.survey` has it, marked."""
        chosen = set(models)
        states = survey.survey(self.folder, session, [run for run in self.runs(session) if run[0] in chosen])
        return quality.marked(states, self.options.quality if self.options else QualitySettings())

    def _planned(self, session: str) -> set[Run]:
        if self.options is None or self.options.session != session:
            return set()
        return {(model, instance_id) for model in self.options.models for instance_id in self._instances}

    @cached_property
    def _instances(self) -> list[str]:
        """Those of the configuration; reading them may take a while."""
        from trajmake.plan import Plan

        try:
            return Plan(self.options).instances if self.options else []
        except (TrajmakeError, OSError):  # a dataset that is gone by now; what ran can be seen all the same
            return []


def near(name: str, known: Iterable[str], what: str) -> str:
    """A hint for a name that is not known: near ones, else the first few."""
    names = sorted(known)
    if close := difflib.get_close_matches(name, names, n=3, cutoff=0.5) or [one for one in names if name in one][:3]:
        return f"Did you mean {' or '.join(close)}?"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{what} there: {', '.join(names[:10]) or 'none'}{more}."


def _waiting(table: Path, begun: set[Run]) -> set[Run]:
    """Runs that had not begun when the session's table was written, and have not since."""
    with table.open(encoding="utf-8", newline="") as stream:
        rows = [(row.get("Model"), row.get("Instance_ID"), row.get("Status")) for row in csv.DictReader(stream)]
    # The table has an id's white space as single blanks.
    there = {(model, " ".join(layout.original_name(safe).split())) for model, safe in begun}
    pending = {(model, name) for model, name, status in rows if model and name and status == survey.PENDING}
    return {(model, layout.safe_name(name)) for model, name in pending - there}

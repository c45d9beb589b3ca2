"""The picture of a session, read from its files again and again: what did not change is not read twice.

Of each run that has ended four file times are looked at, and of thousands of them only some at a time; of each that
has not begun nothing but whether it has a status file.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.live import last_answer
from trajmake.live.picture import ENDED, PENDING, RUNNING, Cell, Gpu, Model, Picture, Running
from trajmake.llm.spending import Spending, Spent
from trajmake.sessions import drive, layout, status, survey
from trajmake.sessions.found import Outputs, Run
from trajmake.settings.models import CALIBRATING

_SLICE = 256  # ended runs that are looked at again each time
_FRESH = 60.0  # seconds for which a GPU's last sample is shown
_NEVER = Cell(PENDING)


class Reader:
    """Looks at one session.

    Args:
        outputs: The folder of all sessions.
        session: Its name.
    """

    def __init__(self, outputs: Outputs, session: str) -> None:
        self.outputs = outputs
        self.session = session
        self._cells: dict[Run, Cell] = {}
        self._marks: dict[Run, tuple[int, ...]] = {}
        self._running: dict[Run, _Steps] = {}
        self._folders: tuple[int, ...] = ()
        self._drive = drive.Drive()
        self._next = 0

    def picture(self, *, driven: bool = True) -> Picture:
        """The session now.

        Args:
            driven: False where the process that drives it, this one, is about to end.
        """
        self._list_runs()
        begun = self._status_files()
        for run in self._due(begun):
            self._look(run)
        root, options = self.outputs.folder, self.outputs.options
        budget = self._drive.budget_usd
        if not self._drive.started and options and options.session == self.session:
            budget = options.limits.session_usd
        instances = self._instances()
        return Picture(
            session=self.session,
            at=time.time(),
            driver=drive.driver(root, self.session, self._drive) if driven else "",
            started=self._drive.started,
            budget_usd=budget,
            spent=self._spent(),
            instances=[layout.original_name(name) for name in instances],
            models=[Model(name, [self._cells.get((name, i)) for i in instances]) for name in self._models()],
            running=sorted(self._working(), key=lambda one: (one.since, one.model, one.instance)),
            gpus=self._gpus(),
        )

    def knows(self, run: Run) -> bool:
        """Whether the last picture had this run."""
        return run in self._cells

    def _list_runs(self) -> None:
        """List the runs anew where a folder, the drive or the table has changed."""
        root = self.outputs.folder
        trajectories = root / layout.TRAJECTORIES.format(session=self.session)
        results = root / layout.RESULTS.format(session=self.session)
        with contextlib.suppress(OSError):
            models = sorted(trajectories.iterdir())
            # The drive's file is touched all the time; that it is another one tells its inode.
            marks = [_time(path) for path in (trajectories, *models, results / "results.csv")]
            place = drive.heartbeat(root, self.session)
            found = (*marks, place.stat().st_ino if place.exists() else 0)
            if found == self._folders:
                return
            self._folders = found
        self._drive = drive.read(root, self.session)
        known = self.outputs.runs(self.session)
        shown = self._shown({model for model, _ in known})
        runs = {run for run in known if run[0] in shown}
        for run in runs - self._cells.keys():
            self._cells[run] = _NEVER
            self._look(run)
        for run in self._cells.keys() - runs:
            del self._cells[run]
            self._marks.pop(run, None)

    def _shown(self, models: set[str]) -> set[str]:
        """All models; those that only calibrate are none, where there are others."""
        return {name for name in models if name not in CALIBRATING or name in self._drive.models} or models

    def _status_files(self) -> set[str]:
        try:
            return set(os.listdir(self.outputs.folder / layout.PROGRESS.format(session=self.session)))
        except OSError:
            return set()

    def _due(self, begun: set[str]) -> Iterator[Run]:
        """Runs that are to be looked at now."""
        runs = list(self._cells)
        turn = set((runs[self._next :] + runs[: self._next])[:_SLICE])
        self._next = (self._next + _SLICE) % len(runs) if runs else 0
        for run in runs:
            cell = self._cells[run]
            waits = cell.state == PENDING and f"{run[0]}_{run[1]}.status" not in begun
            if run in turn or not (cell.state in ENDED or waits):
                yield run

    def _look(self, run: Run) -> None:
        names = {"session": self.session, "model": run[0], "instance_id": run[1]}
        evaluation = f"{self.outputs.folder}/{layout.EVALUATION.format(**names)}"
        paths = (
            f"{self.outputs.folder}/{layout.STATUS.format(**names)}",
            f"{self.outputs.folder}/{layout.INSTANCE.format(**names)}/output.jsonl",
            f"{evaluation}/test_run.json",
            f"{evaluation}/outcome.json",
        )
        mark = tuple(map(_time, paths))
        if self._marks.get(run) == mark and self._cells[run].state != RUNNING:
            return
        self._marks[run] = mark
        cell = Cell.of(survey.survey(self.outputs.folder, self.session, [run])[0])
        self._cells[run] = cell
        if cell.state != RUNNING:
            self._running.pop(run, None)
        elif run not in self._running:
            self._running[run] = _Steps(self.outputs.folder, names)

    def _working(self) -> Iterator[Running]:
        for (model, instance_id), steps in self._running.items():
            steps.refresh()
            name = layout.original_name(instance_id)
            yield Running(model, name, steps.since, steps.number, steps.command)

    def _models(self) -> list[str]:
        """Those of the drive first, in its order."""
        found = {model for model, _ in self._cells}
        planned = [name for name in self._drive.models if name in found]
        return planned + sorted(found.difference(planned))

    def _instances(self) -> list[str]:
        """Likewise."""
        found = {instance_id for _, instance_id in self._cells}
        planned = [name for name in self._drive.instances if name in found]
        return planned + sorted(found.difference(planned))

    def _spent(self) -> Spent | None:
        try:
            return Spending(self.outputs.folder / layout.SPENDING.format(session=self.session)).spent()
        except (OSError, ValueError, TypeError):  # damaged: a sum without it would be a lie
            return None

    def _gpus(self) -> list[Gpu]:
        found = files.read_object(self.outputs.folder / layout.GPUS.format(session=self.session))
        with contextlib.suppress(KeyError, TypeError):  # of another version
            if time.time() - found["at"] < _FRESH:
                return [Gpu(**gpu) for gpu in found["now"]]
        return []


class _Steps:
    """Where a running run is: read from its journal's folder when that has changed."""

    def __init__(self, root: Path, names: dict[str, str]) -> None:
        self._journal = root / layout.JOURNAL.format(**names)
        self._status = root / layout.STATUS.format(**names)
        self._made = -1
        self.since = 0.0
        self.number = 0
        self.command = ""

    def refresh(self) -> None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            line = status.read(self._status)
            self.since = float(line.epoch) if line else 0.0
        if (made := _time(self._journal)) == self._made:
            return
        self._made = made
        self.number = max(_numbers(self._journal), default=0)
        last = last_answer.read(self._journal / f"{self.number:04d}.json") if self.number else {}
        self.command = last_answer.asked_for(last)


def _numbers(journal: Path) -> Iterable[int]:
    try:
        return [int(name[:-5]) for name in os.listdir(journal) if name.endswith(".json") and name[:-5].isdigit()]
    except OSError:
        return []


def _time(path: Any) -> int:
    """Time of last change in nanoseconds; 0 where there is no such file."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0

"""Good results that a forced rerun is about to replace, kept until something as good is there.

Snakemake removes a job's outputs before it starts the job. So a session's driver gives the good results of all runs
that ``--forcerun`` names a second name before its first job: hard links in ``instance_ID/.kept/``, which take no room.
A stage that meets a fault gives them their own names back, one that ends well removes them.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from trajmake import files
from trajmake.sessions import layout
from trajmake.sessions.faults import Fault
from trajmake.settings import Settings

_TRAJECTORY = ("metadata.json", "output.jsonl")  # in the order in which they are made
_TESTS = ("test_output*.txt", "patch.diff", "eval.sh", "test_run.json")
_FAULT = "fault.json"


def keep(output_dir: str, session: str, forced: Iterable[str], runs: Iterable[tuple[str, str]]) -> None:
    """Keep what is good and about to be made again, and forget the faults of earlier reruns.

    Args:
        output_dir: The session's.
        session: Its name.
        forced: What is to be made again: rules, files, ``*`` for all.
        runs: Model and instance (safe name) of every run of the session.
    """
    names = set(forced)
    (Path(output_dir) / layout.RERUN_FAULTS.format(session=session)).unlink(missing_ok=True)
    every = not names.isdisjoint({"*", "generate", "run_tests"})
    for model, instance_id in runs if names else ():
        kept = Kept(output_dir, session, model, instance_id)
        if every or any(os.path.normpath(path) in names for path in kept.results()):
            kept.fill()


class Kept:
    """What is kept of one run.

    Args:
        output_dir: The session's.
        session: Its name.
        model: The run's model.
        instance_id: Its instance, a safe name.
    """

    def __init__(self, output_dir: str, session: str, model: str, instance_id: str) -> None:
        names = {"session": session, "model": model, "instance_id": instance_id}
        self._run = f"{model}/{layout.original_name(instance_id)}"
        self._folder = Path(output_dir) / layout.INSTANCE.format(**names)
        self._tests = Path(output_dir) / layout.EVALUATION.format(**names)
        self._place = Path(output_dir) / layout.KEPT.format(**names)
        self._faults = Path(output_dir) / layout.RERUN_FAULTS.format(session=session)

    @classmethod
    def of(cls, options: Settings, model: str, instance_id: str) -> Self:
        """Of a run of the session configured."""
        return cls(options.output_dir, options.session, model, instance_id)

    def results(self) -> Iterator[Path]:
        """Where the results of ``generate`` and ``run_tests`` are, as far as they are there."""
        yield from (path for name in _TRAJECTORY if (path := self._folder / name).exists())
        yield from self._tested()

    def fill(self) -> None:
        """Keep the trajectory, unless it is a fault or not there, and its test run, where that is good too."""
        if _details(self._folder / "metadata.json").get("exit_status") is None:
            return
        if not (self._folder / "output.jsonl").exists():
            return
        self.discard()
        self._place.mkdir()
        good = bool(_made_for(self._tests))
        for path in self.results():
            if good or path.parent == self._folder:
                _link(path, self._place / path.name)

    def put_back_trajectory(self, fault: Fault, made_for: Mapping[str, str]) -> bool:
        """Give the trajectory its place again, because its rerun met ``fault``; False where none is kept that fits.

        Args:
            fault: It is recorded apart, so that nothing is repeated for it unless it is asked for.
            made_for: Digests that the trajectory must have: a result for another row is none.
        """
        details = _details(self._place / "metadata.json")
        if not made_for or any(details.get(name) != digest for name, digest in made_for.items()):
            return False
        for name in _TRAJECTORY:
            _link(self._place / name, self._folder / name)
        files.write_json(self._place / _FAULT, asdict(fault))
        self._record(fault)
        return True

    @property
    def stands(self) -> bool:
        """Whether the trajectory is the kept one again, so that its tests need not run."""
        return (self._place / _FAULT).exists() and self._same_trajectory()

    def put_back_tests(self, made_for: Mapping[str, str], fault: Fault | None = None) -> bool:
        """Give the test run its place again, where it is kept, of this trajectory and for the same; end keeping.

        Args:
            made_for: As in ``test_run.json``.
            fault: That of a rerun of the tests.
        """
        if not self._same_trajectory() or _made_for(self._place) != dict(made_for):
            return False
        self.clear_tests()
        for path in _matching(self._place):
            _link(path, self._tests / path.name)
        if fault:
            self._record(fault)
        self.discard()
        return True

    def clear_tests(self) -> None:
        """Remove what an earlier test run left; nothing may be written into a file that is kept."""
        for path in self._tested():
            path.unlink()

    def discard(self) -> None:
        """Keep nothing any more."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._place)

    def _tested(self) -> list[Path]:
        return _matching(self._tests)

    def _same_trajectory(self) -> bool:
        try:
            return filecmp.cmp(self._place / "output.jsonl", self._folder / "output.jsonl")
        except FileNotFoundError:
            return False

    def _record(self, fault: Fault) -> None:
        files.append_line(self._faults, json.dumps({"run": self._run, **asdict(fault)}, ensure_ascii=False))


def rerun_faults(path: Path) -> list[str]:
    """The faults of this driver's forced reruns whose earlier results stand, a sentence each.

    Args:
        path: The session's file of them.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    told = []
    for fault in map(json.loads, lines):
        hint = f"\n    Hint: {fault['hint']}" if fault["hint"] else ""
        told.append(f"{fault['run']}: {fault['reason']} in {fault['stage']}: {fault['message']}{hint}")
    return told


def _matching(folder: Path) -> list[Path]:
    return [path for pattern in _TESTS for path in sorted(folder.glob(pattern))]


def _made_for(folder: Path) -> dict[str, str]:
    """What a test run without a fault was made for; empty where there is none, or an older one that does not say."""
    run = files.read_object(folder / "test_run.json")
    return {} if run.get("fault") else dict(run.get("made_for") or {})


def _details(path: Path) -> dict[str, Any]:
    return files.read_object(path).get("details") or {}


def _link(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a copy where the file system has no hard links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

"""What must hold of a session that is killed: the checks of ``tests/chaos.py``."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from own_daemon import OwnDaemon
from project import Project

from trajmake.images.leases import FOLDER
from trajmake.llm.spending import Spending
from trajmake.sessions import faults, locks, status

# Of a record: times, the account of the replay, what names the place; a peak of memory is a measurement, as a time is.
CHANGING = set("timestamp latency started ended seconds start_time replay response_id checkout git_commit".split())
CHANGING |= {"config_digest", "peak_memory", "agent_seconds", "host"}
CHANGING |= {"completion_time", "mean_seconds", "median_seconds"}
CHANGING |= {"attempt"}  # how often a provider that was down was asked
_TIMES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( UTC)?|\d+(\.\d+)? ?s\b")
_SPENT = re.compile(r"^Spent: .*\n", re.MULTILINE)
_TIMED_COLUMN = "Duration_Seconds"


class Ledger:
    """What was bought and finished so far, and whether it is still there.

    Attributes:
        problems: What was lost, repeated or untrue, for people.
        bought, journalled: Answers paid for, and answers on disk.
        twice: Answers that were on disk and were bought again.
        lost: Finished work that was lost or repeated.
    """

    def __init__(self, project: Project, session: str = "chaos") -> None:
        self.problems: list[str] = []
        self.bought = self.journalled = self.twice = self.lost = 0
        self._outputs, self._root, self._session = project.root / "outputs", project.root, session
        self._answers: dict[Path, str] = {}
        self._finished: dict[Path, tuple[int, str]] = {}
        self._before = (0, 0)

    def __str__(self) -> str:
        done = sum(path.name == "output.jsonl" for path in self._finished)
        tested = len(self._finished) - done
        finished = f"{done} trajectories, {tested} test runs, {self.journalled} answers"
        return f"{finished}, {len(self.problems)} problems"

    @property
    def gone(self) -> int:
        """Answers that a kill took between the provider and the disk."""
        return self.bought - self.journalled

    def look(self) -> None:
        """Compare what lies there with what lay there before, and each status with the truth."""
        for path, before in self._answers.items():
            if _digest(path) != before:
                self.twice += 1
                self.problems.append(
                    f"the answer {self._short(path)} was {'bought again' if path.exists() else 'lost'}"
                )
        answers = self._outputs.glob(f"trajectories/{self._session}/*/*/llm_completions/*/[0-9]*.json")
        self._answers = {path: _digest(path) for path in answers}
        for path, before in self._finished.items():
            if _fingerprint(path) != before:
                self.lost += 1
                self.problems.append(
                    f"{self._short(path)} was finished and is {'repeated' if path.exists() else 'lost'}"
                )
        self._finished = {path: mark for path in self._products() if (mark := _fingerprint(path))}
        self._count()
        for path in self._outputs.glob(f"progress/{self._session}/*.status"):
            self._check_status(path)

    def renew(self) -> None:
        """The session was complete and is removed: a new one begins, what was bought counts on."""
        self._before = (self.bought, self.journalled)
        self._answers, self._finished = {}, {}
        for name in ("trajectories", "results", "progress", "logs", "benchmarks"):
            shutil.rmtree(self._outputs / name, ignore_errors=True)
        shutil.rmtree(self._root / ".snakemake")

    def unread(self) -> int:
        """How many temporary folders nobody could mark in time."""
        return len(_unread(self._root))

    def _products(self) -> list[Path]:
        """Trajectories and test runs that Snakemake has seen end, and that are no faults."""
        found = []
        for pattern in ("output.jsonl", "eval_outputs/*/test_run.json"):
            for path in self._outputs.glob(f"trajectories/{self._session}/*/*/{pattern}"):
                with contextlib.suppress(OSError):
                    if not self._incomplete(path) and faults.of(_read(path)) is None:
                        found.append(path)
        return found

    def _incomplete(self, path: Path) -> bool:
        """Whether Snakemake's mark is there: urlsafe base64, in parts of 254 letters, all but the last after an @."""
        name = base64.urlsafe_b64encode(str(path.relative_to(self._root)).encode()).decode()
        parts = [name[start : start + 254] for start in range(0, len(name), 254)]
        return (self._root / ".snakemake/incomplete").joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1]).exists()

    def _count(self) -> None:
        spent = Spending(self._outputs / f"results/{self._session}/spending").spent().completions
        self.bought, self.journalled = self._before[0] + spent, self._before[1] + len(self._answers)

    def _check_status(self, path: Path) -> None:
        """``SUCCESS`` has its trajectory, or all answers; ``FAILED`` its fault; nothing finished is in progress."""
        line = status.read(path)
        model, _, instance = path.stem.partition("_")
        folder = self._outputs / f"trajectories/{self._session}/{model}/instance_{instance}"
        record = _read(folder / "output.jsonl") if (folder / "output.jsonl").exists() else None
        answers = len(list(folder.glob("llm_completions/*/[0-9]*.json")))
        finished = folder / "output.jsonl" in self._finished
        living = locks.held(folder / ".claim")
        assert line is not None
        untrue = {
            "SUCCESS": (record is not None and faults.of(record) is not None) or answers < 3,
            "FAILED": not list(folder.glob("faults/*.jsonl")),
            "IN_PROGRESS": finished and not living,
            "TIMEOUT": True,
            "MISSING": True,
        }
        if untrue[line.status.value]:
            self.problems.append(f"{path.name} says {line}: {answers} answers, finished {finished}")

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self._outputs))


def same_results(peace: Project, fire: Project, gone: int = 0) -> list[str]:
    """Where the results of two projects differ in more than times.

    Args:
        peace: The undisturbed one.
        fire: The other.
        gone: Answers that a kill took between the provider and the disk: paid for twice, and so the sums differ.
    """
    found = []
    first, second = (_results(project.root / "outputs", spent=not gone) for project in (peace, fire))
    for name in sorted({*first, *second}):
        if first.get(name) != second.get(name):
            found.append(f"{name} differs: {_difference(first.get(name), second.get(name))}")
    return found


def leftovers(project: Project, mark: str, daemon: OwnDaemon | None, patience: float) -> list[str]:
    """Processes, containers, mounts, folders and files of runs that are over; they have ``patience`` seconds to go."""
    deadline = time.monotonic() + patience
    while (found := _leftovers(project, mark, daemon)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _leftovers(project: Project, mark: str, daemon: OwnDaemon | None) -> list[str]:
    from chaos import marked

    found = [f"process {pid} {line[:80]}" for pid, line in marked(mark)]
    if daemon:
        found += [
            f"container {line}" for line in daemon.ask("ps", "-a", "--format", "{{.Names}} {{.Status}}").splitlines()
        ]
    place = str(project.root)
    found += [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if f"{place}/tmp" in line]
    temporary = [*(project.root / "tmp").glob("*"), *(project.root / "tmp").glob("trajmake-*/*")]
    unread = set(_unread(project.root))
    found += [
        f"temporary {path}" for path in temporary if path not in unread and path.name != f"trajmake-{os.geteuid()}"
    ]
    found += [f"part {path.relative_to(project.root)}" for path in (project.root / "outputs").rglob("*.part*")]
    for path in FOLDER.glob("*/*.session"):
        with contextlib.suppress(FileNotFoundError):  # another test's
            found += [f"lease {path}"] if place in path.read_text() else []
    # As trajmake.stages.container names them: other tests of this machine may have sessions of the same name.
    where = hashlib.sha256(str((project.root / "outputs").resolve()).encode()).hexdigest()[:8]
    groups = Path("/sys/fs/cgroup").glob(f"*/trajmake/{where}-*")
    return found + [f"control group {path}" for path in groups if path.is_dir()]


def _unread(root: Path) -> list[Path]:
    """Empty temporary folders of Snakemakes that were killed before any code of ours was read."""
    return [path for path in (root / "tmp").glob("snakemake*") if not any(path.iterdir())]


def _results(outputs: Path, *, spent: bool) -> dict[str, Any]:
    """What a session came to, by path, without times; with what it spent or without."""
    results: dict[str, Any] = {}
    for path in [*outputs.glob("results/*/*"), *outputs.glob("trajectories/**/*")]:
        name = str(path.relative_to(outputs))
        if not path.is_file() or path.name.startswith(".") or "/faults/" in name or path.name.endswith(".log"):
            continue
        if path.name == "progress_report.txt":  # its driver's: a killed one leaves it as it was
            continue
        if path.suffix in (".json", ".jsonl"):
            results[name] = _timeless(_read(path), CHANGING if spent else CHANGING | {"spent"})
        elif path.suffix == ".csv":
            rows = list(csv.DictReader(path.open(newline="")))
            results[name] = [{key: value for key, value in row.items() if key != _TIMED_COLUMN} for row in rows]
        else:
            text = _TIMES.sub("", path.read_text(errors="replace"))
            results[name] = text if spent else _SPENT.sub("", text)
    return results


def _timeless(value: Any, changing: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item, changing) for key, item in value.items() if key not in changing}
    return [_timeless(item, changing) for item in value] if isinstance(value, list) else value


def _difference(first: Any, second: Any, at: str = "") -> str:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in {**first, **second}:
            if first.get(key) != second.get(key):
                return _difference(first.get(key), second.get(key), f"{at}.{key}")
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            if one != other:
                return _difference(one, other, f"{at}[{number}]")
    return f"at {at or '.'}: {str(first)[:200]!r} and {str(second)[:200]!r}"


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _digest(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


def _fingerprint(path: Path) -> tuple[int, str] | None:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime_ns, _digest(path)
    return None

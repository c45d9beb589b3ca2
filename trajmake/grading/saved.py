"""Logs that somebody saved: found by instance, graded without a container.

Three ways to name them are known: ``ID/test_output.txt`` (SWE-bench 2 and later),
``ID*.log`` (SWE-bench 1: ``ID.MODEL.eval.log``) and a model's folder of a session
(``docs/formats.md``), whose ``test_run.json`` says more than its log.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.datasets.instance import Instance
from trajmake.errors import DatasetError
from trajmake.grading import harness
from trajmake.grading.facts import RunFacts
from trajmake.grading.log import read_log
from trajmake.grading.records import report
from trajmake.grading.repeats import combine
from trajmake.grading.verdict import Verdict, grade
from trajmake.sessions import layout

_LOG = "test_output.txt"


@dataclass(frozen=True)
class SavedLogs:
    """What a folder holds.

    Attributes:
        by_id: Instance id → its log.
        strange: Logs of no instance of the dataset, sorted.
    """

    by_id: dict[str, Path]
    strange: list[Path]


def find(folder: Path | str, ids: Sequence[str]) -> SavedLogs:
    """The logs in ``folder`` by instance.

    A file belongs to the longest id that its name begins with and that ends there
    as a word: ``a-1.gpt.log`` is of ``a-1``, and neither ``a-11.log`` nor ``a-1.2.log`` is.

    Raises:
        DatasetError: no such folder; two logs of one instance.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DatasetError(
            f"There is no folder of logs {root}.", "Name the folder that holds ID/test_output.txt or ID*.log."
        )
    names = {layout.safe_name(i): i for i in ids} | {i: i for i in ids}
    found: dict[str, Path] = {}
    strange: list[Path] = []
    for path, name in _logs(root):
        identity = names.get(name) if path.name == _LOG else _owner(name, names)
        if identity is None:
            strange.append(path)
        elif identity in found:
            raise DatasetError(
                f"Two logs are of instance {identity}: {found[identity]} and {path}.",
                "Keep the logs of each model apart.",
            )
        else:
            found[identity] = path
    # An id with slashes is a path of its own.
    found |= {i: root / i / _LOG for i in ids if "/" in i and i not in found and (root / i / _LOG).is_file()}
    return SavedLogs(found, sorted(strange))


def grade_log(instance: Instance, path: Path) -> Verdict:
    """The verdict by a saved log and what lies beside it (``test_run.json``, ``patch.diff``).

    Without either a patch is taken to have been there and applied, unless the log says otherwise.

    Raises:
        ConfigError: the row names a test output parser that does not exist.
    """
    beside = path.with_name("patch.diff") if path.name == _LOG else None
    patch = beside.read_text(encoding="utf-8", errors="surrogateescape") if beside and beside.is_file() else None
    run = path.with_name("test_run.json")
    if path.name == _LOG and run.is_file():
        return of_session(instance, patch or "", path, files.read_json(run))
    log = read_log(path)
    tests, facts = harness.tests_of(log)
    if patch is not None:
        facts = replace(facts, patch_exists=bool(patch.strip()))
    verdict = grade(instance, patch or "", tests, facts)
    if not verdict.statuses and tests is not log and facts.fault is None and facts.patch_applied:
        # As in SWE-bench: some runners' output lands outside of the marks.
        whole = grade(instance, patch or "", log, facts)
        return whole if whole.statuses else verdict
    return verdict


def of_session(
    instance: Instance, patch: str, test_output: Path, run: dict[str, Any], *, ignore_flaky: bool = False
) -> Verdict:
    """The verdict by the files that ``run_tests`` left: the log or logs, and how the runs went.

    Args:
        instance: The row.
        patch: The model's.
        test_output: The first log; those of repeats stand beside it.
        run: ``test_run.json``.
        ignore_flaky: See :func:`trajmake.grading.repeats.combine`.

    Raises:
        ConfigError: see :func:`trajmake.grading.grade`.
    """
    facts = RunFacts.from_dict(run)
    verdicts = [
        grade(instance, patch, read_log(layout.repeat_log(test_output, number)), each)
        for number, each in enumerate((facts, *facts.repeats), 1)
    ]
    return combine(instance, verdicts, ignore_flaky=ignore_flaky)


def line(verdict: Verdict) -> dict[str, Any]:
    """A verdict as one flat object: ``instance_id`` and the keys of ``report.json``."""
    return {"instance_id": verdict.instance_id, **report(verdict)[verdict.instance_id], "message": verdict.message}


def _logs(root: Path) -> Iterable[tuple[Path, str]]:
    """Each log with the name that says whose it is."""
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        path = Path(entry.path)
        if not entry.is_dir():
            if path.suffix == ".log":
                yield path, path.stem
            continue
        own = entry.name.removeprefix("instance_")
        for log in (path / _LOG, path / "eval_outputs" / own / _LOG):
            if log.is_file():
                yield log, log.parent.name


def _owner(name: str, ids: dict[str, str]) -> str | None:
    for end in range(len(name), 0, -1):
        rest = name[end:]
        boundary = not rest or (not rest[0].isalnum() and not rest[1:2].isdigit())
        if boundary and name[:end] in ids:
            return ids[name[:end]]
    return None

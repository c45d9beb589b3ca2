"""One run, out of the files that its stages left: outcome, patch, failing tests, last steps, where its logs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.datasets.fields import restore_newlines, text
from trajmake.errors import ConfigError
from trajmake.reports import steps as stepping
from trajmake.sessions import layout, survey
from trajmake.sessions.found import Outputs, near

_EVALUATION_LOGS = ("run_instance.log", "test_output*.txt")


@dataclass(frozen=True)
class Run:
    """A run as it lies on disk: each file is read when it is asked for, and what is not there is empty.

    Attributes:
        output_dir: The folder of all sessions.
        session, model: Their names.
        safe: Safe name of the instance.
        outcome: As in :mod:`trajmake.sessions.survey`.
    """

    output_dir: Path
    session: str
    model: str
    safe: str
    outcome: Mapping[str, Any]

    @classmethod
    def at(cls, output_dir: Path, session: str, model: str, safe: str) -> Run:
        """The run of this place, begun or not."""
        (outcome,) = survey.survey(output_dir, session, [(model, safe)])
        return cls(output_dir, session, model, safe, outcome)

    def place(self, pattern: str) -> Path:
        """A place of :mod:`trajmake.sessions.layout`."""
        return self.output_dir / pattern.format(session=self.session, model=self.model, instance_id=self.safe)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The line of ``output.jsonl``."""
        return files.read_object(self.place(layout.INSTANCE) / "output.jsonl")

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """What ``report.json`` says of the instance; nothing while it is not of this trajectory."""
        graded = (
            {} if "unfinished" in self.outcome else files.read_object(self.place(layout.EVALUATION) / "report.json")
        )
        return graded.get(self.outcome["instance_id"]) or {}

    @property
    def patch(self) -> str:
        """What the agent left in the repository, as a diff."""
        return str((self.record.get("test_result") or {}).get("git_patch") or "")

    @property
    def task(self) -> str:
        """The problem statement; of a run without a trajectory what its agent was asked, empty before it was."""
        if statement := (self.record.get("instance") or {}).get("problem_statement"):
            return restore_newlines(text(statement))
        journal = self.place(layout.JOURNAL) / "0001.json"
        return str(self.record.get("instruction") or "") or stepping.first_request(journal)

    @cached_property
    def steps(self) -> list[stepping.Step]:
        """See :mod:`trajmake.reports.steps`. Of a run without a trajectory, what its journal has."""
        if history := self.record.get("history"):
            return stepping.of_history(history, self.record.get("metrics"))
        return stepping.of_journal(self.place(layout.JOURNAL))


def read(outputs: Outputs, session: str, model: str, instance: str, *, last: int = 5) -> dict[str, Any]:
    """Everything about a run that can be shown.

    Args:
        outputs: The folder of all sessions.
        session: Its name.
        model: The model's name in the catalog.
        instance: The instance's id.
        last: How many steps from the end.

    Returns:
        ``outcome``, ``patch``, ``failing`` (ids of required tests by kind), ``steps``, ``files`` (paths).

    Raises:
        ConfigError: the session has no such model, or this model no such instance.
    """
    run = find(outputs, session, model, instance)
    return {
        "outcome": run.outcome,
        "patch": run.patch,
        "failing": {kind: tests["failure"] for kind, tests in (run.report.get("tests_status") or {}).items()},
        "steps": run.steps[-last:] if last else [],
        "files": paths(run),
    }


def find(outputs: Outputs, session: str, model: str, instance: str) -> Run:
    """The run of an instance's id; the gold and empty ones count too.

    Raises:
        ConfigError: see :func:`read`.
    """
    known = outputs.runs(session)
    names = {name for name, _ in known}
    if model not in names:
        raise ConfigError(f"Session {session} has no model {model}.", near(model, names, "Models"))
    instances = {layout.original_name(safe): safe for name, safe in known if name == model}
    if instance not in instances:
        hint = near(instance, instances, "Instances")
        raise ConfigError(f"{model} has no run on {instance} in session {session}.", hint)
    return Run.at(outputs.folder, session, model, instances[instance])


def paths(run: Run) -> list[str]:
    """Logs of the jobs first, then what they made: only what is there."""
    folder, evaluation = run.place(layout.INSTANCE), run.place(layout.EVALUATION)
    logs = run.place(layout.LOGS) / run.model
    stem = f"instance_{run.safe}"
    found = [logs / f"{stem}.log", logs / f"{stem}.grade.log", run.place(layout.STATUS)]
    for pattern in _EVALUATION_LOGS:
        found += sorted(evaluation.glob(pattern))
    found += [folder / "output.jsonl", run.place(layout.JOURNAL)]
    found += [evaluation / name for name in ("patch.diff", "eval.sh", "report.json", "outcome.json")]
    found += sorted((folder / "faults").glob("*.jsonl"))
    return [str(path) for path in found if path.exists()]

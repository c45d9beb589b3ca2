"""Stage ``generate``: an agent works in the instance's container. The dear one."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trajmake import agents, engines, files, llm, settings, workspace
from trajmake.agents.base import AgentLimits, Task, Trajectory
from trajmake.agents.predictions import propose
from trajmake.datasets import Dataset, Instance
from trajmake.errors import Reason
from trajmake.hidden_history import hide_history
from trajmake.llm import journal
from trajmake.llm.journal import Journal
from trajmake.outcomes import ExitStatus, Status, status_of
from trajmake.predictions import Predictions
from trajmake.sessions import faults, layout, renewals, status
from trajmake.sessions.faults import Fault
from trajmake.sessions.kept import Kept
from trajmake.sessions.status import StatusLine
from trajmake.sessions.turns import Turn
from trajmake.settings import ModelSettings, Settings
from trajmake.stages.alone import alone
from trajmake.stages.boundary import Stage
from trajmake.stages.container import start
from trajmake.trajectories import output, patch

logger = logging.getLogger(__name__)


def generate(
    config: Mapping[str, Any], *, model: str, instance_id: str, trajectory: str, metadata: str, log: str
) -> None:
    """Write the trajectory of ``model`` on ``instance_id`` (a safe name), or the fault in its place."""
    options = settings.load(config)
    job = Job(options, model, instance_id, Path(trajectory), Path(metadata))
    stage = Stage.of(options, "generate", log, model=model, instance_id=instance_id)
    stage.run(job.work, job.give_up, job.put_back)


def warm(config: Mapping[str, Any]) -> None:
    """Import what the session's jobs would, each for itself: engine, agents, providers."""
    options = settings.load(config)
    engines.warm(options)
    for entry in options.chosen.values():
        agents.warm(entry.agent)
        if agents.needs_model(entry.agent):
            llm.warm(entry)


@dataclass
class Job:
    """One run of one model on one instance.

    Attributes:
        options: The session's settings.
        model: Key in the catalog.
        instance_id: Safe name.
        trajectory, metadata: Outputs.
        started: Unix time.
        turn: The claim, once it was ours.
        door: The gateway, once it is open; it knows what was spent.
        made_for: What the trajectory depends on, once it is known.
    """

    options: Settings
    model: str
    instance_id: str
    trajectory: Path
    metadata: Path
    started: float = 0.0
    turn: Turn | None = None
    door: llm.Gateway | None = None
    made_for: dict[str, str] = field(default_factory=dict)

    @property
    def entry(self) -> ModelSettings:
        """The model's settings."""
        return self.options.catalog[self.model]

    def work(self) -> None:
        """Run the agent and write the outputs; ``output.jsonl`` comes last.

        Snakemake removes the outputs before it starts a job. Where they are
        there all the same once the claim is ours, an orphan of a killed run has
        finished this very job meanwhile, and what it bought is taken. Likewise
        where we are the orphan: another host took us for dead, and works on it.
        """
        self.started = time.time()
        alone(self._place(layout.CLAIM), self.options, self.options.limits.instance_seconds, self._claimed)

    def _claimed(self, turn: Turn) -> None:
        self.turn = turn
        if self.trajectory.exists() and self.metadata.exists():
            logger.info("taken over from a run that was still going on")
            return
        self._status(StatusLine(Status.IN_PROGRESS, int(self.started)))
        with status.heartbeat(self._place(layout.STATUS)):
            dataset = Dataset.of(self.options)
            instance = dataset.instance(layout.original_name(self.instance_id))
            self._act(instance, dataset.image_uri(instance.instance_id))

    def give_up(self, fault: Fault) -> None:
        """Write the fault record in the place of the outputs."""
        instance_id = layout.original_name(self.instance_id)
        ended = time.time()
        details: dict[str, Any] = {"ended": ended, "seconds": round(ended - self.started, 3)}
        spent = self.door.bought if self.door else []
        if self.door:
            details |= {"replay": self.door.account(), "stuck": self.door.stuck}
        record = output.fault_output(
            instance_id, fault, model=self.entry, started=self.started, details=details, completions=spent
        )
        files.write_json(self.metadata, record["metadata"])
        files.write_json(self.trajectory, record, indent=None)
        self._status(StatusLine(Status.FAILED, int(ended), int(ended - self.started), fault.exit_code))

    def put_back(self, fault: Fault) -> bool:
        """Whether an earlier trajectory for the same stands in for one that met a fault, after ``--forcerun``."""
        if not Kept.of(self.options, self.model, self.instance_id).put_back_trajectory(fault, self.made_for):
            return False
        if self.door and self.door.stuck:  # answers that lead to a fault again and again are not gone on with
            place = self._place(layout.JOURNAL)
            Journal(place).open(self.made_for, renew=journal.attempt(place)["id"])
        details = files.read_json(self.metadata)["details"]
        ended = status_of(ExitStatus(details["exit_status"]))
        self._status(StatusLine(ended, int(details["ended"]), int(details["seconds"])))
        return True

    def _act(self, instance: Instance, uri: str) -> None:
        if self.entry.agent == "predictions":
            done, diff = propose(Predictions.of(self.options, self.entry), instance)
            self._write(instance, done, diff, None, {})
            return
        self.made_for = {"row_digest": instance.digest, "model_digest": settings.model_digest(self.entry)}
        self.door = door = self._door(instance)
        if door:
            door.check(stopped=self._last_fault() == Reason.BUDGET_SPENT)
        agent = agents.make(self.entry, instance)
        mounts = agent.mounts(self.options) if isinstance(agent, agents.Mounting) else {}
        engine, started = start(
            self.options, uri, stage="generate", model=self.model, instance_id=self.instance_id, mounts=mounts
        )
        with started as container:
            workdir, warnings = workspace.find_repository(container, instance.repo_path)
            hidden = hide_history(container, workdir)
            tree = patch.start(container, workdir)
            task = Task(
                instance_id=instance.instance_id,
                problem_statement=instance.problem_statement,
                workdir=workdir,
                env=workspace.environment(container),
                events=self.trajectory.parent / f"{self.instance_id}.events.jsonl",
            )
            done = agent.solve(task, container, door, self._limits())
            diff = patch.extract(container, workdir, tree)
        where = {"engine": engine.version(), "image_id": started.image_id, "history": hidden, "warnings": warnings}
        if door:
            door.finish()
            where["replay"] = door.account()
        self._write(instance, done, diff, door, where)

    def _door(self, instance: Instance) -> llm.Gateway | None:
        if not agents.needs_model(self.entry.agent):
            return None
        options, place = self.options, self._place(layout.JOURNAL)
        renew = renewals.ordered(options.output_dir, options.session, self.model, self.instance_id)
        Journal(place).open(self.made_for, renew=renew)
        return llm.open_door(
            self.entry,
            instance.instance_id,
            place,
            run_limits=self._limits(),
            spending=llm.Spending.of(options),
            exit_codes=agents.exit_codes(self.entry.agent),
            before_request=self.turn.check if self.turn else None,
        )

    def _last_fault(self) -> str:
        where = layout.fault_file(
            "generate", session=self.options.session, model=self.model, instance_id=self.instance_id
        )
        return faults.last_reason(Path(self.options.output_dir) / where)

    def _limits(self) -> AgentLimits:
        entry, limits = self.entry, self.options.limits
        return AgentLimits(entry.steps, entry.cost_usd, limits.instance_seconds, limits.command_seconds, entry.tokens)

    def _write(
        self, instance: Instance, done: Trajectory, diff: str, door: llm.Gateway | None, where: dict[str, Any]
    ) -> None:
        ended = time.time()
        record = output.build(
            instance=instance,
            trajectory=done,
            patch=diff,
            completions=door.completions if door else [],
            model=self.entry,
            started=self.started,
            ended=ended,
            dataset=self.options.dataset,
            output_dir=str(self.trajectory.parent),
            details={
                "model_digest": settings.model_digest(self.entry),
                "config_digest": settings.config_digest(self.options),
                **done.details,
                **where,
            },
        )
        if self.turn:
            self.turn.check()
        if done.native is not None:
            files.write_json(self.trajectory.parent / f"{self.instance_id}.traj.json", done.native)
        if door:
            Journal(self._place(layout.JOURNAL)).conclude()
        files.write_json(self.metadata, record["metadata"])
        files.write_json(self.trajectory, record, indent=None)
        Kept.of(self.options, self.model, self.instance_id).discard()
        self._status(StatusLine(status_of(done.exit_status), int(ended), int(ended - self.started)))

    def _status(self, line: StatusLine) -> None:
        status.write(self._place(layout.STATUS), line)

    def _place(self, pattern: str) -> Path:
        names = {"session": self.options.session, "model": self.model, "instance_id": self.instance_id}
        return Path(self.options.output_dir) / pattern.format(**names)

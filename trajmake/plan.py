"""What a session consists of, as the rules ask for it.

The Snakefile makes one :class:`Plan`; rules look things up in it. Objects of Snakemake are handed in, none is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import MutableMapping
from functools import cached_property
from pathlib import Path
from typing import Any

from trajmake import agents, engines, notifications, predictions, signals
from trajmake import settings as configuration
from trajmake.datasets import Dataset, said
from trajmake.due import Needs, recorded, stands
from trajmake.errors import ConfigError, DatasetError, EngineUnavailableError
from trajmake.grading import code_digest
from trajmake.live import keeper
from trajmake.llm import readiness
from trajmake.llm.spending import Spending
from trajmake.predictions import Predictions
from trajmake.reports import session
from trajmake.request import Request
from trajmake.sessions import calibration, faults, kept, layout, locks, renewals
from trajmake.settings import Settings
from trajmake.settings.models import CALIBRATING

_MANY = 100  # runs


class Plan:
    """The instances, images and digests of one session.

    Instance and image names are the safe names of :mod:`trajmake.sessions.layout`.

    Args:
        settings: The configuration.
        workflow: Snakemake's workflow object; what was asked for is known to it once the graph is built.

    Raises:
        DatasetError: see :class:`trajmake.datasets.Dataset`; two images that would share one name.
    """

    def __init__(self, settings: Settings, workflow: Any = None) -> None:
        self.settings = settings
        self._workflow = workflow
        self.dataset = Dataset.of(settings)
        self._ids = {layout.safe_name(i): i for i in self.dataset.select(settings.instances)}
        self.invalid = self.dataset.invalid(settings.instances)
        if settings.strict and self.invalid:
            raise DatasetError(said(self.invalid, settings.dataset), "Mend the rows, or set `strict: false`.")
        self._image = {safe: name for safe, i in self._ids.items() if (name := self._image_name(i))}
        self._digests: dict[str, str] = {}
        _ = self._model_digests, self._predictions  # now, so that a missing file is said at once
        self._due: dict[tuple[str, str], bool] = {}
        self._recorded: dict[str, bool] = {}

    @property
    def candidates(self) -> list[str]:
        """Safe names of the selected instances, in the dataset's order, valid or not."""
        return list(self._ids)

    @cached_property
    def instances(self) -> list[str]:
        """Safe names of the instances to run; none before the calibration that ``only_valid`` needs."""
        try:
            return self._valid()
        except DatasetError:
            return []

    def check_calibration(self) -> None:
        """Raise :class:`DatasetError` where ``only_valid`` is set and no calibration says what is valid."""
        self._valid()

    def _valid(self) -> list[str]:
        if not self.settings.only_valid:
            return self.candidates
        table = Path(self.settings.output_dir) / layout.CALIBRATION.format(session=self.settings.session)
        return list(map(layout.safe_name, calibration.valid_ids(table, [*self._ids.values()], self.dataset.digest)))

    @property
    def images(self) -> list[str]:
        """Names of the images of the instances to run."""
        return [image for image in self.image_uris if self.instances_of(image)]

    @cached_property
    def image_uris(self) -> dict[str, str]:
        """Image name → URI."""
        uris: dict[str, str] = {}
        for safe, name in self._image.items():
            uri = layout.public_uri(self.dataset.image_uri(self._ids[safe]))
            if uris.setdefault(name, uri) != uri:
                raise DatasetError(
                    f"The images {uris[name]} and {uri} would both be called {name}.",
                    "Rename one; the last part of the address names the tarball.",
                )
        return uris

    def needs(self, model: str, instance_id: str) -> Needs:
        """What must be there before ``generate`` runs; nothing where it will not.

        An invalid row needs no image to be reported, and a run that is asked for by name no turn.
        """
        if not self.due(model, instance_id):
            return Needs()
        image = self._image.get(instance_id)
        return Needs(
            [model] if self._request.whole else [],
            self._lacking(layout.LOADED, [image] if image else []),
            self._lacking(layout.BUILT, agents.bundles(self.settings.catalog[model].agent)),
        )

    @cached_property
    def opening(self) -> float:
        """What a gate depends on: nothing, and where many runs are due the time, so that it is sure to open anew.

        Snakemake walks all that is downstream of each job that has a reason of its own, here all later turns, but
        for what is downstream of another: one gate spares it a walk per run (``docs/performance.md``).
        """
        due = sum(self.due(model, instance_id) for model in self.settings.models for instance_id in self.instances)
        return time.time() if due > _MANY else 0

    def due(self, model: str, instance_id: str) -> bool:
        """Whether ``generate`` is going to run: there is no trajectory, a fault stands in its place, it was made for
        another row or other settings, or it is asked for.

        Only then has it inputs. ``ancient()`` cannot do this: Snakemake 9 overlooks what is downstream of a job
        that runs, even by an ancient file, and has a reason of its own (``docs/decisions.md``).
        """
        key = (model, instance_id)
        if key not in self._due:
            self._due[key] = self._is_due(model, instance_id)
        return self._due[key]

    @cached_property
    def _request(self) -> Request:
        return Request.of(self._workflow) if self._workflow else Request()

    def _is_due(self, model: str, instance_id: str) -> bool:
        place = layout.INSTANCE.format(session=self.settings.session, model=model, instance_id=instance_id)
        folder = f"{self.settings.output_dir}/{place}"
        forced = self._request.forced
        if forced and forced & {"*", "generate", os.path.normpath(f"{folder}/output.jsonl")}:
            return True
        return not stands(folder, (self.row_digest(instance_id), self.model_digest(model, instance_id)))

    def _lacking(self, record: str, names: list[str]) -> list[str]:
        """Images or bundles that no session has brought here, or that met a fault."""
        places = {name: f"{self.settings.output_dir}/{record.format(name=name)}" for name in names}
        for place in set(places.values()) - self._recorded.keys():
            self._recorded[place] = recorded(place)
        return [name for name in names if not self._recorded[places[name]]]

    def instances_of(self, image: str) -> list[str]:
        """Instances that use an image."""
        return self._users.get(image, [])

    @cached_property
    def _users(self) -> dict[str, list[str]]:
        users: dict[str, list[str]] = {}
        for instance_id in self.instances:
            if image := self._image.get(instance_id):
                users.setdefault(image, []).append(instance_id)
        return users

    @property
    def nameless_rows(self) -> list[str]:
        """What is wrong with invalid rows that cannot be runs, having no id of their own; whatever their order."""
        return sorted(row.problem for row in self.invalid if not row.runnable)

    def _image_name(self, identity: str) -> str | None:
        try:
            name = layout.image_name(self.dataset.image_uri(identity))
        except ValueError:
            return None  # one of the reasons why the row is invalid
        return None if self.dataset.problem(identity) else name

    def models_before(self, model: str) -> list[str]:
        """The model whose summary opens this model's turn: none for the first, or where all run side by side."""
        position = self.settings.models.index(model)
        return [] if self.settings.mode == "parallel" else self.settings.models[max(0, position - 1) : position]

    def models_beside(self, model: str) -> list[str]:
        """The models whose turn is this model's: itself, or all where they run side by side."""
        return list(self.settings.models) if self.settings.mode == "parallel" else [model]

    def row_digest(self, instance_id: str) -> str:
        """What a trajectory depends on in the dataset."""
        if instance_id not in self._digests:
            self._digests[instance_id] = self.dataset.digest(self._ids[instance_id])
        return self._digests[instance_id]

    def model_digest(self, model: str, instance_id: str) -> str:
        """What a trajectory depends on in the configuration and, where patches come from a file, in that."""
        given = self._predictions.get(model)
        return given.digest(self._ids[instance_id]) if given else self._model_digests[model]

    @cached_property
    def _predictions(self) -> dict[str, Predictions]:
        return predictions.chosen(self.settings)

    @cached_property
    def _model_digests(self) -> dict[str, str]:
        catalog = self.settings.catalog
        return {name: configuration.model_digest(catalog[name]) for name in (*self.settings.models, *CALIBRATING)}

    @property
    def candidates_digest(self) -> str:
        """What a calibration depends on besides outcomes."""
        return hashlib.sha256(json.dumps([self.row_digest(safe) for safe in self._ids]).encode()).hexdigest()

    @cached_property
    def selection_digest(self) -> str:
        """What the summaries depend on besides outcomes."""
        ids = [self._ids[safe] for safe in self._valid()]
        odd = predictions.problems(self.settings, self.dataset.ids, ids)
        return session.digest(self.settings, ids, [*self.nameless_rows, *odd])

    @property
    def evaluation_digest(self) -> str:
        """What a test run depends on in the configuration."""
        return self.settings.evaluation.model_dump_json(exclude={"ignore_flaky"})

    @cached_property
    def grading_digest(self) -> str:
        """What a verdict depends on in this library and in the configuration."""
        return code_digest() + (" without flaky tests" if self.settings.evaluation.ignore_flaky else "")

    def faults(self, stage: str, wildcards: Any) -> int:
        """Faults recorded so far for this stage and subject; grows, so the next run repeats the stage."""
        return faults.count(Path(self.settings.output_dir) / layout.fault_file(stage, **dict(wildcards.items())))

    @property
    def parallel_limit(self) -> int:
        """Containers at a time (0: as many as ``-j`` gives)."""
        return 1 if self.settings.mode == "sequential" else self.settings.max_parallel_instances

    def start(self, engine: str) -> None:
        """Before the first job: say what will run, and be the session's one driver until this process ends.

        Args:
            engine: What :func:`trajmake.engines.settle` said.

        Raises:
            ClaimedError: another living process drives this session.
            ConfigError: see :func:`trajmake.llm.readiness.check`.
            EngineUnavailableError: no engine can run containers here.
        """
        signals.in_a_thread(signal.SIGTERM)
        chosen = self.settings
        if engine.startswith("none: "):
            raise EngineUnavailableError(engine.removeprefix("none: "), engines.ADVICE)
        lock = Path(chosen.output_dir) / layout.LOCK.format(session=chosen.session)
        try:
            locks.drive(lock, chosen.limits.silent_seconds)
        except OSError as error:
            raise ConfigError(
                f"{lock} cannot be written: {error.strerror}.", "Make `output_dir` writable, or set another."
            ) from error
        runs = [(model, instance_id) for model in chosen.catalog for instance_id in self.candidates]
        kept.keep(chosen.output_dir, chosen.session, self._request.forced, runs)
        renewals.order(chosen.output_dir, chosen.session, self._request.forced, runs)
        print(
            f"Session {chosen.session}: {len(chosen.models)} models on {len(self.instances)} instances, "
            f"{chosen.mode}.\nEngine {engine}",
            file=sys.stderr,
        )
        odd = predictions.problems(chosen, self.dataset.ids, [self._ids[safe] for safe in self.instances])
        for warning in [*readiness.check(chosen, Spending.of(chosen)), *odd, *notifications.problems(chosen)]:
            print(f"Warning: {warning}", file=sys.stderr)
        if self.invalid:
            print(said(self.invalid, chosen.dataset), file=sys.stderr)
        keeper.keep(chosen, self.instances)


def settings(config: MutableMapping[str, Any], workflow: Any) -> Settings:
    """The checked configuration; the profile's mode comes before the file's.

    The profiles say their mode as limits of resources (``models``: how many models at a time), because
    ``--config`` and ``--configfile`` on the command line would replace a profile's own.
    """
    given = workflow.global_resources
    limits = {name: given[name].value for name in ("models", "container") if name in given}
    if "models" in limits:
        in_turn = "sequential" if limits.get("container") == 1 else "hybrid"
        config["mode"] = in_turn if limits["models"] == 1 else "parallel"
    return configuration.load(config)

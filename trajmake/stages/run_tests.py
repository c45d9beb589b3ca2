"""Stage ``run_tests``: the patch is applied and the tests run, in a fresh container."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from trajmake import engines, evaluation, files, settings
from trajmake.datasets import Dataset, Instance
from trajmake.errors import exit_code_of
from trajmake.grading.facts import RunFacts
from trajmake.sessions import faults, layout
from trajmake.sessions.faults import Fault
from trajmake.sessions.kept import Kept
from trajmake.sessions.turns import Turn
from trajmake.settings import Settings
from trajmake.stages.alone import alone
from trajmake.stages.boundary import Stage
from trajmake.stages.container import start

logger = logging.getLogger(__name__)


def warm(config: Mapping[str, Any]) -> None:
    """Import what every job would."""
    engines.warm(settings.load(config))


def run_tests(
    config: Mapping[str, Any],
    *,
    model: str,
    instance_id: str,
    trajectory: str,
    test_output: str,
    test_run: str,
    patch: str,
    script: str,
    log: str,
) -> None:
    """Test the patch of ``trajectory``: whole log to ``test_output``, how it went to ``test_run``.

    Logs of repeats (``evaluation.repeats``) stand beside it: ``test_output.2.txt`` and so on.

    A model that proposed nothing has nothing to test, unless it is the ``empty``
    agent: that one asks whether the instance is unresolved as it stands.
    """
    options = settings.load(config)
    kept = Kept.of(options, model, instance_id)
    made_for = {"evaluation": options.evaluation.model_dump_json(exclude={"ignore_flaky"})}

    def work(turn: Turn) -> None:
        record = files.read_json(trajectory)
        faults.check(record)
        diff = record["test_result"]["git_patch"]
        dataset = Dataset.of(options)
        instance = dataset.instance(layout.original_name(instance_id))
        made_for["row_digest"] = instance.digest
        if _tested(Path(test_run), made_for) or (kept.stands and kept.put_back_tests(made_for)):
            return
        kept.clear_tests()
        files.write_text(patch, diff)
        files.write_text(script, evaluation.eval_script(instance))
        if not diff.strip() and options.catalog[model].agent != "empty":
            files.write_text(test_output, "")
            finish(RunFacts(patch_exists=False), turn)
            return
        test = partial(_test, options, model, instance, dataset.image_uri(instance.instance_id), diff)
        finish(_repeated(test, test_output, options.evaluation.repeats), turn)

    def finish(facts: RunFacts, turn: Turn) -> None:
        turn.check()
        if facts.fault and kept.put_back_tests(made_for, _fault(facts.fault)):
            return
        files.write_json(test_run, facts.to_dict() | {"made_for": made_for})
        kept.discard()

    def give_up(fault: Fault) -> None:
        for path in (test_output, patch, script):
            if not Path(path).exists():
                files.write_text(path, "")
        files.write_json(test_run, faults.as_record(fault))

    lock = Path(test_run).with_name(".claim")
    patience = options.limits.test_seconds * (options.evaluation.repeats + 3)
    Stage.of(options, "run_tests", log, model=model, instance_id=instance_id).run(
        lambda: alone(lock, options, patience, work), give_up, lambda fault: kept.put_back_tests(made_for, fault)
    )


def _tested(test_run: Path, made_for: Mapping[str, str]) -> bool:
    """Whether an orphan has tested the same meanwhile: Snakemake removes outputs before it starts a job."""
    tested = test_run.exists() and files.read_json(test_run).get("made_for") == made_for
    if tested:
        logger.info("taken over from a run that was still going on")
    return tested


def _repeated(test: Callable[[Path], RunFacts], log: str, repeats: int) -> RunFacts:
    first = test(Path(log))
    further = [
        test(layout.repeat_log(log, number))
        for number in range(2, repeats + 1)
        if first.exit_code is not None and first.fault is None
    ]
    return replace(first, repeats=tuple(further))


def _fault(found: Mapping[str, str]) -> Fault:
    reason = found["reason"]
    return Fault("run_tests", reason, found["message"], found["hint"], exit_code_of(reason), 1)


def _test(options: Settings, model: str, instance: Instance, uri: str, diff: str, log: Path) -> RunFacts:
    name = layout.safe_name(instance.instance_id)
    return evaluation.run_tests(
        instance,
        diff,
        lambda: start(options, uri, stage="run_tests", model=model, instance_id=name)[1],
        timeout=options.limits.test_seconds,
        log=log,
        engine=engines.configured(options).name,
        control=options.evaluation.control,
    )

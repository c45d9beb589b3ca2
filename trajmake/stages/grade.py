"""Stage ``grade``: the verdict, out of saved files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from trajmake import files, grading, settings
from trajmake.datasets import Dataset
from trajmake.errors import exit_code_of
from trajmake.grading import contamination, saved
from trajmake.grading.contamination import Flag
from trajmake.outcomes import ExitStatus
from trajmake.sessions import faults, layout, status
from trajmake.sessions import outcome as outcomes
from trajmake.sessions.faults import Fault
from trajmake.settings import Settings
from trajmake.stages.boundary import Stage


def grade(
    config: Mapping[str, Any],
    *,
    session: str,
    model: str,
    instance_id: str,
    trajectory: str,
    test_output: str,
    test_run: str,
    verdict: str,
    report: str,
    official: str,
    outcome: str,
    log: str,
) -> None:
    """Write the verdict in OpenHands' form, SWE-bench's report in its two places, the run's one state as ``outcome``.

    Keywords are the names that rule ``grade`` has for its files, which it runs in Snakemake's process.
    """
    options = settings.load(config)
    original = layout.original_name(instance_id)
    record = files.read_json(trajectory)
    run = files.read_json(test_run)

    def write(result: grading.Verdict, fault: Fault | None = None, flags: Sequence[Flag] = ()) -> None:
        state = outcomes.build(session, model, record, result, fault, flags)
        files.write_json(verdict, grading.eval_output(record, result), indent=None)
        for path in (report, official):
            files.write_json(path, grading.report(result))
        names = {"session": session, "model": model, "instance_id": instance_id}
        status.write(Path(options.output_dir) / layout.STATUS.format(**names), outcomes.status_line(state))
        files.write_json(outcome, state)

    def work() -> None:
        faults.check(record)
        faults.check(run)
        instance = Dataset.of(options).instance(original)
        patch = record["test_result"]["git_patch"]
        result = saved.of_session(instance, patch, Path(test_output), run, ignore_flaky=options.evaluation.ignore_flaky)
        details = (record.get("metadata") or {}).get("details") or {}
        if details.get("exit_status") == ExitStatus.NO_PREDICTION:
            result = replace(result, patch_is_none=True, message=details["message"])
        write(result, _blame(options, model, instance_id, result), contamination.flags(instance, record))

    stage = Stage.of(options, "grade", log, model=model, instance_id=instance_id)
    stage.run(work, lambda fault: write(grading.infra_failure(original, asdict(fault)), fault))


def _blame(options: Settings, model: str, instance_id: str, result: grading.Verdict) -> Fault | None:
    """Where the log shows that the machine failed the tests: the fault, counted so that they run again."""
    if result.state is not grading.State.INFRA_FAILURE:
        return None
    subject = {"session": options.session, "model": model, "instance_id": instance_id}
    path = Path(options.output_dir) / layout.fault_file("run_tests", **subject)
    reason = result.infra_failure_reason
    hint = "The log is test_output.txt; if every model meets this, the instance is broken: calibrate it with `gold`."
    fault = Fault("run_tests", reason, result.message, hint, exit_code_of(reason), faults.count(path) + 1)
    faults.record(path, fault)
    return fault

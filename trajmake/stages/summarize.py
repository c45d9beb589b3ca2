"""Stages ``summarize_model``, ``summarize`` and ``verify``: from outcomes to what people read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trajmake import agents, files, predictions, settings
from trajmake.datasets import Dataset
from trajmake.live import gpus
from trajmake.llm.spending import Spending
from trajmake.reports import summary as summaries
from trajmake.reports import swebench, tables, texts
from trajmake.reports.session import ModelRuns, SessionRuns
from trajmake.request import Request
from trajmake.sessions import kept, layout, locks, outcome, quality, survey
from trajmake.settings import ModelSettings, Settings
from trajmake.stages.boundary import log_to, logger


def summarize_model(
    config: Mapping[str, Any],
    *,
    model: str,
    outcomes: Sequence[str],
    trajectories: Sequence[str],
    summary: str,
    predictions_file: str,
    run_report: str,
    log: str,
) -> None:
    """Write one model's summary, predictions and run report."""
    options = settings.load(config)
    with log_to(log):
        runs = _runs(options, model, [outcome.read(Path(path)) for path in outcomes])
        files.write_json(
            predictions_file, swebench.predictions(model, (files.read_json(path) for path in trajectories))
        )
        files.write_json(run_report, swebench.run_report(runs.outcomes))
        files.write_text(summary, texts.model_summary(runs))
        logger.info("summarized %d instances of %s", len(runs.outcomes), model)


def summarize(
    config: Mapping[str, Any],
    *,
    outcomes: Sequence[str],
    table: str,
    report: str,
    summary: str,
    faults: str,
    log: str,
) -> None:
    """Write the session's table, final report and summary, and what the machine did wrong (nothing: an empty file)."""
    options = settings.load(config)
    with log_to(log):
        states = [outcome.read(Path(path)) for path in outcomes]
        _write(options, states, Path(table), Path(report), Path(summary))
        invalid = Dataset.of(options).invalid(options.instances)
        nameless = [str(row) for row in invalid if not row.runnable]
        files.write_text(faults, texts.session_faults(states, nameless))
        logger.info("summarized %d runs", len(states))


def leave_incomplete(options: Settings, instances: Sequence[str], workflow: Any) -> None:
    """After a failed run of Snakemake: where jobs left nothing, the table and a report marked incomplete.

    ``faults.txt`` goes, so that the next run makes the summary and looks for faults again. Nothing is done where
    every run has its outcome, where single files were asked for, or where this process does not drive the session.

    Args:
        options: The settings.
        instances: Safe names of the instances to run.
        workflow: Snakemake's workflow object.
    """
    root = Path(options.output_dir)
    results = root / layout.RESULTS.format(session=options.session)
    if not locks.drives(root / layout.LOCK.format(session=options.session)) or not Request.of(workflow).whole:
        return
    runs = [(model, instance_id) for model in options.models for instance_id in instances]
    states = survey.survey(root, options.session, runs)
    if not any(state.get("unfinished") for state in states) and (results / "faults.txt").exists():
        return
    with log_to(root / layout.LOGS.format(session=options.session) / "incomplete.log"):
        (results / "faults.txt").unlink(missing_ok=True)
        (results / "complete.json").unlink(missing_ok=True)
        _write(options, states, *(results / name for name in ("results.csv", "final_report.txt", "summary.json")))
        said = texts.unfinished(states, root / layout.LOGS.format(session=options.session))
        logger.error("%s", said)
        print(f"\n{said}Summary so far: {results}/final_report.txt", file=sys.stderr)


def _write(options: Settings, states: Sequence[Mapping[str, Any]], table: Path, report: Path, summary: Path) -> None:
    """What people and programs read; a report of runs that are not all done begins with what it lacks."""
    session = session_of(options, states)
    logs = Path(options.output_dir) / layout.LOGS.format(session=options.session)
    lacking = any("unfinished" in state for state in states)
    files.write_text(table, tables.results_csv(session.outcomes))
    files.write_text(report, (texts.unfinished(states, logs) if lacking else "") + texts.final_report(session))
    files.write_json(summary, summaries.summary(session))


def session_of(options: Settings, states: Sequence[Mapping[str, Any]]) -> SessionRuns:
    """Everything that is reported of a session, out of the outcomes of all its runs."""
    dataset = Dataset.of(options)
    money = Spending.of(options)
    mine = {name: [state for state in states if state["model"] == name] for name in options.models}
    return SessionRuns(
        id=options.session,
        dataset=options.dataset,
        models=[_runs(options, name, outcomes) for name, outcomes in mine.items()],
        invalid_rows=[str(row) for row in dataset.invalid(options.instances)],
        predictions=predictions.problems(options, dataset.ids, {state["instance_id"] for state in states}),
        spent=money.spent(),
        budget=money.limit,
        gpus=gpus.summary(Path(options.output_dir) / layout.GPUS.format(session=options.session)),
    )


def _runs(options: Settings, model: str, states: Sequence[Mapping[str, Any]]) -> ModelRuns:
    entry = options.catalog[model]
    return ModelRuns(model, entry.display_name or model, _configuration(entry), quality.marked(states, options.quality))


def verify(*, faults: str, complete: str, log: str) -> None:
    """Write ``complete``, or say the machine's faults and end the process with exit code 1."""
    with log_to(log):
        met = Path(faults).read_text(encoding="utf-8")
        if reruns := kept.rerun_faults(Path(faults).with_name(Path(layout.RERUN_FAULTS).name)):
            met += f"{len(reruns)} forced reruns met a fault of the machine; the earlier results stand:\n"
            met += "".join(f"{fault}\n" for fault in reruns)
        if met:
            logger.error("%s", met)
            print(f"\n{met}The same command repeats exactly these.", file=sys.stderr)
            sys.exit(1)
        files.write_json(complete, {"faults": 0})


def _configuration(entry: ModelSettings) -> str:
    who = entry.model or entry.provider if agents.needs_model(entry.agent) else ""
    return ", ".join(part for part in (entry.agent, who) if part)

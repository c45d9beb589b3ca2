"""Stages ``summarize_model``, ``summarize`` and ``verify``: from outcomes to what people read."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trajmake import agents, files, predictions, settings
from trajmake.datasets import Dataset
from trajmake.reports import swebench, tables, texts
from trajmake.settings import ModelSettings
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
        states = [files.read_json(path) for path in outcomes]
        entry = options.catalog[model]
        files.write_json(
            predictions_file, swebench.predictions(model, (files.read_json(path) for path in trajectories))
        )
        files.write_json(run_report, swebench.run_report(states))
        files.write_text(summary, texts.model_summary(entry.display_name or model, _configuration(entry), states))
        logger.info("summarized %d instances of %s", len(states), model)


def summarize(
    config: Mapping[str, Any], *, outcomes: Sequence[str], table: str, report: str, faults: str, log: str
) -> None:
    """Write the session's table and final report, and what the machine did wrong (nothing: an empty file)."""
    options = settings.load(config)
    with log_to(log):
        states = [files.read_json(path) for path in outcomes]
        blocks = []
        for name in options.models:
            entry = options.catalog[name]
            chosen = [state for state in states if state["model"] == name]
            blocks.append((entry.display_name or name, _configuration(entry), chosen))
        files.write_text(table, tables.results_csv(states))
        dataset = Dataset.of(options)
        invalid = dataset.invalid(options.instances)
        ids = {state["instance_id"] for state in states}
        said = predictions.problems(options, dataset.ids, ids)
        files.write_text(
            report, texts.final_report(options.session, options.dataset, blocks, [*map(str, invalid)], said)
        )
        nameless = [str(row) for row in invalid if not row.runnable]
        files.write_text(faults, texts.session_faults(states, nameless))
        logger.info("summarized %d runs", len(states))


def verify(*, faults: str, complete: str, log: str) -> None:
    """Write ``complete``, or say the machine's faults and end the process with exit code 1."""
    with log_to(log):
        met = Path(faults).read_text(encoding="utf-8")
        if met:
            logger.error("%s", met)
            print(f"\n{met}The same command repeats exactly these.", file=sys.stderr)
            sys.exit(1)
        files.write_json(complete, {"faults": 0})


def _configuration(entry: ModelSettings) -> str:
    who = entry.model or entry.provider if agents.needs_model(entry.agent) else ""
    return ", ".join(part for part in (entry.agent, who) if part)

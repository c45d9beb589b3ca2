"""Stages ``calibration`` and ``calibrate``: what ``gold`` and ``empty`` say of each instance."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trajmake import files, settings
from trajmake.datasets import Dataset
from trajmake.sessions import calibration
from trajmake.stages.boundary import log_to, logger


def calibrate(
    config: Mapping[str, Any],
    *,
    gold: Sequence[str],
    empty: Sequence[str],
    gold_reports: Sequence[str],
    empty_reports: Sequence[str],
    table: str,
    log: str,
) -> None:
    """Write ``calibration.csv`` from outcomes and reports of the two agents, in the same order of instances."""
    dataset = Dataset.of(settings.load(config))
    with log_to(log):
        rows = []
        for paths in zip(gold, empty, gold_reports, empty_reports, strict=True):
            fixed, unfixed, *reports = map(files.read_json, paths)
            rows.append(calibration.judge(fixed, unfixed, reports, dataset.digest(fixed["instance_id"])))
        files.write_text(table, calibration.to_csv(rows))
        said = calibration.summary(rows)
        logger.info("%s", said)
        print(f"\n{said}\n{table}", file=sys.stderr)


def verify_calibration(*, table: str, log: str) -> None:
    """End the process with exit code 1 where the machine left an instance unknown."""
    with log_to(log), Path(table).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
        unknown = [f"  {row['Instance_ID']}: {row['Message']}" for row in rows if row["State"] == "unknown"]
        if unknown:
            message = f"{len(unknown)} of {len(rows)} instances met a fault of the machine:\n" + "\n".join(unknown)
            logger.error("%s", message)
            print(f"\n{message}\nThe same command repeats exactly these.", file=sys.stderr)
            sys.exit(1)
        logger.info("%d instances are calibrated", len(rows))

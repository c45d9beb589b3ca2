"""``trajmake list-sessions``: every session of an output folder in a line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from trajmake.cli import screen

if TYPE_CHECKING:
    from trajmake.reports.overview import Overview


def list_sessions(configfile: screen.Config = screen.DEFAULT, as_json: screen.Json = False) -> None:
    """Show the sessions, the last used first: what ran, what became of it, what it cost.

    Done, failed, timeout, running, missing and left are numbers of runs, a run being one model on one instance.
    Failed is the machine's doing; missing are predictions that a file does not have; left are runs whose process
    died or that have not begun, as far as the disk tells: the same snakemake command makes them.
    """
    from trajmake.reports import overview

    outputs = screen.outputs(configfile)
    found = overview.overviews(outputs)
    if as_json:
        typer.echo(json.dumps([one.as_json for one in found], indent=2))
        return
    _show(outputs.folder, found)


def _show(folder: Path, found: list[Overview]) -> None:
    columns = "session created instances models done failed timeout running missing left resolved USD GB".split()
    title = f"{folder}: {len(found)} session{'s' * (len(found) != 1)}"
    table = screen.table(*columns, title=title, right=(2, *range(4, len(columns))))
    for one in found:
        counts = [one.statuses[name] for name in ("SUCCESS", "FAILED", "TIMEOUT", "IN_PROGRESS", "MISSING")]
        left = one.statuses["STALE"] + one.statuses["PENDING"]
        table.add_row(
            screen.text(one.id),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(one.created)),
            str(one.instances),
            screen.text(", ".join(one.models)),
            *map(str, [*counts, left]),
            f"{one.resolved} of {one.judged}",
            f"{one.cost_usd:.2f}" + (f" + {one.unpriced} unknown" if one.unpriced else ""),
            f"{one.bytes / 1e9:.3f}",
        )
    screen.show(table)

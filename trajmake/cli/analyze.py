"""``trajmake analyze``: a session in figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from trajmake.cli import screen


def analyze(
    session: Annotated[str, typer.Option("--session-id", "--session", help="The session; the last driven.")] = "latest",
    export_csv: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Write the figures to this file as CSV."),
    ] = None,
    export_json: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write to this file what --json prints."),
    ] = None,
    show_failed: Annotated[
        bool, typer.Option("--show-failed", help="List the runs that failed, timed out or are not done, and why.")
    ] = False,
    configfile: screen.Config = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Show a session's figures for each model: how its runs ended, what it resolved, time, steps, tokens, cost.

    The success rate says how many agents came to their end, the resolved rate how many of the patches that could
    be tested fix their bug. What the machine broke is in no resolved rate.
    """
    from trajmake import files
    from trajmake.reports import analysis

    outputs = screen.outputs(configfile)
    name = outputs.session(session)
    rows, states = analysis.analyze(outputs, name)
    failed = analysis.failures(states) if show_failed else []
    record = {"session": name, "models": rows} | ({"failed_runs": failed} if show_failed else {})
    if export_csv:
        files.write_text(export_csv, analysis.table(rows))
    if export_json:
        files.write_json(export_json, record)
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    _show(name, rows)
    if show_failed:
        _show_failed(failed)


def _show(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A column for each model: there are more figures than models."""
    from trajmake.reports.analysis import COLUMNS

    names = [row["model"] for row in rows]
    table = screen.table("", *names, title=f"Session {name}", right=range(1, len(names) + 1))
    for label, key in list(COLUMNS.items())[1:]:
        table.add_row(label, *(screen.text(_cell(key, row[key])) for row in rows))
    screen.show(table)


def _show_failed(failed: Sequence[Mapping[str, Any]]) -> None:
    if not failed:
        screen.show(screen.text("Every run is done, none failed or timed out."))
        return
    table = screen.table("model", "instance", "status", "why", title=f"{len(failed)} runs")
    for row in failed:
        cells = (row["model"], row["instance_id"], row["status"], " ".join(row["why"].split()))
        table.add_row(*(screen.text(cell) for cell in cells))
    screen.show(table)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key.endswith("_rate"):
        return f"{value:.2f}%"
    if key.endswith("_usd"):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int | float) else str(value)

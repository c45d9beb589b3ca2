"""``trajmake export``: trajectories as other tools take them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from trajmake.cli import screen
from trajmake.export import Format


def export(
    kind: Annotated[Format, typer.Option("--format", help="What to write.")],
    output: Annotated[Path, typer.Option(help="The file; with {model} in its name, one for each model.")],
    session: Annotated[
        str, typer.Option("--session", "--session-id", help="The session; not needed where there is only one.")
    ] = "",
    models: Annotated[str, typer.Option(help="Models, with commas; all but gold and empty when not given.")] = "",
    resolved_only: Annotated[bool, typer.Option("--resolved-only", help="Only runs that resolved.")] = False,
    output_dir: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Another folder than the configuration's."),
    ] = None,
    configfile: screen.Config = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Write a session's runs: SWE-bench predictions (.json, .jsonl), chat messages to train on (.jsonl, .parquet), or
    OpenHands' output.jsonl (.jsonl)."""
    from trajmake import export as exporting

    names = [name.strip() for name in models.split(",") if name.strip()]
    folder = output_dir or screen.outputs(configfile).folder
    done = exporting.export(folder, session, names, kind, output, resolved_only=resolved_only)
    if as_json:
        rows = {str(path): count for path, count in done.rows.items()}
        typer.echo(json.dumps({"rows": rows, "left_out": dict(done.left_out)}, indent=2))
        return
    for path, count in done.rows.items():
        typer.echo(f"{path}: {count} rows")
    for reason, count in sorted(done.left_out.items()):
        typer.echo(f"left out: {count} {reason}", err=True)

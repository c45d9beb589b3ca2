"""``trajmake export``: trajectories as other tools take them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trajmake.export import Format


def export(
    kind: Annotated[Format, typer.Option("--format", help="What to write.")],
    output: Annotated[Path, typer.Option(help="The file; with {model} in its name, one for each model.")],
    session: Annotated[str, typer.Option(help="The session; not needed where there is only one.")] = "",
    models: Annotated[str, typer.Option(help="Models, with commas; all but gold and empty when not given.")] = "",
    resolved_only: Annotated[bool, typer.Option("--resolved-only", help="Only runs that resolved.")] = False,
    output_dir: Annotated[Path, typer.Option(help="`output_dir` of the configuration.")] = Path("outputs"),
) -> None:
    """Write a session's runs: SWE-bench predictions (.json, .jsonl), chat messages to train on (.jsonl, .parquet), or
    OpenHands' output.jsonl (.jsonl)."""
    from trajmake import export as exporting

    names = [name.strip() for name in models.split(",") if name.strip()]
    done = exporting.export(output_dir, session, names, kind, output, resolved_only=resolved_only)
    for path, count in done.rows.items():
        typer.echo(f"{path}: {count} rows")
    for reason, count in sorted(done.left_out.items()):
        typer.echo(f"left out: {count} {reason}", err=True)

"""``trajmake dataset check | import`` and ``trajmake create-subset``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from trajmake.cli import screen
from trajmake.errors import DatasetError

if TYPE_CHECKING:
    from trajmake.datasets.check import Report

app = typer.Typer(help="Datasets: see what is in them, bring them into one shape.", no_args_is_help=True)

_MOST = 12  # values of one kind that the summary names
_Files = Annotated[list[Path], typer.Argument(help="Files of any shape, or folders of one-row files.")]
_Output = Annotated[Path, typer.Option(help="JSONL file to write; it appears only when it is complete.")]
_Strict = Annotated[bool, typer.Option("--strict", help="An invalid row is an error.")]


@app.command("check")
def check(
    dataset: _Files,
    strict: _Strict = False,
    as_json: screen.Json = False,
) -> None:
    """Show what was found, and every problem with its row and field.

    The exit code is 0 when there are rows to run, 3 when there are none, or (--strict) when one is invalid.
    """
    from trajmake.datasets import check as checking

    report = checking.check(dataset)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        _show(dataset, report)
    if not report.rows or (report.invalid and (strict or report.invalid == report.rows)):
        raise typer.Exit(DatasetError.exit_code)


@app.command("import")
def import_(dataset: _Files, output: _Output, strict: _Strict = False, as_json: screen.Json = False) -> None:
    """Write datasets of any shape as canonical JSONL, one row per line.

    Invalid rows are written too, to be mended there, and listed; what is no row at all is left out.
    """
    from trajmake.datasets import writing

    count, invalid = writing.import_rows(dataset, output, strict=strict)
    if as_json:
        typer.echo(json.dumps({"output": str(output), "rows": count, "invalid": len(invalid)}))
        return
    for row in invalid:
        what = "; ".join(str(problem) for problem in row.problems if problem.invalid)
        typer.echo(f"invalid: {row.where}{f' ({row.instance_id})' if row.instance_id else ''}: {what}", err=True)
    typer.echo(f"{output}: {count} rows" + (f", {len(invalid)} of what was read is invalid" if invalid else ""))


def create_subset(
    output: _Output,
    dataset: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="File of any shape, or folder of one-row files; without it, the configuration's."),
    ] = None,
    instance_ids: Annotated[str, typer.Option(help="Ids, separated by commas.")] = "",
    instances_file: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="File with one id per line."),
    ] = None,
    repo: Annotated[str, typer.Option(help="owner/name")] = "",
    language: Annotated[str, typer.Option(help="For example python.")] = "",
    configfile: Annotated[
        Path, typer.Option(help="The session's configuration: it names the dataset.")
    ] = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Write the rows that all selections given have in common, in the dataset's order."""
    from trajmake import settings
    from trajmake.datasets import writing

    dataset = dataset or Path(settings.from_file(configfile).dataset)
    lists = [[name.strip() for name in instance_ids.split(",") if name.strip()]] if instance_ids else []
    if instances_file is not None:
        lists.append(writing.read_ids(instances_file))
    count = writing.create_subset(dataset, output, instance_ids=lists, repo=repo, language=language)
    typer.echo(json.dumps({"output": str(output), "rows": count}) if as_json else f"{output}: {count} rows")


def _show(paths: list[Path], report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160)
    summary = Table("what", "found", title=Text(", ".join(map(str, paths))), title_justify="left")
    summary.add_row("rows", f"{report.rows} ({report.rows - report.invalid} valid, {report.invalid} invalid)")
    summary.add_row("shape", Text(_counted(report.shapes)))
    summary.add_row("language", Text(_counted(report.languages)))
    summary.add_row("repository", Text(_counted(report.repos)))
    summary.add_row("parser", Text(_counted(report.parsers)))
    console.print(summary)
    if not report.problems:
        console.print("No problems." if report.rows else "No rows.")
        return
    table = Table(
        "row",
        "instance",
        "field",
        "problem",
        title=f"{len(report.problems)} problem{'s' * (len(report.problems) != 1)}",
        title_justify="left",
    )
    table.columns[3].overflow = "fold"
    for where, identity, problem in report.problems:
        place = where.removeprefix(f"{paths[0]} ") if len(paths) == 1 else where
        style = "red" if problem.invalid else "yellow"
        what = f"{'invalid' if problem.invalid else 'warning'}: {problem.message}"
        cells = [Text(_printable(part)) for part in (place, identity, problem.field)]
        table.add_row(*cells, Text(_printable(what), style))
    console.print(table)


def _counted(counts: Counter[str]) -> str:
    named = [f"{_printable(value) or '(none)'} {number}" for value, number in counts.most_common(_MOST)]
    return ", ".join(named) + (f" and {len(counts) - _MOST} more" if len(counts) > _MOST else "")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)

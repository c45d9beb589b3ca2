"""``trajmake grade``: verdicts on logs that are already there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from trajmake.errors import DatasetError

if TYPE_CHECKING:
    from trajmake.datasets import Dataset
    from trajmake.grading.saved import SavedLogs
    from trajmake.grading.verdict import Verdict

_NAMED = 5  # of a kind, in messages


def grade(
    dataset: Annotated[Path, typer.Option(help="File of any shape, or folder of one-row files.")],
    logs: Annotated[Path, typer.Option(help="Folder with ID/test_output.txt or ID*.log, or a session's model folder.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="JSONL file to write; standard output when not given."),
    ] = None,
) -> None:
    """Grade saved logs again, without containers: one JSON verdict per line, in the dataset's order.

    Logs of SWE-bench's own harness (1.x to 5.x) are understood. The exit code is 3 when a log
    cannot be graded because of its row.
    """
    from trajmake import files
    from trajmake.datasets import Dataset
    from trajmake.grading import saved

    rows = Dataset(dataset)
    found = saved.find(logs, rows.ids)
    if not found.by_id:
        raise DatasetError(
            f"{logs} holds no log of an instance of {dataset}.", _strange(found) or "See docs/formats.md."
        )
    counts: Counter[str] = Counter()
    failed: list[str] = []
    lines = (json.dumps(saved.line(verdict), ensure_ascii=False) for verdict in _verdicts(rows, found, counts, failed))
    if output is None:
        for line in lines:
            typer.echo(line)
    else:
        with files.atomic(output) as stream:
            stream.writelines(f"{line}\n".encode("utf-8", errors="backslashreplace") for line in lines)
    _say(rows, found, counts, failed)
    if failed:
        raise typer.Exit(DatasetError.exit_code)


def _verdicts(rows: Dataset, found: SavedLogs, counts: Counter[str], failed: list[str]) -> Iterator[Verdict]:
    from trajmake.errors import TrajmakeError
    from trajmake.grading import saved

    for identity in rows.ids:
        if identity in found.by_id:
            try:
                verdict = saved.grade_log(rows.instance(identity), found.by_id[identity])
            except TrajmakeError as error:
                failed.append(str(error))
                continue
            counts[verdict.state.value] += 1
            yield verdict


def _say(rows: Dataset, found: SavedLogs, counts: Counter[str], failed: list[str]) -> None:
    said = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    typer.echo(f"{sum(counts.values())} logs graded: {said or 'none'}", err=True)
    if missing := len(rows.ids) - len(found.by_id):
        typer.echo(f"{missing} rows have no log", err=True)
    if strange := _strange(found):
        typer.echo(strange, err=True)
    for problem in failed[:_NAMED]:
        typer.echo(f"not graded: {problem}", err=True)
    if len(failed) > _NAMED:
        typer.echo(f"and {len(failed) - _NAMED} more not graded", err=True)


def _strange(found: SavedLogs) -> str:
    if not found.strange:
        return ""
    more = f" and {len(found.strange) - _NAMED} more" if len(found.strange) > _NAMED else ""
    return f"logs of no row of the dataset: {', '.join(map(str, found.strange[:_NAMED]))}{more}"

"""Rows → canonical JSONL: whole datasets, and parts of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.datasets import fields, rows
from trajmake.datasets.check import Checked, rows_of
from trajmake.datasets.index import as_line
from trajmake.errors import ConfigError, DatasetError

_NAMED = 5  # ids or problems named in a message


def import_rows(paths: Collection[Path], output: Path, *, strict: bool = False) -> tuple[int, list[Checked]]:
    """Write the rows of some datasets as canonical JSONL.

    A row that cannot be run is written all the same, so that it can be mended
    there; what is no row at all is left out.

    Args:
        paths: Datasets of any shape.
        output: JSONL file; it appears only when it is complete.
        strict: Write nothing when a row is invalid.

    Returns:
        How many rows were written, and the invalid ones.

    Raises:
        DatasetError: a dataset cannot be read, holds no rows, or (strict) holds an invalid one.
    """
    invalid: list[Checked] = []
    return _write(rows_of(paths), output, lambda checked: True, invalid, strict), invalid


def create_subset(
    path: Path, output: Path, *, instance_ids: Sequence[Collection[str]] = (), repo: str = "", language: str = ""
) -> int:
    """Write the rows that every selection given names, in the dataset's order; a row's digest stays the same.

    Args:
        path: Dataset of any shape.
        output: JSONL file; it appears only when it is complete.
        instance_ids: Lists of ids; a row must be in each.
        repo: ``owner/name``, case aside.
        language: Case aside.

    Returns:
        How many rows were written.

    Raises:
        ConfigError: no selection is given.
        DatasetError: an id that the dataset does not hold, by name; or nothing fits all selections.
    """
    if not instance_ids and not repo and not language:
        raise ConfigError("Nothing is selected.", "Give --instance-ids, --instances-file, --repo or --language.")
    chosen = [frozenset(ids) for ids in instance_ids]
    unknown = set().union(*chosen)

    def wanted(checked: Checked) -> bool:
        unknown.discard(checked.instance_id)
        row = checked.row or {}
        return (
            all(checked.instance_id in ids for ids in chosen)
            and (not repo or fields.text(row.get("repo")).lower() == repo.lower())
            and (not language or (rows.language_of(row) or "python") == language.lower())
        )

    def complete() -> None:
        if unknown:
            more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            raise DatasetError(f"The dataset {path} does not hold {', '.join(sorted(unknown)[:_NAMED])}{more}.")

    return _write(rows_of([path]), output, wanted, [], False, complete)


def read_ids(path: Path) -> list[str]:
    """Ids from a file, one per line; empty lines and lines that begin with ``#`` are passed over.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"The list of ids {path} cannot be read: {error}.") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _write(
    checked_rows: Iterable[Checked],
    output: Path,
    wanted: Callable[[Checked], bool],
    invalid: list[Checked],
    strict: bool,
    complete: Callable[[], None] = lambda: None,
) -> int:
    count = 0
    with files.atomic(output) as stream:
        for checked in checked_rows:
            if not wanted(checked):
                continue
            if checked.invalid:
                invalid.append(Checked(checked.file, checked.place, _identity(checked), checked.problems))
            if checked.row is not None:
                stream.write(as_line(_written(checked, output)) + b"\n")
                count += 1
        complete()
        if invalid and strict:
            first = "; ".join(f"{row.where}: {'; '.join(map(str, row.problems))}" for row in invalid[:_NAMED])
            raise DatasetError(f"{len(invalid)} rows are invalid: {first}.", "Mend them, or leave --strict out.")
        if not count:
            raise DatasetError("No row is left to be written.", "`trajmake dataset check FILE` shows what there is.")
    return count


def _written(checked: Checked, output: Path) -> dict[str, Any]:
    folder = checked.file if checked.file.is_dir() else checked.file.parent
    return rows.canonical(rows.moved(checked.row or {}, folder, output.parent))


def _identity(checked: Checked) -> dict[str, Any]:
    """Of an invalid row its id alone: the list of them must not hold a dataset in memory."""
    return {"instance_id": checked.instance_id}

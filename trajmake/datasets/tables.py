"""Rows of CSV, XLSX and Parquet files, read piece by piece."""

from __future__ import annotations

import csv
import datetime
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trajmake.datasets.exports import IDS
from trajmake.errors import DatasetError

Row = tuple[str, "dict[str, Any] | str"]
"""Where a row stands, and its cells by column, or why it is none."""

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_BATCH = 64  # rows of Parquet in memory at a time


def read_csv(path: Path) -> Iterator[Row]:
    """Rows of a CSV file in UTF-8, a byte order mark or not; cells keep their line ends.

    Raises:
        DatasetError: not UTF-8, or a header without an id's column.
    """
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from _csv_rows(path, csv.reader(stream, strict=True))
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} is neither JSON, XLSX nor Parquet, and as CSV it is not in UTF-8: {error}.",
            "Save it as CSV in UTF-8, or make the file anew where it should be of another kind.",
        ) from error
    finally:
        csv.field_size_limit(limit)


def _csv_rows(path: Path, reader: Any) -> Iterator[Row]:
    header = _header(path, [name.strip() for name in next(reader, [])])
    number = 0
    while True:
        number += 1
        place = f"row {number} (line {reader.line_num + 1})"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield place, f"is not CSV: {error}"
            continue
        if cells is None:
            return
        if len(cells) > len(header):
            yield place, f"has {len(cells)} cells, but the header has {len(header)}"
        elif cells:
            yield place, dict(zip(header, cells, strict=False))
        else:
            number -= 1  # an empty line


def read_xlsx(path: Path) -> Iterator[Row]:
    """Rows of every sheet whose first row names an id's column.

    Raises:
        DatasetError: not a workbook, or no such sheet.
    """
    import zipfile

    import openpyxl

    with path.open("rb") as stream:  # of a path, openpyxl would judge the extension
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{path} is not an XLSX workbook: {error}.") from error
        found = False
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # some exporters write wrong ones, and rows would be missed
            rows = sheet.iter_rows(values_only=True)
            header = [str(_cell(cell) or "") for cell in next(rows, ())]
            if set(IDS) & set(header):
                found = True
                yield from _sheet_rows(f"sheet {sheet.title}", header, rows)
        if not found:
            raise _no_ids(path, "no sheet's first row names")


def _sheet_rows(sheet: str, header: list[str], rows: Iterator[tuple[Any, ...]]) -> Iterator[Row]:
    for number, cells in enumerate(rows, 2):
        if any(cell is not None for cell in cells):
            yield f"{sheet} row {number}", dict(zip(header, map(_cell, cells), strict=False))


def _cell(value: Any) -> Any:
    """A cell as JSON holds it; ``_x000D_`` is how XLSX writes what XML cannot hold or would change."""
    if isinstance(value, str) and "_x" in value:
        return _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), value)
    return _plain(value)


def read_parquet(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file.

    Raises:
        DatasetError: not readable as Parquet, or without an id's column.
    """
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            _header(path, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", {name: _plain(value) for name, value in row.items()}
    except (OSError, pyarrow.ArrowException) as error:
        raise DatasetError(
            f"{path} cannot be read as Parquet after {number} rows: {str(error).rstrip('.')}."
        ) from error


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value


def _header(path: Path, names: list[str]) -> list[str]:
    if not set(IDS) & set(names):
        raise _no_ids(path, "its header does not name")
    return names


def _no_ids(path: Path, what: str) -> DatasetError:
    return DatasetError(f"{path} is no dataset: {what} a column {' or '.join(IDS)}.")

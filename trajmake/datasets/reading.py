"""Files in any shape → rows as they stand. The content decides on the shape, not the extension."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trajmake.datasets import json_stream, tables
from trajmake.errors import DatasetError

SUFFIXES = (".json", ".jsonl", ".csv", ".xlsx", ".parquet")
"""Which files of a folder are taken for parts of a dataset."""

_READERS = {"CSV": tables.read_csv, "XLSX": tables.read_xlsx, "Parquet": tables.read_parquet}
_HEAD = 4096
_ONE_ROW = 64 << 20  # bytes; a larger object is read as a stream


@dataclass(frozen=True)
class Found:
    """One row, or what stands where a row should.

    Attributes:
        place: Where, for people: ``line 3``, ``a.json``, ``sheet Rows row 2``.
        row: The row as it stands, None when there is none.
        problem: Why there is none.
        file: The file that holds it.
        span: Offset and length of the bytes that are the row's JSON, if any are.
    """

    place: str
    row: dict[str, Any] | None
    problem: str
    file: Path
    span: tuple[int, int] | None = None


def files_of(path: Path) -> list[Path]:
    """The files of a dataset, in order.

    Raises:
        DatasetError: nothing is there, or nothing of a known kind in the folder.
    """
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not found:
            raise DatasetError(f"The folder {path} holds no rows: no file {', '.join('*' + s for s in SUFFIXES)}.")
        return found
    if not path.exists():
        raise DatasetError(
            f"There is no dataset {path}.", "`trajmake demo prepare` builds the demo's; otherwise set `dataset`."
        )
    return [path]


def shapes_of(path: Path) -> Iterator[str]:
    """:func:`shape_of` each file of a dataset; of a folder, those that have one.

    Raises:
        DatasetError: see :func:`read`.
    """
    for file in files_of(path):
        with contextlib.suppress(DatasetError) if path.is_dir() else contextlib.nullcontext():
            yield shape_of(file)


def shape_of(path: Path) -> str:
    """``JSON object``, ``JSON array``, ``JSONL``, ``CSV``, ``XLSX`` or ``Parquet``, by the file's content.

    Raises:
        DatasetError: none of them, or unreadable.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
            if head.startswith(b"PAR1"):
                return "Parquet"
            if head.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
                return "XLSX"
            text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
            if text.startswith(b"["):
                return "JSON array"
            if text.startswith(b"{"):
                return "JSON object" if _is_spread(stream) else "JSONL"
    except OSError as error:
        raise DatasetError(f"The dataset {path} cannot be read: {error.strerror}.") from error
    if not text:
        raise DatasetError(f"The dataset {path} holds no rows: the file is empty.")
    if b"\0" in head or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DatasetError(f"{path} is no dataset: neither JSON, CSV, XLSX nor Parquet.", "Text has to be in UTF-8.")
    return "CSV"


def read(path: Path) -> Iterator[Found]:
    """The rows of a dataset, file by file. Of a folder, a file that cannot be read stands where its rows should.

    Raises:
        DatasetError: missing, unreadable, or of no known shape.
    """
    if not path.is_dir():
        yield from read_file(path)
        return
    for file in files_of(path):
        try:
            yield from read_file(file, f"{file.name} ")
        except DatasetError as error:  # one bad file costs no other
            yield Found(file.name, None, error.message, file)


def read_file(file: Path, prefix: str = "") -> Iterator[Found]:
    """The rows of one file; ``prefix`` stands before each place.

    Raises:
        DatasetError: unreadable, or of no known shape.
    """
    shape = shape_of(file)
    if shape == "JSONL":
        yield from _lines(file, prefix)
    elif shape == "JSON object":
        yield from _object(file, prefix)
    elif shape in _READERS:
        for place, row in _READERS[shape](file):
            if isinstance(row, dict):
                yield Found(prefix + place, row, "", file)
            else:
                yield Found(prefix + place, None, row, file)
    else:
        yield from _values(file, prefix)


def _lines(file: Path, prefix: str) -> Iterator[Found]:
    offset = 0
    with file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            start = 3 if number == 1 and line.startswith(b"\xef\xbb\xbf") else 0
            if line[start:].strip():
                place = f"{prefix}line {number}"
                try:
                    value = json.loads(line[start:])
                except (ValueError, RecursionError) as error:
                    yield Found(place, None, f"is not JSON: {error}", file)
                else:
                    yield _found(place, value, file, (offset + start, len(line) - start))
            offset += len(line)


def _values(file: Path, prefix: str) -> Iterator[Found]:
    number = 1
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for number, value in enumerate(json_stream.values(stream), 2):
                yield _found(f"{prefix}item {number - 1}", value, file)
    except ValueError as error:  # UnicodeDecodeError is one too
        yield Found(f"{prefix}item {number}", None, f"is not JSON, nor can anything after it be read: {error}", file)


def _object(file: Path, prefix: str) -> Iterator[Found]:
    """One object over several lines; where more follows it, value by value."""
    size = file.stat().st_size
    if size < _ONE_ROW:
        try:
            value = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            pass  # said by the reader below, with what can be read before
        else:
            yield _found(f"{prefix}item 1", value, file, (0, size))
            return
    yield from _values(file, prefix)


def _found(place: str, value: Any, file: Path, span: tuple[int, int] | None = None) -> Found:
    if isinstance(value, dict):
        return Found(place, value, "", file, span)
    return Found(place, None, f"is not a row (an object) but {type(value).__name__}", file)


def _is_spread(stream: IO[bytes]) -> bool:
    """Whether a JSON object goes over more than one line.

    Its first line is no JSON by itself, and the next begins no object: that
    would be JSONL with a broken first line.
    """
    stream.seek(0)
    lines = (line.removeprefix(b"\xef\xbb\xbf").strip() for line in stream)
    filled = filter(None, lines)
    try:
        json.loads(next(filled))
    except (ValueError, RecursionError):
        return not next(filled, b"").startswith(b"{")
    return False

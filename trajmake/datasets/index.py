"""A dataset's index: where each row is and what the plan needs of it, read once.

One SQLite file per dataset (:mod:`trajmake.indexes`). It holds of each row
the place, the id, the digest, the image's URI, what makes it invalid, and the
bytes' offset in the dataset; of a shape without offsets (CSV, XLSX, Parquet, a
JSON array) the row itself. It is made anew when the dataset's files change
(name, size, times of change, inode), and when the code that reads them does.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trajmake import indexes
from trajmake.datasets import exports, fields, problems, reading, rows
from trajmake.errors import DatasetError
from trajmake.grading.parsers import known
from trajmake.sessions import layout

_LARGE = 256 << 20  # bytes of a dataset whose indexing takes seconds and is announced
_FROM_SWEBENCH = ("test_command", "test_output_parser", "image_storage_uri")
_TABLES = (
    "CREATE TABLE rows (number INTEGER PRIMARY KEY, place TEXT, instance_id TEXT, file TEXT, offset INTEGER, "
    "length INTEGER, digest TEXT, image_uri TEXT, added TEXT, problem TEXT, runnable INTEGER)",
    "CREATE TABLE contents (number INTEGER PRIMARY KEY, row BLOB)",
)
_BY_ID = "CREATE INDEX by_id ON rows (instance_id, number)"
_COLUMNS = "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def open_index(path: Path, folder: Path) -> sqlite3.Connection:
    """The index of the dataset at ``path``, from ``folder``; made there when it is missing or out of date.

    Raises:
        DatasetError: the dataset is missing, unreadable, or changes while it is read.
        DiskFullError: no room for the index.
        ClaimedError: another process has been indexing it for too long.
    """
    return indexes.open_index(path, folder, lambda: _key(path), lambda index: _fill(index, path))


def _key(path: Path) -> str:
    """What an index depends on: the files, the code that reads them, the tables it takes commands from."""
    files = [indexes.state_of(file) for file in reading.files_of(path)]
    code = hashlib.sha256()
    for module in [*sorted(Path(__file__).parent.glob("*.py")), Path(layout.__file__), Path(indexes.__file__)]:
        code.update(module.read_bytes())
    parts = [str(path.resolve()), files, code.hexdigest(), known(), exports.swebench_version()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _fill(index: sqlite3.Connection, path: Path) -> None:
    size = sum(file.stat().st_size for file in reading.files_of(path))
    if size > _LARGE:
        print(f"Indexing {path} ({size / 1e9:.1f} GB), once.", file=sys.stderr)
    for table in _TABLES:
        index.execute(table)
    for number, found in enumerate(reading.read(path), 1):
        index.execute(_COLUMNS, (number, found.place, *_facts(found)))
        if found.row is not None and found.span is None:
            index.execute("INSERT INTO contents VALUES (?, ?)", (number, as_line(found.row)))
    index.execute(_BY_ID)
    for identity, numbers, places in list(_duplicates(index)):
        said = f"stands {len(places)} times: {', '.join(places[:-1])} and {places[-1]}"
        index.execute("UPDATE rows SET problem = ? WHERE instance_id = ?", (f"instance_id: {said}", identity))
        index.execute("UPDATE rows SET runnable = 0 WHERE instance_id = ? AND number > ?", (identity, numbers[0]))


def _facts(found: reading.Found) -> tuple[Any, ...]:
    """The columns of a row from ``instance_id`` on."""
    offset, length = found.span or (-1, 0)
    if found.row is None:
        return ("", found.file.name, offset, length, "", "", "", _sayable(found.problem), 0)
    row, added, problem = prepared(found.row)
    identity = fields.text(row.get("instance_id"))
    runnable = _has_name(identity)
    what = "; ".join(map(str, problem))
    return (
        _sayable(identity), found.file.name, offset, length, rows.digest(row | added),
        _sayable(fields.text((row | added).get("image_storage_uri"))), json.dumps(added), _sayable(what), runnable,
    )  # fmt: skip


def prepared(raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[problems.Problem]]:
    """A row under canonical names, what SWE-bench's tables add to it, and why it cannot be run."""
    row = exports.with_canonical_names(raw)
    added: dict[str, Any] = {}
    reasons: list[problems.Problem] = []
    if exports.is_plain(row):
        try:
            added = exports.from_swebench(row)
        except DatasetError as error:
            reasons = [problems.Problem("test_command", f"{error.message}. {error.hint}".rstrip("."))]
    mine = problems.errors(row | added)
    if reasons:
        mine = [problem for problem in mine if problem.field not in _FROM_SWEBENCH]
    return row, added, reasons + mine


def as_line(row: Mapping[str, Any]) -> bytes:
    """A row as one line of JSON, without the line's end."""
    try:
        return json.dumps(row, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 cannot hold, is escaped
        return json.dumps(row, default=str).encode()


def _duplicates(index: sqlite3.Connection) -> Iterator[tuple[str, list[int], list[str]]]:
    twice = "SELECT instance_id FROM rows WHERE instance_id != '' GROUP BY instance_id HAVING count(*) > 1"
    for (identity,) in index.execute(twice):
        where = "SELECT number, place FROM rows WHERE instance_id = ? ORDER BY number"
        numbers, places = zip(*index.execute(where, (identity,)), strict=True)
        yield identity, list(numbers), list(places)


def _has_name(identity: str) -> bool:
    try:
        return bool(layout.safe_name(identity))
    except ValueError:
        return False


def _sayable(text: str) -> str:
    return text.encode("utf-8", errors="backslashreplace").decode()

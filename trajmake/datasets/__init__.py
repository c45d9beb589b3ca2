"""Datasets: files of rows → instances."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajmake.datasets import exports, index, rows
from trajmake.datasets.instance import Instance
from trajmake.errors import DatasetError
from trajmake.sessions import layout

if TYPE_CHECKING:
    from trajmake.settings import Settings

__all__ = ["Dataset", "Instance", "InvalidRow", "said"]

_AT_ONCE = 500  # ids in one question to the index


@dataclass(frozen=True)
class InvalidRow:
    """A row that cannot be run.

    Attributes:
        place: Where it stands, e.g. ``line 3``.
        instance_id: "" when it has none.
        problem: Every reason, with its field.
        runnable: Whether it has a usable id of its own, so that it is listed as a run that failed.
    """

    place: str
    instance_id: str
    problem: str
    runnable: bool

    def __str__(self) -> str:
        return f"{self.place}{f' ({self.instance_id})' if self.instance_id else ''}: {self.problem}"


def said(invalid: Sequence[InvalidRow], dataset: str, examples: int = 5) -> str:
    """What the start of a session says of rows that cannot be run."""
    lines = [f"{len(invalid)} invalid rows in {dataset}; no model works on them:", *map(str, invalid[:examples])]
    more = len(invalid) - examples
    return "\n  ".join(lines + ([f"and {more} more; `trajmake dataset check` lists them all"] if more > 0 else []))


class Dataset:
    """The rows of one file or folder, by instance id, in the file's order, through an index.

    Rows that cannot be run cost no good one: those with a usable id are listed in
    :attr:`ids` and raise in :meth:`instance`, all of them are in :meth:`invalid`.

    Args:
        path: A file of any shape (:mod:`trajmake.datasets.reading`), or a folder of such files.
        index_dir: Where the index is kept (:mod:`trajmake.datasets.index`);
            without it, one is made for this object alone.

    Raises:
        DatasetError: missing, unreadable, or without a row that has an id.
    """

    def __init__(self, path: Path | str, index_dir: Path | str | None = None) -> None:
        self.path = Path(path)
        if index_dir is None:
            with tempfile.TemporaryDirectory(prefix="trajmake-") as scratch:
                self._index = index.open_index(self.path, Path(scratch))
        else:
            self._index = index.open_index(self.path, Path(index_dir))
        if not self._one("SELECT 1 FROM rows WHERE runnable LIMIT 1"):
            reasons = [f"{invalid}" for invalid in self.invalid()[:3]]
            raise DatasetError(
                f"The dataset {self.path} holds no rows" + (f" with an id: {'; '.join(reasons)}." if reasons else ".")
            )

    @classmethod
    def of(cls, options: Settings) -> Dataset:
        """The dataset of a session; its index lies under ``output_dir``.

        Raises:
            DatasetError: see the class.
        """
        return cls(options.dataset, Path(options.output_dir) / layout.INDEX)

    @cached_property
    def ids(self) -> list[str]:
        """Instance ids in the file's order."""
        return [identity for (identity,) in self._all("SELECT instance_id FROM rows WHERE runnable ORDER BY number")]

    def select(self, ids: Sequence[str]) -> list[str]:
        """``ids`` in the file's order, all when empty.

        Raises:
            DatasetError: an id that the dataset does not hold, by name.
        """
        if not ids:
            return self.ids
        numbers = dict(self._of("instance_id, number", "runnable", ids))
        unknown = sorted(set(ids) - set(numbers))
        if unknown:
            first = [identity for (identity,) in self._all("SELECT instance_id FROM rows WHERE runnable LIMIT 3")]
            raise DatasetError(
                f"The dataset {self.path} does not hold {', '.join(unknown[:5])}"
                + (f" and {len(unknown) - 5} more." if len(unknown) > 5 else "."),
                f"Its first ids: {', '.join(first)}.",
            )
        return sorted(numbers, key=numbers.__getitem__)

    def invalid(self, ids: Sequence[str] = ()) -> list[InvalidRow]:
        """The rows that cannot be run, in the file's order: of ``ids``, else of the whole dataset."""
        columns = "number, place, instance_id, problem, runnable"
        condition = "problem != ''"
        found = self._of(columns, condition, ids) if ids else self._all(f"SELECT {columns} FROM rows WHERE {condition}")
        return [InvalidRow(place, name, why, bool(named)) for _, place, name, why, named in sorted(found)]

    def digest(self, instance_id: str) -> str:
        """What ``generate`` depends on: changes when this row changes, not when another does."""
        return str(self._row("digest", instance_id)[0])

    def image_uri(self, instance_id: str) -> str:
        """Where the instance's image comes from; a relative path is taken from the dataset's folder."""
        uri = str(self._row("image_uri", instance_id)[0])
        return str(rows.beside(uri, self._folder) or uri)

    def address(self, uri: str) -> str:
        """The URI of which ``uri`` is the public part, with its signature (see ``layout.public_uri``)."""
        if uri.startswith(("http://", "https://")):
            for (whole,) in self._all("SELECT DISTINCT image_uri FROM rows WHERE runnable AND image_uri LIKE 'http%'"):
                if layout.public_uri(whole) == uri:
                    return str(whole)
        return uri

    def problem(self, instance_id: str) -> str:
        """Why the row cannot be run, "" when it can."""
        return str(self._row("problem", instance_id)[0])

    def instance(self, instance_id: str) -> Instance:
        """The checked instance.

        Raises:
            DatasetError: no such row, or a row that cannot be used.
        """
        self.select([instance_id])
        place, problem, added = self._row("place, problem, added", instance_id)
        if problem:
            raise DatasetError(
                f"Row {instance_id} of {self.path} ({place}) cannot be used: {problem}.",
                "Mend the row in the dataset, or leave it out with `instances`.",
            )
        return rows.to_instance(self.row(instance_id) | json.loads(added))

    def row(self, instance_id: str) -> dict[str, Any]:
        """The row under canonical names, its values as they stand.

        Raises:
            DatasetError: the dataset was changed or removed meanwhile.
        """
        number, file, offset, length = self._row("number, file, offset, length", instance_id)
        try:
            if offset < 0:
                data = self._one("SELECT row FROM contents WHERE number = ?", number)[0]
            else:
                with (self._folder / file).open("rb") as stream:
                    stream.seek(offset)
                    data = stream.read(length)
            row = exports.with_canonical_names(json.loads(data))
        except (OSError, ValueError) as error:
            raise DatasetError(f"The row {instance_id} of {self.path} cannot be read again: {error}.") from error
        if row.get("instance_id") != instance_id:
            raise DatasetError(f"The dataset {self.path} changed while it was in use.", "Run again.")
        return row

    @property
    def _folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    def _row(self, columns: str, instance_id: str) -> Any:
        found = self._one(f"SELECT {columns} FROM rows WHERE instance_id = ? AND runnable", instance_id)
        if found is None:
            raise DatasetError(f"The dataset {self.path} does not hold {instance_id}.")
        return found

    def _of(self, columns: str, condition: str, ids: Sequence[str]) -> Iterator[Any]:
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            yield from self._all(f"SELECT {columns} FROM rows WHERE instance_id IN ({marks}) AND {condition}", *some)

    def _all(self, question: str, *values: Any) -> Iterator[Any]:
        return self._index.execute(question, values)

    def _one(self, question: str, *values: Any) -> Any:
        return self._index.execute(question, values).fetchone()

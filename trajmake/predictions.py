"""Patches that somebody else has made: a file of SWE-bench predictions, by instance id.

Read once into an index beside the datasets' (:mod:`trajmake.indexes`), so that a job takes its own patch
alone. What SWE-bench's harness passes over in silence is said: see :meth:`Predictions.problems`.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trajmake import indexes
from trajmake.errors import ConfigError
from trajmake.sessions import layout
from trajmake.settings import ModelSettings, Settings, model_digest

_NAMED = 5  # of a kind, in messages
_HINT = (
    "SWE-bench's form: a JSON list, a JSON object by instance id, or JSON lines, of "
    "{instance_id, model_name_or_path, model_patch}."
)


@dataclass(frozen=True)
class Prediction:
    """One entry of the file.

    Attributes:
        patch: ``model_patch``, byte for byte; "" where it is null.
        model: ``model_name_or_path``.
        place: Where it stands, e.g. ``line 3``.
    """

    patch: str
    model: str
    place: str


class Predictions:
    """The predictions of one file. Of several for one instance the last counts, as in SWE-bench's harness.

    Args:
        path: The file.
        index_dir: Where its index is kept.
        settings_digest: Of the model's settings.

    Raises:
        ConfigError: the file is missing, unreadable, or holds no prediction.
    """

    def __init__(self, path: Path | str, index_dir: Path | str, settings_digest: str = "") -> None:
        self.path = Path(path)
        self._settings_digest = settings_digest
        if not self.path.is_file():
            raise ConfigError(f"There is no file of predictions {path}.", "Look at `predictions` in the catalog.")
        self._index = indexes.open_index(self.path, Path(index_dir), self._key, self._fill)
        if not self._index.execute("SELECT 1 FROM predictions LIMIT 1").fetchone():
            first = f": {self._unreadable[0]}" if self._unreadable else ""
            raise ConfigError(f"{self.path} holds no prediction{first}.", _HINT)

    @classmethod
    def of(cls, options: Settings, entry: ModelSettings) -> Predictions:
        """Those of a model of the catalog whose agent is ``predictions``.

        Raises:
            ConfigError: see the class.
        """
        return cls(entry.predictions, Path(options.output_dir) / layout.INDEX, model_digest(entry))

    def get(self, instance_id: str) -> Prediction | None:
        """What the file has for an instance; None where it has nothing."""
        question = "SELECT patch, model, place FROM predictions WHERE instance_id = ?"
        found = self._index.execute(question, (instance_id,)).fetchone()
        return Prediction(found[0].decode(), found[1], found[2]) if found else None

    def digest(self, instance_id: str) -> str:
        """What a trajectory depends on: the model's settings and this instance's prediction, but no other's."""
        parts = [self._settings_digest, self._digests.get(instance_id, "")]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def problems(self, ids: Collection[str], selected: Collection[str]) -> list[str]:
        """What a reader of the results has to know of the file: one sentence for each kind, in an order of its own.

        Args:
            ids: Every instance of the dataset.
            selected: Those that are run.
        """
        known = self._digests
        found = [
            ("{} predictions for instances that the dataset does not hold", set(known) - set(ids)),
            ("{} instances stand several times, and the last counts", self._ids("times > 1")),
            ("{} instances without a prediction (MISSING)", set(selected) - set(known)),
            ("{} empty patches", self._ids("empty") & set(selected)),
            ("{} entries that cannot be read", set(self._unreadable)),
        ]
        names = [name for (name,) in self._index.execute("SELECT DISTINCT model FROM predictions ORDER BY model")]
        found += [("predictions of {} models", set(names))] if len(names) > 1 else []
        return [f"{said.format(len(which))}: {_some(sorted(which))}" for said, which in found if which]

    @cached_property
    def _digests(self) -> dict[str, str]:
        return dict(self._index.execute("SELECT instance_id, digest FROM predictions"))

    @cached_property
    def _unreadable(self) -> list[str]:
        return [why for (why,) in self._index.execute("SELECT why FROM unreadable")]

    def _ids(self, condition: str) -> set[str]:
        return {i for (i,) in self._index.execute(f"SELECT instance_id FROM predictions WHERE {condition}")}

    def _key(self) -> str:
        code = b"".join(Path(file).read_bytes() for file in (__file__, indexes.__file__))
        parts = [str(self.path.resolve()), indexes.state_of(self.path), hashlib.sha256(code).hexdigest()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _fill(self, index: sqlite3.Connection) -> None:
        for table in _TABLES:
            index.execute(table)
        for place, identity, entry in _entries(self.path):
            try:
                index.execute(_ADD, _columns(place, identity, entry))
            except ValueError as error:
                index.execute("INSERT INTO unreadable VALUES (?)", (f"{place} ({error})",))


def chosen(options: Settings) -> dict[str, Predictions]:
    """The predictions of those models to run that have any, by the models' names.

    Raises:
        ConfigError: see :class:`Predictions`.
    """
    given = {name: entry for name, entry in options.chosen.items() if entry.agent == "predictions"}
    return {name: Predictions.of(options, entry) for name, entry in given.items()}


def problems(options: Settings, ids: Collection[str], selected: Collection[str]) -> list[str]:
    """:meth:`Predictions.problems` of the models to run, one sentence each.

    Raises:
        ConfigError: see :class:`Predictions`.
    """
    found = chosen(options).items()
    return [f"{name}, {given.path}: {said}" for name, given in found for said in given.problems(ids, selected)]


# The patch comes last: what stands behind a large value is slow to read.
# The patch comes last: what stands behind a large value is slow to read.
_TABLES = (
    "CREATE TABLE predictions (instance_id TEXT PRIMARY KEY, model TEXT, place TEXT, digest TEXT, empty INTEGER, "
    "times INTEGER, patch BLOB)",
    "CREATE TABLE unreadable (why TEXT)",
)
_ADD = (
    "INSERT INTO predictions VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT (instance_id) DO UPDATE SET "
    "model = excluded.model, place = excluded.place, digest = excluded.digest, empty = excluded.empty, "
    "times = times + 1, patch = excluded.patch"
)


def _columns(place: str, identity: str, entry: Any) -> tuple[Any, ...]:
    """Columns of an entry.

    Raises:
        ValueError: what is wrong with it.
    """
    if isinstance(entry, ValueError):
        raise entry
    if not isinstance(entry, dict):
        raise ValueError(f"is no object but {type(entry).__name__}")
    instance_id = entry.get("instance_id", identity)
    patch, model = entry.get("model_patch", 0), str(entry.get("model_name_or_path") or "")
    if isinstance(instance_id, int):
        instance_id = str(instance_id)
    if not isinstance(instance_id, str) or not instance_id:
        raise ValueError("has no instance_id")
    if patch is not None and not isinstance(patch, str):
        raise ValueError(f"{instance_id} has no text as model_patch")
    try:
        data = (patch or "").encode()
        digest = hashlib.sha256(json.dumps([model, patch or ""]).encode()).hexdigest()
        instance_id.encode(), model.encode()
        return instance_id, model, place, digest, not data.strip(), data
    except UnicodeEncodeError as error:
        raise ValueError("holds half a surrogate pair, which no UTF-8 can hold") from error


def _entries(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Place, id by position (of an object by id) and entry; of a line that is no JSON, what is wrong.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The predictions {path} cannot be read: {error}.", _HINT) from error
    try:
        yield from _values(json.loads(text, object_pairs_hook=_Pairs))
        return
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("["):
            raise ConfigError(f"The predictions {path} are no JSON list: {error}.", _HINT) from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", "", json.loads(line)
            except (ValueError, RecursionError) as error:
                yield f"line {number}", "", ValueError(f"is not JSON: {error}")


class _Pairs(list[tuple[str, Any]]):
    """An object as it stands, keys that come twice included."""


def _values(value: Any) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(value, _Pairs):
        for number, item in enumerate(value if isinstance(value, list) else [value], 1):
            yield f"item {number}", "", dict(item) if isinstance(item, _Pairs) else item
    elif "model_patch" in dict(value) or "instance_id" in dict(value):
        yield "item 1", "", dict(value)
    else:
        for number, (key, item) in enumerate(value, 1):
            yield f"item {number}", key, dict(item) if isinstance(item, _Pairs) else item


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"

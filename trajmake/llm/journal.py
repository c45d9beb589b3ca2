"""What a run has bought: one file per completion, whole and synced before the agent sees it.

A journal outlives its process, so that the next run of the same command can go on
with it (:mod:`trajmake.llm.replay`). ``.attempt`` beside the completions says what
they were bought for; one that was bought for something else is set aside as
``ID.1``, ``ID.2``, ...: kept, never used again.
"""

from __future__ import annotations

import glob
import logging
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.llm.base import Completion, Usage

logger = logging.getLogger(__name__)
_ATTEMPT = ".attempt"
_REQUEST = ("request_digest", "model_asked", "attempt", "agent_seconds", "messages", "tools")


class Journal:
    """The completions of one run.

    Args:
        folder: Where ``0001.json``, ``0002.json``, ... lie; made with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def open(self, made_for: Mapping[str, str], *, renew: str = "") -> None:
        """Go on with the attempt found here, or begin a new one.

        Args:
            made_for: What its answers depend on. An attempt made for something else,
                or of an unknown origin, is set aside.
            renew: Id of an attempt that is not to be gone on with: a new trajectory was asked for.
        """
        found = attempt(self.folder)
        if found.get("made_for") == dict(made_for) and found["id"] != renew:
            return
        if any(self._numbers()):
            self._rename(self._aside())
        new = {"id": uuid.uuid4().hex, "made_for": dict(made_for)}
        replaces = {"replaces": found.get("replaces") or renew} if renew and found.get("id") == renew else {}
        files.write_json(self.folder / _ATTEMPT, new | replaces)

    def conclude(self) -> None:
        """The attempt has a trajectory: it is no longer about to replace another's."""
        found = attempt(self.folder)
        if found.pop("replaces", ""):
            files.write_json(self.folder / _ATTEMPT, found)

    def of_trajectory(self) -> Path:
        """The folder of the attempt that made the trajectory: another one where a rerun of it met a fault."""
        made = attempt(self.folder).get("replaces")
        return next((folder for folder in self._asides() if made and attempt(folder).get("id") == made), self.folder)

    def load(self) -> list[dict[str, Any]]:
        """The entries, in order. From the first that is missing or damaged they are set aside."""
        entries: list[dict[str, Any]] = []
        for number in range(1, max(self._numbers(), default=0) + 1):
            entry = _read(self._file(number))
            if entry is None:
                logger.warning("%s is missing or damaged: it and what follows is set aside", self._file(number))
                self.set_aside(number)
                break
            entries.append(entry)
        return entries

    def append(self, number: int, entry: Mapping[str, Any]) -> None:
        """Write entry ``number`` (the first is 1); it is on disk when this returns.

        Raises:
            DiskFullError: no space left.
        """
        files.write_json(self._file(number), entry)

    def set_aside(self, first: int) -> None:
        """Move the entries from ``first`` on to a folder of their own, which counts as this attempt's.

        The last goes first: whenever this is interrupted, what stays is a journal without gaps.
        """
        aside = self._aside()
        files.write_json(aside / _ATTEMPT, attempt(self.folder))
        for number in sorted(self._numbers(), reverse=True):
            if number >= first:
                self._file(number).rename(aside / self._file(number).name)
        files.sync_folder(aside)
        files.sync_folder(self.folder)

    def cost_aside(self) -> float:
        """US dollars, as far as known, of this attempt's entries that were set aside."""
        mine = attempt(self.folder).get("id")
        asides = [folder for folder in self._asides() if mine and attempt(folder).get("id") == mine]
        entries = [_read(path) or {} for folder in asides for path in folder.glob("[0-9]*.json")]
        return sum(entry.get("cost") or 0.0 for entry in entries)

    def _numbers(self) -> Iterator[int]:
        return (int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdigit())

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:04d}.json"

    def _asides(self) -> Iterator[Path]:
        pattern = f"{glob.escape(self.folder.name)}.[0-9]*"
        return (path for path in self.folder.parent.glob(pattern) if path.suffix[1:].isdigit())

    def _aside(self) -> Path:
        taken = [int(path.suffix[1:]) for path in self._asides()]
        return self.folder.with_name(f"{self.folder.name}.{max(taken, default=0) + 1}")

    def _rename(self, target: Path) -> None:
        self.folder.rename(target)
        files.sync_folder(target.parent)


def attempt(folder: Path) -> dict[str, Any]:
    """``id`` and ``made_for`` of the attempt whose completions lie in a folder; empty where there is none."""
    found = files.read_object(folder / _ATTEMPT)
    return found if found.get("id") else {}


def completion(entry: Mapping[str, Any]) -> Completion:
    """The answer that an entry holds.

    Raises:
        KeyError, TypeError: it holds none.
    """
    facts = {key: value for key, value in entry.items() if key not in _REQUEST}
    return Completion(**facts | {"usage": Usage(**entry["usage"])})


def _read(path: Path) -> dict[str, Any] | None:
    entry = files.read_object(path)
    try:
        completion(entry)
        return entry if isinstance(entry["messages"], list) and isinstance(entry["tools"], list) else None
    except (KeyError, TypeError):
        return None

"""What a session's trajectories are for elsewhere: predictions, chat messages to train on, OpenHands' output.

Everything is read from the files of single runs, in the order of models and ids, so the same runs give the
same bytes. A run that the machine prevented, or that never was, is in no export.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from trajmake import files
from trajmake.errors import ConfigError
from trajmake.llm.journal import Journal
from trajmake.llm.redaction import clean, environment_secrets
from trajmake.sessions import layout
from trajmake.settings.models import CALIBRATING
from trajmake.trajectories import conversations

_AT_ONCE = 64  # rows of a Parquet file that are in memory


class Format(StrEnum):
    """What to write."""

    SWEBENCH = "swebench"
    MESSAGES = "messages"
    OPENHANDS = "openhands"


_SUFFIXES = {
    Format.SWEBENCH: (".json", ".jsonl"),
    Format.MESSAGES: (".jsonl", ".parquet"),
    Format.OPENHANDS: (".jsonl",),
}


@dataclass(frozen=True)
class Run:
    """One finished run on disk.

    Attributes:
        model: Its name in the catalog.
        record: The line of ``output.jsonl``.
        resolved: The verdict; None while there is none.
        folder: Where its files lie.
    """

    model: str
    record: dict[str, Any]
    resolved: bool | None
    folder: Path


@dataclass
class Exported:
    """What was written: rows by file, and how many runs were left out by reason."""

    rows: dict[Path, int] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


def export(
    output_dir: Path, session: str, models: Sequence[str], kind: Format, target: Path, *, resolved_only: bool = False
) -> Exported:
    """Write the runs of a session to ``target``, or to a file per model where its name holds ``{model}``.

    Args:
        output_dir: The folder ``output_dir`` of the configuration.
        session: Its name; "" where there is only one.
        models: Names of models, in the order wanted; empty: all but those that calibrate.
        kind: What to write.
        target: The file; its suffix chooses between JSON, JSON lines and Parquet.
        resolved_only: Leave out what is not resolved, or not graded yet.

    Raises:
        ConfigError: no such session or model, a suffix that the format does not have, several models for a
            file of one, or nothing to write.
        DiskFullError: no room.
    """
    suffixes = _SUFFIXES[kind]
    if target.suffix not in suffixes:
        raise ConfigError(f"{target} is no name for the format {kind}.", f"It ends in {' or '.join(suffixes)}.")
    place = _session(output_dir, session)
    chosen = _models(place, models)
    apart = "{model}" in target.name
    if kind is not Format.MESSAGES and len(chosen) > 1 and not apart:
        raise ConfigError(
            f"A file of the format {kind} is of one model, and session {place.name} has {', '.join(chosen)}.",
            "Choose one with --models, or write {model} into the name of --output.",
        )
    done = Exported()
    for group in [[model] for model in chosen] if apart else [chosen]:
        path = target.with_name(target.name.replace("{model}", group[0])) if apart else target
        rows = (row for model in group for row in _rows(place / model, kind, resolved_only, done.left_out))
        if count := _write(path, rows):
            done.rows[path] = count
    if not done.rows:
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(done.left_out.items())) or "no runs"
        raise ConfigError(f"Session {place.name} has nothing to export: {why}.", "Nothing was written.")
    return done


def _session(output_dir: Path, session: str) -> Path:
    known = sorted(path.name for path in (output_dir / "trajectories").glob("*") if path.is_dir())
    if session in known or (not session and len(known) == 1):
        return output_dir / "trajectories" / (session or known[0])
    what = f"There is no session {session} in {output_dir}." if session else f"{output_dir} has several sessions."
    if not known:
        raise ConfigError(f"There is no session in {output_dir}.", "Name the folder with --output-dir.")
    raise ConfigError(what, f"Choose one with --session: {', '.join(known)}.")


def _models(place: Path, models: Sequence[str]) -> list[str]:
    known = sorted(path.name for path in place.iterdir() if path.is_dir())
    if unknown := [model for model in models if model not in known]:
        raise ConfigError(f"Session {place.name} has no model {', '.join(unknown)}.", f"It has: {', '.join(known)}.")
    return list(dict.fromkeys(models)) or [model for model in known if model not in CALIBRATING]


def _rows(place: Path, kind: Format, resolved_only: bool, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    make = _ROWS[kind]
    hidden = environment_secrets()
    for folder in sorted(place.glob("instance_*")):
        run = _run(folder)
        if isinstance(run, str):
            left_out[run] += 1
        elif resolved_only and not run.resolved:
            left_out["not resolved"] += 1
        else:
            rows = make(run)
            if not rows:
                left_out["without a complete journal of the model's answers"] += 1
            yield from clean(rows, hidden)


def _run(folder: Path) -> Run | str:
    """A run, or why it is none."""
    try:
        record = files.read_json(folder / "output.jsonl")
    except FileNotFoundError:
        return "not finished"
    except ValueError:
        return "not readable"
    details = (record.get("metadata") or {}).get("details") or {}
    if record.get("fault") or record.get("error"):
        return "prevented by a fault of the machine"
    if details.get("exit_status") == "no_prediction":
        return "without a prediction"
    outcome = folder / "eval_outputs" / layout.safe_name(record["instance_id"]) / "outcome.json"
    resolved = files.read_json(outcome)["resolved"] if outcome.exists() else None
    return Run(folder.parent.name, record, resolved, folder)


def _prediction(run: Run) -> list[dict[str, Any]]:
    patch = run.record["test_result"]["git_patch"]
    return [{"instance_id": run.record["instance_id"], "model_name_or_path": run.model, "model_patch": patch}]


def _openhands(run: Run) -> list[dict[str, Any]]:
    return [run.record]


def _messages(run: Run) -> list[dict[str, Any]]:
    record, identity = run.record, run.record["instance_id"]
    details = record["metadata"]["details"]
    journal = Journal(run.folder / "llm_completions" / layout.safe_name(identity)).of_trajectory()
    found = conversations.read(journal, details.get("steps"))
    facts = {
        "instance_id": identity,
        "model": run.model,
        "resolved": run.resolved,
        "exit_status": details.get("exit_status"),
        "patch": record["test_result"]["git_patch"],
    }
    return [facts | {"part": part, **talk} for part, talk in enumerate(found, 1)]


_ROWS: Mapping[Format, Callable[[Run], list[dict[str, Any]]]] = {
    Format.SWEBENCH: _prediction,
    Format.MESSAGES: _messages,
    Format.OPENHANDS: _openhands,
}


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Write the rows, and give their number; without any, no file is made and an old one stays."""
    first = next(rows, None)
    if first is None:
        return 0
    counted = _Counted(first, rows)
    with files.atomic(path) as stream:
        if path.suffix == ".parquet":
            conversations.write_parquet(stream, counted, _AT_ONCE)
        elif path.suffix == ".json":
            _write_list(stream, counted)
        else:
            stream.writelines(_line(row) + b"\n" for row in counted)
    return counted.number


class _Counted:
    def __init__(self, first: dict[str, Any], rows: Iterator[dict[str, Any]]) -> None:
        self.number = 0
        self._first, self._rows = first, rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.number = 1
        yield self._first
        for row in self._rows:
            self.number += 1
            yield row


def _write_list(stream: IO[bytes], rows: _Counted) -> None:
    for row in rows:
        stream.write((b"[\n  " if rows.number == 1 else b",\n  ") + _line(row))
    stream.write(b"\n]\n")


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()

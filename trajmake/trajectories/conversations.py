"""The conversations of a run as the model saw them, out of the journal of its completions.

Each entry holds one whole request and its answer. A request that begins with the messages of an earlier one goes
on with that conversation; one that does not (the history was condensed, a side question) begins another.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from trajmake import files

_PLAIN = ("role", "content", "tool_call_id", "name", "reasoning_content")


def read(journal: Path, steps: int | None) -> list[dict[str, Any]]:
    """``messages`` (the answer last) and ``tools`` of each conversation, in the order in which they began.

    An answer that the agent dropped, because it could not be read, is in none.

    Args:
        journal: Folder of ``0001.json``, ``0002.json``, ...
        steps: How many completions the run had, by its metadata.

    Returns:
        Nothing where the journal is missing, or does not hold them all.
    """
    paths = sorted((path for path in journal.glob("*.json") if path.stem.isdigit()), key=lambda path: int(path.stem))
    if not paths or len(paths) != steps:
        return []
    talks: list[dict[str, Any]] = []
    for path in paths:
        entry = files.read_json(path)
        asked = _without_marks(entry["messages"])
        talk = {"asked": asked, "answer": _without_marks(entry["message"]), "tools": entry["tools"]}
        before = next((n for n in reversed(range(len(talks))) if _goes_on(talks[n], talk)), None)
        if before is None:
            talks.append(talk)
        else:
            talks[before] = talk
    return [{"messages": [*talk["asked"], talk["answer"]], "tools": talk["tools"]} for talk in talks]


def _goes_on(before: dict[str, Any], talk: dict[str, Any]) -> bool:
    start = before["asked"]
    return bool(talk["asked"][: len(start)] == start and talk["tools"] == before["tools"])


def _without_marks(value: Any) -> Any:
    """Without marks for the provider's cache, which move from request to request and which no model sees."""
    if isinstance(value, dict):
        return {key: _without_marks(item) for key, item in value.items() if key != "cache_control"}
    if isinstance(value, list):
        return [_without_marks(item) for item in value]
    return value


def write_parquet(stream: IO[bytes], rows: Iterable[dict[str, Any]], at_once: int) -> None:
    """Write rows with ``messages`` and ``tools`` as Parquet.

    The schema is always the same: text parts of a message's content are joined, ``tools`` is JSON text, as
    trainers take it, and what else a message holds is JSON text under ``more``.
    """
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.string()
    call = pa.struct({"id": text, "type": text, "function": pa.struct({"name": text, "arguments": text})})
    message = pa.struct({**dict.fromkeys(_PLAIN, text), "tool_calls": pa.list_(call), "more": text})
    names = {"instance_id": text, "model": text, "resolved": pa.bool_(), "exit_status": text, "patch": text}
    columns = {**names, "part": pa.int64(), "messages": pa.list_(message), "tools": text}
    schema = pa.schema(list(columns.items()))
    with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        for batch in _batches(rows, at_once):
            writer.write_table(pa.Table.from_pylist([_flat(row) for row in batch], schema=schema))


def _batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    source = iter(rows)
    while batch := list(itertools.islice(source, size)):
        yield batch


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    messages = [_flat_message(message) for message in row["messages"]]
    return row | {"messages": messages, "tools": json.dumps(row["tools"], ensure_ascii=False)}


def _flat_message(message: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {name: message.get(name) for name in _PLAIN}
    more = {key: value for key, value in message.items() if key not in (*_PLAIN, "tool_calls") and value is not None}
    parts = flat["content"]
    if isinstance(parts, list):
        texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
        flat["content"] = "".join(part for part in texts if isinstance(part, str))
        if len(texts) < len(parts):
            more["content"] = parts
    flat["tool_calls"] = message.get("tool_calls")
    return flat | {"more": json.dumps(more, ensure_ascii=False) if more else None}

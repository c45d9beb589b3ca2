"""`trajmake export`: what leaves a session for other tools, out of a session that really ran."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from project import Project
from pyarrow import parquet

from trajmake import files
from trajmake.trajectories import conversations


def export(project: Project, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from trajmake.cli import main; main()", "export", *arguments]
    return subprocess.run(
        command, cwd=project.root, env=project.environment(**environ), capture_output=True, text=True, check=False
    )


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_predictions_are_those_of_the_summary_and_resolved_ones_alone_on_request(finished, tmp_path):
    whole, part = tmp_path / "preds.json", tmp_path / "preds.jsonl"
    done = export(finished, "--format", "swebench", "--models", "fixer", "--output", str(whole))
    assert done.returncode == 0, done.stderr
    key = lambda row: row["instance_id"]  # noqa: E731
    summary = json.loads((finished.root / "outputs/results/demo/fixer.preds.json").read_text())
    assert json.loads(whole.read_text()) == sorted(summary, key=key)
    done = export(finished, "--format", "swebench", "--models", "fixer", "--output", str(part), "--resolved-only")
    resolved = sorted(name for (model, name), row in finished.results().items() if row["Resolved"] == "true")
    assert [row["instance_id"] for row in rows(part)] == resolved and "left out: 1 not resolved" in done.stderr


def test_messages_are_exactly_what_the_model_saw(finished, tmp_path):
    done = export(finished, "--format", "messages", "--output", str(tmp_path / "m.jsonl"), "--session", "demo")
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "m.jsonl")
    order = [(row["model"], row["instance_id"]) for row in found]
    assert order == sorted(order) and len(set(order)) == 2 * len(finished.ids)
    for row in found:
        journal = finished.folder(row["model"], row["instance_id"]) / "llm_completions" / row["instance_id"]
        last = json.loads(max(journal.glob("*.json")).read_text())
        assert row["messages"] == [*last["messages"], last["message"]] and row["tools"] == last["tools"]
        assert [m["role"] for m in row["messages"][:3]] == ["system", "user", "assistant"]
    assert {row["resolved"] for row in found} == {True, False}
    assert any(m.get("tool_calls") for row in found for m in row["messages"])


def test_parquet_says_the_same_as_json_lines_and_the_same_bytes_each_time(finished, tmp_path):
    for name in ("m.jsonl", "m.parquet", "again.parquet"):
        assert export(finished, "--format", "messages", "--output", str(tmp_path / name)).returncode == 0
    assert (tmp_path / "m.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    table = parquet.read_table(tmp_path / "m.parquet").to_pylist()
    lines = rows(tmp_path / "m.jsonl")
    assert len(table) == len(lines)
    for read, line in zip(table, lines, strict=True):
        assert {k: read[k] for k in ("instance_id", "model", "resolved", "patch", "part")} == {
            k: line[k] for k in ("instance_id", "model", "resolved", "patch", "part")
        }
        assert json.loads(read["tools"]) == line["tools"]
        for flat, message in zip(read["messages"], line["messages"], strict=True):
            assert (flat["role"], flat["content"]) == (message["role"], message.get("content"))
            calls = [call["function"] for call in message.get("tool_calls") or []]
            assert [call["function"] for call in flat["tool_calls"] or []] == calls


def test_openhands_output_is_merged_by_model(finished, tmp_path):
    done = export(finished, "--format", "openhands", "--output", str(tmp_path / "{model}.output.jsonl"))
    assert done.returncode == 0, done.stderr
    for model in ("fixer", "stumbler"):
        merged = rows(tmp_path / f"{model}.output.jsonl")
        alone = [files.read_json(finished.folder(model, name) / "output.jsonl") for name in sorted(finished.ids)]
        assert merged == alone


def test_a_key_never_leaves(finished, tmp_path):
    """A value that a variable holds now, wherever it stands in a trajectory."""
    secret = "You are a helpful assistant"
    assert secret in json.dumps(files.read_json(finished.folder("fixer", finished.ids[0]) / "output.jsonl"))
    for kind, name in (("messages", "m.jsonl"), ("messages", "m.parquet"), ("openhands", "{model}.jsonl")):
        path = tmp_path / name
        done = export(finished, "--format", kind, "--output", str(path), SOME_API_KEY=secret)
        assert done.returncode == 0, done.stderr
    for path in tmp_path.iterdir():
        text = path.read_bytes() if path.suffix != ".parquet" else repr(parquet.read_table(path).to_pylist()).encode()
        assert secret.encode() not in text and b"**********" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "swebench", "--output", "x.json"], "is of one model"),
        (["--format", "swebench", "--output", "x.csv"], "It ends in .json or .jsonl"),
        (["--format", "messages", "--output", "x.jsonl", "--session", "none"], "Choose one with --session: demo"),
        (["--format", "messages", "--output", "x.jsonl", "--models", "opus"], "It has: fixer, stumbler"),
        (["--format", "messages", "--output", "x.jsonl", "--output-dir", "none"], "There is no session in none"),
        (
            ["--format", "swebench", "--output", "x.json", "--models", "stumbler", "--resolved-only"],
            "has nothing to export: 5 not resolved",
        ),
    ],
)
def test_a_mistake_is_one_message_with_a_hint_and_leaves_no_file(finished, arguments, said):
    done = export(finished, *arguments)
    assert done.returncode == 2 and said in done.stderr and "Hint:" in done.stderr and "Traceback" not in done.stderr
    assert not [name for name in os.listdir(finished.root) if name.startswith(("x.", ".x."))]


def test_a_journal_that_is_not_whole_gives_no_messages(finished, tmp_path):
    again = finished.copy(tmp_path / "again")
    journal = again.folder("fixer", again.ids[0]) / "llm_completions" / again.ids[0]
    min(journal.glob("*.json")).unlink()
    done = export(again, "--format", "messages", "--models", "fixer", "--output", str(tmp_path / "m.jsonl"))
    assert done.returncode == 0 and "left out: 1 without a complete journal" in done.stderr
    assert again.ids[0] not in {row["instance_id"] for row in rows(tmp_path / "m.jsonl")}


def journal(folder: Path, *entries: tuple[list[str], str]) -> Path:
    for number, (asked, answer) in enumerate(entries, 1):
        messages = [{"role": "user", "content": [{"type": "text", "text": text}]} for text in asked]
        messages[-1]["content"][0]["cache_control"] = {"type": "ephemeral"}  # moves from request to request
        entry = {"messages": messages, "message": {"role": "assistant", "content": answer}, "tools": []}
        files.write_json(folder / f"{number:04d}.json", entry)
    return folder


def said(message: dict) -> str:
    return message["content"] if message["role"] == "assistant" else message["content"][0]["text"]


def test_a_condensed_history_begins_another_conversation(tmp_path):
    """And a side question in between ends none; an answer that was dropped is in none."""
    entries = [(["s", "a"], "1"), (["s", "a", "1", "b"], "2"), (["sum up"], "short"), (["s", "a", "1", "b", "c"], "3")]
    entries += [(["s", "short", "d"], "4"), (["s", "short", "d", "4", "e"], "5")]
    talks = conversations.read(journal(tmp_path, *entries), len(entries))
    texts = [[said(message) for message in talk["messages"]] for talk in talks]
    assert texts == [["s", "a", "1", "b", "c", "3"], ["sum up", "short"], ["s", "short", "d", "4", "e", "5"]]
    assert "cache_control" not in json.dumps(talks)
    assert conversations.read(tmp_path, 7) == [] and conversations.read(tmp_path / "none", 0) == []

"""`trajmake analyze`: a session's figures for each model, and what went wrong."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest
from made_sessions import Made

from trajmake.errors import ConfigError
from trajmake.sessions import layout


@pytest.fixture
def made(tmp_path) -> Made:
    made = Made(tmp_path)
    made.session("s")
    for name, resolved, seconds, steps in (("one", True, 10, 2), ("two", False, 20, 4), ("three", True, 90, 9)):
        made.run("s", "a", name, resolved, seconds=seconds, steps=steps, cost=0.2)
    made.run("s", "a", "four", False, exit_status="time_limit", seconds=100, steps=25, cost=0.3)
    made.fault("s", "b", "one", "The provider\nis [bold]down[/bold]\x1b[2J.")
    made.run("s", "b", "two", None, seconds=7, cost=None)
    made.run("s", "b", "three", judged=False)
    made.run("s", "b", "four", False, exit_status="no_prediction", patch="", steps=0, seconds=0, cost=0)
    made.place(layout.INSTANCE, "s", "b", "five").mkdir()
    made.run("s", "empty", "one", False)
    return made


def analyzed(made: Made, *arguments: str) -> dict:
    done = made.call("analyze", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_figures_are_those_of_the_runs(made):
    record = analyzed(made)
    a, b = record["models"]
    assert record["session"] == "s" and "failed_runs" not in record
    assert a == {
        "model": "a",
        "configuration": "mini_swe_agent, openai/some-1",
        "total_instances": 4,
        "successful": 3,
        "failed": 0,
        "timed_out": 1,
        "success_rate": 75.0,
        "completion_time": "2025-10-09 08:55:00 UTC",
        "missing": 0,
        "not_finished": 0,
        "judged": 4,
        "resolved": 2,
        "resolved_rate": 50.0,
        "quality_ok": 0,
        "mean_seconds": 55.0,
        "median_seconds": 55.0,
        "mean_steps": 10.0,
        "median_steps": 6.5,
        "prompt_tokens": 4000,
        "completion_tokens": 400,
        "cost_usd": 0.9,
        "mean_cost_usd": 0.225,
        "cost_per_resolved_usd": 0.45,
        "unknown_costs": 0,
    }
    counts = ("total_instances", "successful", "failed", "timed_out", "missing", "not_finished", "judged", "resolved")
    assert [b[key] for key in counts] == [5, 1, 2, 0, 1, 1, 1, 0]
    assert b["mean_seconds"] == b["median_seconds"] == 7.0 and b["resolved_rate"] == 0.0  # of the one agent that ended
    assert (b["unknown_costs"], b["mean_cost_usd"], b["cost_per_resolved_usd"]) == (1, None, None)


def test_exports_say_what_is_printed(made, tmp_path):
    paths = [tmp_path / "new" / name for name in ("a.csv", "a.json")]
    record = analyzed(made, "--show-failed", "--export-csv", str(paths[0]), "--export-json", str(paths[1]))
    assert json.loads(paths[1].read_text()) == record
    text = paths[0].read_text()
    head = "Model,Configuration,Total Instances,Successful,Failed,Timed Out,Success Rate,Completion Time,"
    assert text.startswith(head)
    for row, figures in zip(csv.DictReader(io.StringIO(text)), record["models"], strict=True):
        assert list(row.values()) == ["" if value is None else str(value) for value in figures.values()]


def test_what_failed_is_listed_with_its_reason(made):
    rows = analyzed(made, "--show-failed")["failed_runs"]
    assert [(row["model"], row["instance_id"], row["status"]) for row in rows] == [
        ("a", "four", "TIMEOUT"),
        ("b", "two", "FAILED"),
        ("b", "one", "FAILED"),
        ("b", "five", "PENDING"),
        ("b", "three", "SUCCESS"),
    ]
    assert rows[0]["why"].endswith("after 100 s") and rows[1]["why"] == "container_lost in run_tests: Lost."
    assert rows[2]["why"].startswith("provider_down in generate: ") and "run_tests: the trajectory" in rows[4]["why"]
    shown = made.call("analyze", "--show-failed").stdout
    assert "Session s" in shown and "75.00%" in shown and "5 runs" in shown
    assert "The provider is [bold]down[/bold]\\x1b[2J." in shown and "\x1b" not in shown


def test_the_latest_session_is_the_one_driven_last(made):
    made.session("later")
    made.run("later", "a", "one")
    lock = made.root / layout.LOCK.format(session="s")
    os.utime(lock, (1, 1))
    assert analyzed(made)["session"] == analyzed(made, "--session-id", "latest")["session"] == "later"
    assert analyzed(made, "--session-id", "s")["session"] == "s"
    made.session("empty")
    assert analyzed(made)["models"] == []


def test_an_unknown_session_names_near_ones(made, tmp_path):
    with pytest.raises(ConfigError, match=r"holds no session latets.\nHint: Sessions there: s\."):
        raise made.call("analyze", "--session-id", "latets").exception
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="There is no session in"):
        raise Made(tmp_path / "other").call("analyze").exception


def test_two_configurations_of_one_model_are_both_named(made):
    metadata = made.place(layout.INSTANCE, "s", "a", "two") / "metadata.json"
    times = metadata.stat().st_mtime_ns
    metadata.write_text(metadata.read_text().replace("openai/some-1", "openai/some-2"))
    os.utime(metadata, ns=(times, times))
    assert analyzed(made)["models"][0]["configuration"].count("mini_swe_agent, openai/some-") == 2

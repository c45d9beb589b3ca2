"""`trajmake list-sessions`: what ran, what became of it, what it cost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import small_instances
import yaml
from made_sessions import Made

from trajmake import files
from trajmake.reports import tables
from trajmake.sessions import layout, locks, outcome, quality, status
from trajmake.sessions.status import Status, StatusLine
from trajmake.settings.sections import QualitySettings


@pytest.fixture
def made(tmp_path) -> Made:
    """A session in which everything happened, and an older one."""
    made = Made(tmp_path)
    made.session("old", usd=0.25)
    made.run("old", "a", "one", cost=None)
    made.run("old", "gold", "one")  # calibrates, and is no model of the session
    made.session("new", usd=3.5)
    made.run("new", "a", "one", True)
    made.run("new", "a", "two", False)
    made.run("new", "a", "owner/three", False, exit_status="time_limit")
    made.run("new", "b", "one", judged=False)
    made.run("new", "b", "two", None)
    made.fault("new", "b", "owner/three")
    made.run("new", "b", "four", False, exit_status="no_prediction", patch="")
    status.write(made.place(layout.STATUS, "new", "a", "four"), StatusLine(Status.IN_PROGRESS, 1_760_000_000))
    made.place(layout.INSTANCE, "new", "a", "four").mkdir()
    for path in (made.root / "results/old", made.root / "trajectories/old", made.root / "progress/old"):
        for file in path.rglob("*"):
            os.utime(file, (1_700_000_000, 1_700_000_000))
    return made


def listed(made: Made) -> list[dict]:
    done = made.call("list-sessions", "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_every_run_is_counted_once(made):
    new, old = listed(made)
    size = sum(path.stat().st_size for path in made.root.rglob("*") if path.is_file() and "new" in path.parts)
    assert new.pop("bytes") == size and new.pop("created") <= new.pop("last_used")
    counts = {"done": 3, "failed": 2, "timeout": 1, "running": 0, "missing": 1, "stale": 1, "pending": 0}
    assert new == counts | {
        "id": "new",
        "models": ["a", "b"],
        "instances": 4,
        "judged": 4,
        "resolved": 1,
        "cost_usd": 3.5,
        "unpriced": 0,
    }
    assert (old["models"], old["instances"], old["done"], old["unpriced"]) == (["a"], 1, 1, 1)
    assert old["created"] == old["last_used"] == 1_700_000_000


def test_a_living_run_runs_and_a_summary_knows_what_has_not_begun(made):
    waiting = [outcome.unfinished("new", "c", name, "PENDING", "generate", "why") for name in ("one", "owner/three")]
    marked = quality.marked(waiting, QualitySettings())
    files.write_text(made.root / "results/new/results.csv", tables.results_csv(marked))
    with locks.claim(made.place(layout.CLAIM, "new", "a", "four")):
        new = listed(made)[0]
    assert (new["running"], new["stale"], new["pending"]) == (1, 0, 2)
    assert new["models"] == ["a", "b", "c"] and new["instances"] == 4


def test_the_table_is_for_people(made):
    made.session("evil\x1b[2J")
    shown = made.call("list-sessions").stdout
    assert "0.25 + 1 unknown" in shown
    assert "outputs: 3 sessions" in shown and "\x1b" not in shown and "evil\\x1b[2J" in shown
    (line,) = (line for line in shown.splitlines() if " new " in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[2:-1] == ["4", "a, b", "3", "2", "1", "0", "1", "1", "1 of 4", "3.50"]


def test_a_session_on_another_disk_is_listed(made, tmp_path):
    """`clean` refuses links; looking does not."""
    shutil.move(made.root / "trajectories/new", tmp_path / "disk")
    (made.root / "trajectories/new").symlink_to(tmp_path / "disk")
    assert listed(made)[0]["instances"] == 4


def test_where_there_is_nothing_nothing_is_listed(tmp_path):
    """Neither sessions nor a configuration: the folder is the default one."""
    command = [sys.executable, "-c", "from trajmake.cli import main; main()", "list-sessions"]
    for more, expected in (["--json"], "[]\n"), ([], "outputs: 0 sessions"):
        done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(expected) or expected in done.stdout
    missing = subprocess.run([*command, "--configfile", "no.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert missing.returncode == 2 and "There is no configuration file no.yaml" in missing.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_sessions_own_configuration_knows_what_has_not_begun(made, tmp_path):
    """Until a table says it: the configuration may be another one's by then."""
    rows = small_instances.make(tmp_path / "made", 2)
    small_instances.write(rows, tmp_path / "rows.jsonl")
    config = yaml.safe_load(made.configfile.read_text())
    config |= {"session": "mine", "models": ["any", "gold"], "dataset": str(tmp_path / "rows.jsonl")}
    made.configfile.write_text(yaml.safe_dump(config))
    made.session("mine")
    assert sum(one["pending"] for one in listed(made)) == 2  # gold calibrates
    made.run("mine", "any", rows[0]["instance_id"])
    mine = next(one for one in listed(made) if one["id"] == "mine")
    assert (mine["models"], mine["instances"], mine["done"], mine["pending"]) == (["any"], 2, 1, 1)
    ended = made.root / "results/mine/results.csv"
    files.write_text(ended, tables.results_csv([]))
    assert sum(one["pending"] for one in listed(made)) == 0
    ended.unlink()
    (tmp_path / "rows.jsonl").unlink()
    assert next(one for one in listed(made) if one["id"] == "mine")["done"] == 1

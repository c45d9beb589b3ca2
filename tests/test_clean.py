"""`trajmake clean`: old sessions go after a question, living ones and what is no session stay."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from test_sessions import HOLD
from typer.testing import CliRunner

from trajmake import files
from trajmake.cli import app, main
from trajmake.errors import ClaimedError, ConfigError
from trajmake.sessions import cleaning, layout, locks

DAY = 86400


def made(root: Path, name: str, days: float = 0) -> Path:
    """A session whose newest file is so old; gives its lock."""
    names = {"session": name, "model": "m", "instance_id": "i"}
    lock = root / layout.LOCK.format(**names)
    ends = {layout.INSTANCE: "output.jsonl", layout.LOGS: "m/i.log", layout.RESULTS: "x", layout.FETCHED: "i.tar.part"}
    for place in (layout.STATUS, *(f"{folder}/{file}" for folder, file in ends.items())):
        files.write_text(root / place.format(**names), "text")
    with locks.claim(lock):
        pass
    files.write_json(
        root / layout.SPENDING.format(**names) / "host.json", {"usd": 1.5, "completions": 2, "unpriced": 0}
    )
    then = time.time() - days * DAY
    for path in root.rglob("*"):
        if name in path.parts and path.is_file():
            os.utime(path, (then, then))
    return lock


def left(root: Path) -> set[str]:
    places = [*root.glob("*/*"), *root.glob(layout.FETCHED.format(session="*"))]
    return {path.name for path in places if path.name != "fetched"}


def config_of(root: Path) -> str:
    options = {"dataset": "none", "models": ["x"], "catalog": {"x": {"agent": "empty"}}, "output_dir": str(root)}
    return json.dumps(options)


def clean(root: Path, *arguments: str, answer: str | None = None):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(config_of(root))
        file.flush()
        return CliRunner().invoke(app, ["clean", "--configfile", file.name, *arguments], input=answer)


@contextlib.contextmanager
def holder(lock: Path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        yield other
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()


def test_old_sessions_are_removed_when_asked_and_agreed(tmp_path):
    for name, days in (("old", 9), ("older", 30), ("new", 2)):
        made(tmp_path, name, days)
    files.write_text(tmp_path / "images/a.loaded.json", "{}")
    refused = clean(tmp_path, "--older-than", "7d", answer="n\n")
    assert refused.exit_code == 1 and left(tmp_path) >= {"old", "older", "new"}
    assert "old: last used" in refused.output and "1 trajectories, 1.50 USD spent" in refused.output
    assert clean(tmp_path, "--older-than", "7d").exit_code == 1  # nobody there to answer
    done = clean(tmp_path, "--older-than", "7d", answer="y\n")
    assert done.exit_code == 0 and "2 sessions removed" in done.output
    assert left(tmp_path) == {"new", "a.loaded.json"}
    assert "Nothing to remove" in clean(tmp_path, "--older-than", "1w", "--yes").output
    assert clean(tmp_path, "--session", "new", "--yes").exit_code == 0
    assert left(tmp_path) == {"a.loaded.json"}


def test_a_living_driver_or_job_keeps_its_session(tmp_path):
    lock = made(tmp_path, "s", days=9)
    claim = tmp_path / layout.CLAIM.format(session="s", model="m", instance_id="i")
    for held in (lock, claim):
        with holder(held) as other:
            told = clean(tmp_path, "--older-than", "0d", "--yes")
            assert told.exit_code == 0 and "s stays: it" in told.output and f"process {other.pid}" in told.output
            with pytest.raises(ClaimedError, match=f"process {other.pid}"):
                raise clean(tmp_path, "--session", "s", "--yes").exception
            assert (tmp_path / "trajectories/s/m/instance_i/output.jsonl").exists()
    assert clean(tmp_path, "--session", "s", "--yes").exit_code == 0 and left(tmp_path) == set()


def test_another_hosts_session_is_left_while_it_is_fresh(tmp_path):
    lock = made(tmp_path, "s")
    lock.write_text("process 7 on another-host\n")
    with pytest.raises(ClaimedError, match="a moment ago by process 7 on another-host"):
        raise clean(tmp_path, "--session", "s", "--yes").exception
    made(tmp_path, "s", days=1)
    lock.write_text("process 7 on another-host\n")
    os.utime(lock, (1, 1))
    assert clean(tmp_path, "--session", "s", "--yes").exit_code == 0


@pytest.mark.parametrize("name", ["..", ".", "../outputs", "notes", "linked", "missing"])
def test_what_is_no_session_is_refused(tmp_path, name):
    root = tmp_path / "outputs"
    made(root, "s", days=9)
    files.write_text(root / "results/notes/mine.txt", "mine")
    files.write_text(tmp_path / "elsewhere/.driver.lock", "")
    (root / "results/linked").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=r"holds no session .*\nHint: Sessions there: s\."):
        raise clean(root, "--session", name, "--yes").exception
    assert clean(root, "--older-than", "99d", "--yes").exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_is_not_followed(tmp_path):
    made(tmp_path, "s", days=9)
    shutil.move(tmp_path / "trajectories/s", tmp_path / "elsewhere")
    (tmp_path / "trajectories/s").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        raise clean(tmp_path, "--session", "s", "--yes").exception
    assert (tmp_path / "elsewhere/m/instance_i/output.jsonl").exists()


@pytest.mark.parametrize("at", range(1, 6))
def test_an_interrupted_removal_is_finished_by_the_next(tmp_path, monkeypatch, at):
    made(tmp_path, "s", days=9)
    remove, calls = shutil.rmtree, []

    def interrupted(path):
        calls.append(path)
        if len(calls) == at:
            raise KeyboardInterrupt
        remove(path)

    files.write_text(tmp_path / "benchmarks/s/m.tsv", "s")
    monkeypatch.setattr(cleaning.shutil, "rmtree", interrupted)
    clean(tmp_path, "--session", "s", "--yes")
    monkeypatch.undo()
    assert "s" in left(tmp_path)
    assert clean(tmp_path, "--session", "s", "--yes").exit_code == 0 and left(tmp_path) == set()


def test_a_session_that_begins_where_one_was_just_removed_stays(tmp_path, monkeypatch):
    """Its folder, its lock and its turn are its own, whatever of the old one is still to go."""
    lock = made(tmp_path, "s", days=9)
    unlink = os.unlink
    with contextlib.ExitStack() as begun:
        turns = []

        def begin(path, **options):
            unlink(path, **options)
            if Path(path).name == lock.name and not turns:
                turns.append(begun.enter_context(locks.claim(lock)))

        monkeypatch.setattr(os, "unlink", begin)
        cleaning.remove(tmp_path, cleaning.look(tmp_path, "s"))
        assert cleaning.names(tmp_path) == ["s"] and locks.held(lock) and not turns[0].lost


def test_a_session_that_is_being_copied_stays_and_a_removed_one_is_not_copied(tmp_path, monkeypatch):
    """Else its copy would be called whole with the files that were left, or with none."""
    made(tmp_path, "s", days=9)
    with cleaning.copying(tmp_path, "s"), pytest.raises(ClaimedError, match=f"being copied by process {os.getpid()}"):
        raise clean(tmp_path, "--session", "s", "--yes").exception
    opened = locks._open

    def removed_then(path):
        stream = opened(path)
        monkeypatch.undo()
        cleaning.remove(tmp_path, cleaning.look(tmp_path, "s"))
        return stream

    monkeypatch.setattr(locks, "_open", removed_then)
    with pytest.raises(ConfigError, match="holds no session s"), cleaning.copying(tmp_path, "s"):
        pass
    assert cleaning.names(tmp_path) == []


def test_a_path_that_cannot_be_used_is_said_with_what_to_do(tmp_path, monkeypatch, capsys):
    lock = made(tmp_path, "old", days=40)
    lock.unlink()
    lock.mkdir()
    config = tmp_path / "config.json"
    config.write_text(config_of(tmp_path))
    monkeypatch.setattr(sys, "argv", ["trajmake", "clean", "--configfile", str(config), "--older-than", "30d", "--yes"])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().err
    assert caught.value.code == 1 and said.startswith(f"Error: {lock}: Is a directory.\nHint: See "), said


@pytest.mark.parametrize("age", ["7", "soon"])
def test_no_age_is_an_error(tmp_path, age):
    with pytest.raises(ConfigError):
        raise clean(tmp_path, "--older-than", age).exception

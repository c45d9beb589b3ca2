"""A status is true: a dead run is told from a living one, and a summary says what it lacks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from model_sessions import SUBMIT, Sessions
from project import ROOT

from trajmake.grading import infra_failure
from trajmake.outcomes import Status
from trajmake.sessions import layout, locks, outcome, status, survey
from trajmake.sessions.status import StatusLine

RUN = ("served", "one")


def place(root: Path, pattern: str) -> Path:
    path = root / pattern.format(session="s", model=RUN[0], instance_id=RUN[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def shown(root: Path) -> tuple[str, str]:
    (found,) = survey.survey(root, "s", [RUN])
    return found["status"], found["unfinished"]


def test_a_run_is_stale_as_soon_as_its_process_is_gone(tmp_path):
    assert shown(tmp_path) == ("PENDING", "generate: no agent has begun")
    line, claim = place(tmp_path, layout.STATUS), place(tmp_path, layout.CLAIM)
    with locks.claim(claim):
        assert shown(tmp_path)[0] == "IN_PROGRESS"
        status.write(line, StatusLine(Status.IN_PROGRESS, 1_700_000_000))
        what, why = shown(tmp_path)
        assert what == "IN_PROGRESS" and f"process {os.getpid()} on {socket.gethostname()} works on it" in why
    what, why = shown(tmp_path)
    assert what == "STALE" and "2023-11-14 22:13:20 UTC and is gone" in why
    assert line.read_text() == "IN_PROGRESS|1700000000\n"


def test_of_another_host_the_heartbeat_tells(tmp_path, monkeypatch):
    """Where locks do not reach over hosts, a file that is still touched is a living run's."""
    line, claim = place(tmp_path, layout.STATUS), place(tmp_path, layout.CLAIM)
    claim.write_text("process 7 on another-host\n")
    status.write(line, StatusLine(Status.IN_PROGRESS, 1_700_000_000))
    assert shown(tmp_path)[0] == "IN_PROGRESS"
    old = time.time() - status.DEAD_AFTER_SECONDS - 1
    os.utime(line, (old, old))
    assert shown(tmp_path)[0] == "STALE"
    monkeypatch.setattr(status, "HEARTBEAT_SECONDS", 0.05)
    with status.heartbeat(line):
        deadline = time.monotonic() + 60
        while shown(tmp_path)[0] == "STALE" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert shown(tmp_path)[0] == "IN_PROGRESS"
    assert status.read(line) == StatusLine(Status.IN_PROGRESS, 1_700_000_000)


def test_an_unfinished_run_has_every_key_of_a_finished_one():
    record = {"test_result": {"git_patch": ""}}
    finished = outcome.build("s", *RUN[:1], record, infra_failure("one", {"reason": "internal", "message": "No."}))
    assert set(outcome.unfinished("s", *RUN, "STALE", "generate", "why")) == {*finished, "unfinished"}


@pytest.fixture
def sessions(tmp_path, store) -> Sessions:
    """Two instances; on the first the model thinks for seconds."""
    made = Sessions.make(tmp_path, store, count=2, provider="scripted", replies=str(tmp_path / "replies"))
    (tmp_path / "replies").mkdir()
    for row, command in zip(made.rows, (f"sleep 8; {SUBMIT}", f"echo 1 > value; {SUBMIT}"), strict=True):
        turns = [{"thought": "On.", "commands": [command]}]
        (tmp_path / "replies" / f"{row['instance_id']}.yaml").write_text(yaml.safe_dump(turns))
    return made


def begin(sessions: Sessions) -> tuple[subprocess.Popen[str], int]:
    """Start the session, and wait until the first instance's job works; gives its process id."""
    process = subprocess.Popen(
        sessions.project.command("-j", "2", "--profile", "hybrid"),
        cwd=sessions.project.root,
        env=sessions.project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    journal = sessions.journal("demo") / "0001.json"
    deadline = time.monotonic() + 90
    while not journal.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.05)
    return process, int((sessions.folder("demo") / ".claim").read_text().split()[1])


def test_a_killed_job_leaves_the_others_and_a_summary_marked_incomplete(sessions):
    """`kill -9` of one job: the rest is finished, graded and shown; the same command repeats exactly the lost one."""
    process, job = begin(sessions)
    os.kill(job, signal.SIGKILL)
    said = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    first = sessions.rows[0]["instance_id"]
    assert f"served/{first}: STALE, generate: process {job} on {socket.gethostname()} began it at" in said, said
    results = sessions.project.results()
    assert [(row["Status"], row["Resolved"]) for row in results.values()] == [("STALE", ""), ("SUCCESS", "true")]
    folder = sessions.project.root / "outputs/results/demo"
    report = (folder / "final_report.txt").read_text()
    assert report.startswith("INCOMPLETE: 1 of 2 runs have no verdict.\n") and f"served/{first}: STALE" in report
    assert "Not finished: 1 STALE" in report and "Resolved: 1 of 1 (100.00%; 1 without a verdict left out)" in report
    assert not (folder / "complete.json").exists()

    plan = sessions.project.planned()
    assert plan.generated == [("served", first)] and plan.jobs["summarize"] == plan.jobs["verify"] == 1
    done = sessions.project.snakemake("-j", "2", "--profile", "hybrid")
    assert done.returncode == 0, done.stdout
    assert [row["Status"] for row in sessions.project.results().values()] == ["SUCCESS", "SUCCESS"]
    assert (folder / "final_report.txt").read_text().startswith("====") and (folder / "complete.json").exists()


def test_an_interrupted_session_says_what_it_lacks(sessions):
    """Ctrl-C reaches driver and jobs."""
    process, _ = begin(sessions)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[0]
    assert process.returncode != 0 and "INCOMPLETE: " in said, said
    assert sessions.project.results()["served", sessions.rows[0]["instance_id"]]["Status"] == "STALE"


@pytest.mark.parametrize("mode", ["default", "sequential", "hybrid", "parallel", "cluster", "generic"])
def test_no_profile_stops_at_the_first_failure(mode):
    """`profiles/default` is taken up beside each of them, and its keys win."""
    for name in {"default", mode}:
        (path,) = (ROOT / "profiles" / name).glob("*.yaml")
        said = yaml.safe_load(path.read_text())
        assert said.get("keep-going", name != "default") is True and "keep-incomplete" not in said

"""What passes by itself is waited for inside the job; what does not, is not."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import own_daemon
import pytest
import yaml
from model_sessions import SUBMIT, Sessions
from own_daemon import OwnDaemon

from trajmake.errors import ContainerLostError, EngineAwayError, EngineUnavailableError
from trajmake.stages import patience

STEPS = ["echo 1 > value", "sleep 8; cat value", SUBMIT]


def test_a_daemon_that_restarts_costs_no_fault_and_no_answer(tmp_path: Path, store: Path, monkeypatch) -> None:
    """``kill -9`` of dockerd during the second command; the same job goes on when it is back."""
    if reason := own_daemon.lacking():
        pytest.skip(reason)
    with OwnDaemon() as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.url)
        sessions = Sessions.make(tmp_path, store, provider="scripted", replies=str(tmp_path))
        sessions.configure(engine="docker")
        turns = [{"thought": "On.", "commands": [command]} for command in STEPS]
        (tmp_path / f"{sessions.rows[0]['instance_id']}.yaml").write_text(yaml.safe_dump(turns))

        def disturb() -> None:
            answer = sessions.journal("restart") / "0002.json"
            deadline = time.monotonic() + 300
            while not answer.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            daemon.kill()
            time.sleep(1)
            daemon.start()

        thread = threading.Thread(target=disturb)
        thread.start()
        sessions.inside("restart")
        thread.join()
        record = sessions.record("restart")
        assert record["error"] is None and "+1" in record["test_result"]["git_patch"]
        assert record["metadata"]["details"]["replay"] == {"steps": 2, "diverged": [], "ended_at": None}
        assert sessions.spent("restart").completions == len(STEPS)
        assert not (sessions.folder("restart") / "faults").exists()
        assert daemon.ask("ps", "-aq") == ""


def test_all_jobs_wait_once_for_a_daemon_that_stays_away(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 2.0)
    calls: list[float] = []

    def work() -> None:
        calls.append(time.monotonic())
        raise EngineAwayError("The daemon does not answer.")

    with pytest.raises(EngineAwayError):
        patience.persistently(work, tmp_path / "session" / "away")
    assert len(calls) >= 2 and 1.9 <= calls[-1] - calls[0] < 5
    calls.clear()
    with pytest.raises(EngineAwayError):
        patience.persistently(work, tmp_path / "session" / "away")
    assert len(calls) == 1


def test_the_next_outage_is_waited_for_anew(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 3.0)
    for _ in range(2):
        troubles = iter([EngineAwayError("away")])

        def work(troubles=troubles) -> None:
            for trouble in troubles:
                raise trouble

        patience.persistently(work, tmp_path / "away")
    assert not (tmp_path / "away").exists()


def test_an_outage_that_outlasted_everyone_is_no_part_of_the_next(tmp_path: Path, monkeypatch) -> None:
    """It ended while nobody waited: a restart some minutes later would have failed every job at once."""
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: None)
    away = tmp_path / "away"
    long_ago = time.time() - 2 * patience.SECONDS

    def outlast() -> None:
        away.touch()
        os.utime(away, (long_ago, long_ago))
        raise EngineAwayError("away")

    with pytest.raises(EngineAwayError):
        patience.persistently(outlast, away)
    patience.persistently(lambda: None, away)
    troubles = iter([EngineAwayError("away again")])

    def work() -> None:
        for trouble in troubles:
            raise trouble

    patience.persistently(work, away)
    assert not away.exists()


@pytest.mark.parametrize(("error", "calls"), [(ContainerLostError, 2), (EngineUnavailableError, 1), (ValueError, 1)])
def test_a_lost_container_is_repeated_once_and_permanent_faults_are_not(tmp_path: Path, error, calls: int) -> None:
    made = []

    def work() -> None:
        made.append(1)
        raise error("no")

    with pytest.raises(error):
        patience.persistently(work, tmp_path / "away")
    assert len(made) == calls

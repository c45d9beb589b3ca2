"""`trajmake watch`, the progress report and the GPUs: one picture of a session, true while it runs and after."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from made_sessions import STARTED, Made
from model_sessions import SUBMIT, Sessions
from openai_server import OpenAIServer, answer_as, hang, once

from trajmake import files
from trajmake.live import gpus, last_answer, plain, terminal, words
from trajmake.live.picture import SIGNS, Cell, Gpu, Model, Picture, Running
from trajmake.live.reader import Reader
from trajmake.llm.scripted import ScriptedProvider
from trajmake.llm.spending import Spent
from trajmake.reports import texts
from trajmake.reports.session import SessionRuns
from trajmake.sessions import drive, layout, locks, status
from trajmake.sessions.found import Outputs

WATCH = [sys.executable, "-c", "from trajmake.cli import main; main()", "watch"]


@pytest.fixture
def made(tmp_path) -> Made:
    """A session in which everything happened; nobody drives it."""
    made = Made(tmp_path)
    made.session("s", usd=3.5)
    made.run("s", "a", "one", True)
    made.run("s", "a", "two", False)
    made.run("s", "a", "three", True, exit_status="time_limit")
    made.fault("s", "a", "four")
    made.run("s", "a", "five", False, exit_status="no_prediction", patch="")
    made.run("s", "b", "one", judged=False)
    made.place(layout.INSTANCE, "s", "b", "two").mkdir(parents=True)
    line = status.StatusLine(status.Status.IN_PROGRESS, int(STARTED))
    status.write(made.place(layout.STATUS, "s", "b", "two"), line)
    made.drive("s", ["b", "a"], ["one", "two", "three", "four", "five"], 5.0)
    return made


def reader(made: Made) -> Reader:
    return Reader(Outputs(made.root), "s")


@contextlib.contextmanager
def driven(made: Made) -> Iterator[None]:
    with locks.claim(made.root / layout.LOCK.format(session="s")):
        yield


def states(picture: Picture) -> dict[str, list[str | None]]:
    return {model.name: [cell.state if cell else None for cell in model.cells] for model in picture.models}


def test_every_run_has_its_cell(made):
    """In the order of the drive, each state another one: a fault of the machine is no unresolved bug."""
    with made.working("s", "b", "three"):
        picture = reader(made).picture()
    assert list(picture.instances) == ["one", "two", "three", "four", "five"]
    assert states(picture) == {
        "b": ["testing", "stale", "running", "pending", "pending"],
        "a": ["resolved", "unresolved", "timeout", "fault", "missing"],
    }
    assert len(set(SIGNS.values())) == len(SIGNS)
    assert (picture.ended, picture.total, picture.resolved, picture.judged) == (5, 10, 2, 4)
    assert picture.phase == "stopped" and picture.spent.usd == 3.5 and picture.budget_usd == 5.0


def test_what_changes_is_seen_and_what_does_not_is_not_read_again(made, monkeypatch):
    look = reader(made)
    look.picture()
    read = []
    original = files.read_json
    monkeypatch.setattr(files, "read_json", lambda path: read.append(Path(path).name) or original(path))
    assert states(look.picture())["a"][1] == "unresolved"
    assert "outcome.json" not in read
    made.run("s", "a", "two", True)
    made.run("s", "b", "four", False)
    picture = look.picture()
    assert states(picture)["a"][1] == "resolved" and states(picture)["b"][3] == "unresolved"
    assert read.count("outcome.json") == 2
    made.place(layout.EVALUATION, "s", "a", "two").joinpath("outcome.json").unlink()
    assert states(look.picture())["a"][1] == "testing"


def test_what_runs_is_said_with_step_and_command(made):
    look = reader(made)
    with made.working("s", "b", "three"):
        assert look.picture().running[0].step == 0
        made.step("s", "b", "three", 1, "ls -la\nmake test")
        run = look.picture().running[0]
        assert (run.model, run.instance, run.step, run.command) == ("b", "three", 1, "ls -la make test")
        assert abs(run.since - time.time()) < 10
        made.step("s", "b", "three", 2, "x" * 200_000)  # the answer begins before the part that is read first
        run = look.picture().running[0]
        assert run.step == 2 and run.command == "x" * 200_000
        assert look.picture().running[0] == run
    made.run("s", "b", "three", True)
    assert look.picture().running == []


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"content": "I am\ndone."}, "I am done."),
        ({"content": [{"type": "text", "text": "Well."}]}, "Well."),
        ({"content": None}, ""),
        ({"tool_calls": [{"function": {"name": "think", "arguments": '{"thought": "Hm."}'}}]}, "think Hm."),
        ({"tool_calls": [{"function": {"name": "bash", "arguments": "{broken"}}]}, "bash {broken"),
        ({"tool_calls": [{"function": None}, 7], "content": "So."}, "So."),
        (
            {"tool_calls": [{"function": {"name": "file_editor", "arguments": '{"command": "view", "path": "/a"}'}}]},
            "file_editor view /a",
        ),
    ],
)
def test_any_answer_can_be_told_in_a_line(message, said):
    assert last_answer.asked_for(message) == said


def test_an_answer_is_found_at_the_end_of_its_file_whatever_stands_before(tmp_path):
    fake = '\n  "message": {"content": "fake"}'
    entry = {"messages": [{"role": "user", "content": fake * 3000}], "tools": [], "message": {"content": "real"}}
    files.write_json(tmp_path / "1.json", entry | {"model": fake})
    assert last_answer.read(tmp_path / "1.json") == {"content": "real"}
    files.write_json(tmp_path / "2.json", entry, indent=None)
    assert last_answer.read(tmp_path / "2.json") == {"content": "real"}
    (tmp_path / "3.json").write_text('{\n  "message": {"con')
    assert last_answer.read(tmp_path / "3.json") == last_answer.read(tmp_path / "none.json") == {}


def drawn(count: int, models: int = 1, running: int = 0, **facts) -> Picture:
    """A picture of so many runs, every third one pending."""
    kinds = ["resolved", "unresolved", "pending"]
    rows = [Model(f"model-{n}", [Cell(kinds[i % 3], ended=1000.0 + i) for i in range(count)]) for n in range(models)]
    at_work = [Running("model-0", f"at-work-{n}", 990.0, 3, "make\x1b[2Jtest") for n in range(running)]
    names = [f"i{n}" for n in range(count)]
    defaults = {"session": "s", "at": 1900.0, "driver": "process 1 on host", "started": 1000.0, "spent": Spent(1.0, 3)}
    return Picture(**defaults | {"instances": names, "models": rows, "running": at_work} | facts)


def test_time_left_is_estimated_from_what_ended_or_not_at_all():
    assert drawn(3).rate is None and drawn(3).seconds_left is None  # two have ended: that says nothing
    picture = drawn(300)  # 200 ended in 900 s, 100 are left
    assert picture.rate == pytest.approx(800) and picture.seconds_left == pytest.approx(450)
    assert words.left(picture) == "about 8 min"
    assert drawn(300, driver="").seconds_left is None
    assert drawn(300, started=1850.0).rate is None  # ended before this drive: no sign of its pace


@pytest.mark.parametrize("seconds, said", [(42, "42 s"), (170, "3 min"), (7800, "2 h 10 min"), (273600, "3 d 4 h")])
def test_durations_are_said_shortly(seconds, said):
    assert words.duration(seconds) == said


SIZES = [(5, 2, 80, 24), (300, 1, 80, 24), (300, 4, 100, 30), (2300, 4, 80, 24), (2300, 4, 200, 60)]


@pytest.mark.parametrize("count, models, width, height", SIZES)
def test_the_view_fits_the_terminal(count, models, width, height):
    """Wrapped, then folded: every model is there, and what runs."""
    lines = terminal.view(drawn(count, models, running=40), width, height).plain.split("\n")
    assert len(lines) <= height and max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert all(f"model-{number} " in text for number in range(models))
    more = re.search(r"and (\d+) more", text)
    assert text.count("at-work-") == 40 - int(more[1] if more else 0) > 0
    third = sum(kind == 0 for kind in (n % 3 for n in range(count))) * models
    assert f"✓ {third} resolved" in text and "\x1b" not in text and "make\\x1b[2Jtest" in text
    if count * models <= 300:
        assert sum(line.count("✓") for line in lines) >= third


def test_no_agent_speaks_to_the_terminal_of_who_reads_the_report():
    report = words.progress_report(drawn(3, running=1))
    assert "step 3: make\\x1b[2Jtest\n" in report and "\x1b" not in report


def test_a_small_session_is_drawn_cell_by_cell():
    lines = terminal.view(drawn(6, 2), 80, 24).plain.split("\n")
    assert "model-0  ✓✗·✓✗·" in lines and "model-1  ✓✗·✓✗·" in lines


def test_a_terminal_shows_it_until_the_session_is_complete(made):
    """In a real terminal, on its alternate screen; what was seen last stays, and the process ends by itself."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    shown = bytearray()
    with driven(made):
        command = [*WATCH, "--interval", "0.2", "--configfile", str(made.configfile)]
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=os.environ | {"TERM": "xterm"})
        os.close(slave)
        drained = threading.Thread(target=drain, args=(master, shown), daemon=True)
        drained.start()
        until(lambda: "✓✗⏱!-" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode(errors="ignore")))
        finish(made)
        until(lambda: shown.decode(errors="ignore").count("10 of 10 runs") > 0)
        assert process.poll() is None  # the driver has its summaries to make
    assert process.wait(timeout=30) == 0
    drained.join(30)
    end = shown.decode()
    assert "\x1b[?1049h" in end and "\x1b[?1049l" in end
    assert "complete" in end.rsplit("\x1b[?1049l")[1]


def finish(made: Made) -> None:
    for model, name in (("a", "four"), ("b", "one"), ("b", "two"), ("b", "three"), ("b", "four"), ("b", "five")):
        made.run("s", model, name, True)


def drain(master: int, shown: bytearray) -> None:
    with contextlib.suppress(OSError):  # how the other end says that it is gone
        while data := os.read(master, 4096):
            shown.extend(data)


def until(met, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def test_ctrl_c_ends_it_quietly(made):
    with driven(made):
        command = [*WATCH, "--interval", "0.2", "--configfile", str(made.configfile)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "5 of 10 runs" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[1] == "" and process.returncode == 0


def test_what_is_left_or_met_a_fault_is_no_success(made):
    done = made.call("watch", "--session-id", "s")
    assert done.exit_code == 1 and "5 runs have not ended: the same command goes on" in done.output
    finish(made)
    assert made.call("watch").exit_code == 0
    made.fault("s", "a", "one")
    done = made.call("watch")
    assert done.exit_code == 1 and "1 runs met a fault of the machine" in done.output


def test_once_shows_the_whole_picture(made):
    done = made.call("watch", "--once")
    assert done.exit_code == 0 and "  ✓✗⏱!-\n" in done.output and "Ended: 5 of 10 runs (50.00%)" in done.output
    shown = json.loads(made.call("watch", "--once", "--json").stdout)
    assert shown["counts"] == {
        "resolved": 1, "unresolved": 1, "timeout": 1, "fault": 1, "missing": 1, "testing": 1, "stale": 1, "pending": 3,
    }  # fmt: skip
    assert shown["models"][1]["states"] == ["resolved", "unresolved", "timeout", "fault", "missing"]
    assert (shown["phase"], shown["spent_usd"], shown["budget_usd"], shown["runs_per_hour"]) == (
        "stopped",
        3.5,
        5,
        None,
    )


def test_lines_tell_what_has_changed(made):
    look = reader(made)
    before = look.picture()
    assert list(plain.changes(before, look.picture()))[:-1] == []
    made.run("s", "b", "four", False, seconds=61)
    lines = list(plain.changes(before, look.picture()))
    assert lines[0].endswith("✗ b/four: unresolved, after 61 s, 3 steps, 0.5000 USD") and "6 of 10 runs" in lines[1]


def test_a_driver_on_another_host_is_believed_while_its_heart_beats(made):
    lock = made.root / layout.LOCK.format(session="s")
    lock.write_text("process 7 on elsewhere\n")
    assert reader(made).picture().driver == "process 7 on elsewhere"
    beat = drive.heartbeat(made.root, "s")
    os.utime(beat, (STARTED, STARTED))
    assert reader(made).picture().driver == ""
    os.utime(beat)
    drive.end(made.root, "s")
    assert reader(made).picture().driver == ""


# --- GPUs: what a real nvidia-smi prints for this query

TWO = """GPU-6f0c-1, 0, NVIDIA A100-SXM4-80GB, 87, 71234, 81920
GPU-6f0c-2, 1, NVIDIA A100-SXM4-80GB, 13, 1024, 81920
"""
OLD = "GPU-aa, 0, Tesla K20Xm, [N/A], [Not Supported], 5699\n"


@pytest.fixture
def smi(tmp_path, monkeypatch) -> Path:
    """A program of that name on PATH; what it prints is a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"
    asked = "--query-gpu=uuid,index,name,utilization.gpu,memory.used,memory.total --format=csv,noheader,nounits"
    program.write_text(f'#!/bin/sh\n[ "$*" = "{asked}" ] || exit 2\n. "$(dirname "$0")/answer"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    answer(folder / "answer", TWO)
    return folder / "answer"


def answer(place: Path, text: str) -> None:
    place.write_text(f"cat <<'EOF'\n{text}EOF\n")


def test_gpus_are_sampled_while_agents_work(smi, tmp_path):
    place = tmp_path / "gpus.json"
    assert gpus.sample(place, counts=True)
    answer(smi, TWO.replace(" 87,", " 43,"))
    gpus.sample(place, counts=True)
    answer(smi, TWO.replace(" 87,", " 0,"))
    gpus.sample(place, counts=False)  # idle time is no load of this session
    lines = list(map(texts.gpu, gpus.summary(place)))
    assert re.sub(r"\(.*?\)", "(host)", lines[0]) == (
        "0 NVIDIA A100-SXM4-80GB (host): mean 65%, peak 87%, memory up to 69.6 of 80.0 GiB; 2 samples"
    )
    assert lines[1].startswith("1 NVIDIA") and "mean 13%" in lines[1]
    assert files.read_json(place)["now"][0]["percent"] == 0
    report = texts.final_report(SessionRuns("s", "rows", [], gpus=gpus.summary(place)))
    assert f"\n  {lines[1]}\n" in report and "GPU" not in texts.final_report(SessionRuns("s", "rows", []))


def test_gpus_that_tell_little_and_programs_that_fail_are_no_trouble(smi, tmp_path, monkeypatch):
    answer(smi, OLD)
    assert [load.gpu for load in gpus.query()] == [Gpu("0 Tesla K20Xm", None, None, 5699.0)]
    assert words.gpu(gpus.query()[0].gpu) == "GPU 0 Tesla K20Xm: ?"
    place = tmp_path / "gpus.json"
    assert gpus.sample(place, counts=True) and gpus.summary(place) == []
    smi.write_text("echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9\n")
    assert gpus.query() == []
    smi.write_text("sleep 30\n")
    monkeypatch.setattr(gpus, "_TIMEOUT", 0.3)
    assert gpus.query() == []
    monkeypatch.setenv("PATH", "/nowhere")
    place.unlink()
    assert not gpus.sample(place, counts=True) and not place.exists() and gpus.summary(place) == []


def test_gpus_are_in_the_picture_while_they_are_heard_of(made, smi):
    place = made.root / layout.GPUS.format(session="s")
    gpus.sample(place, counts=True)
    assert [load.percent for load in reader(made).picture().gpus] == [87, 13]
    assert "GPU 0 NVIDIA A100-SXM4-80GB: 87%, 69.6 of 80.0 GiB" in made.call("watch", "--once").output
    files.write_json(place, files.read_json(place) | {"at": time.time() - 100})
    assert reader(made).picture().gpus == []


# --- a session that really runs


def test_a_real_run_is_watched_to_its_end(tmp_path: Path, store: Path, smi):
    """The report is kept up without anybody watching, the watcher ends with the session, and both tell the truth.

    The agents get no answer before somebody watches and the GPUs were sampled: they work for that long.
    """
    script = tmp_path / "script.yaml"
    script.write_text(yaml.safe_dump([{"commands": ["echo 1 > value"]}, {"commands": [SUBMIT]}]))
    solve = answer_as(ScriptedProvider(script, model="loopback-1"))
    watched, outputs = tmp_path / "watch.out", tmp_path / "project/outputs"
    sampled = outputs / layout.GPUS.format(session="live")
    ready = once(lambda: watched.exists() and watched.stat().st_size and gpus.summary(sampled), solve)
    with OpenAIServer(ready) as server:
        sessions = Sessions.make(tmp_path, store, server.url, count=2)
        sessions.configure(session="live", engine="namespace", limits={"session_usd": 5})
        root, environ = sessions.project.root, sessions.project.environment()
        with sessions.project.started(sessions.project.command("-j", "2", "--profile", "hybrid")) as run:
            report = outputs / "results/live/progress_report.txt"
            until(report.exists, 120)
            assert "State: running, driven by process" in report.read_text()
            with watched.open("w") as lines, (tmp_path / "watch.err").open("w") as errors:
                command = [*WATCH, "--interval", "0.2"]
                done = subprocess.run(command, cwd=root, env=environ, stdout=lines, stderr=errors, timeout=300)
            assert run.wait(timeout=120) == 0, (root / "run.log").read_text()
    assert (done.returncode, (tmp_path / "watch.err").read_text()) == (0, "")
    lines = watched.read_text().splitlines()
    assert lines[-1].endswith("session live: complete")
    for row in sessions.rows:
        name = row["instance_id"]
        outcome = sessions.project.outcome("served", name, "live")
        assert outcome["resolved"] is True and outcome["steps"] == 2
        assert any(f" ✓ served/{name}: " in line and "2 steps" in line for line in lines)
    text = report.read_text()
    assert "State: complete" in text and "Ended: 2 of 2 runs (100.00%)" in text and " of 5 USD" in text
    final = (outputs / "results/live/final_report.txt").read_text()
    assert "0 NVIDIA A100-SXM4-80GB" in final and "peak 87%" in final


def test_the_report_is_right_after_ctrl_c(tmp_path: Path, store: Path):
    """In the middle of a request that is never answered."""
    with OpenAIServer(hang()) as server:
        sessions = Sessions.make(tmp_path, store, server.url, count=2)
        sessions.configure(session="cut", engine="namespace")
        with sessions.project.started(sessions.project.command("-j", "1", "--profile", "hybrid")) as run:
            report = sessions.project.root / "outputs/results/cut/progress_report.txt"
            until(lambda: report.exists() and "▶ 1 running" in report.read_text(), 180)
            until(lambda: server.requests, 60)
            os.killpg(run.pid, signal.SIGINT)
            assert run.wait(timeout=120) != 0
    text = report.read_text()
    assert "State: not driven by anybody; 2 runs have not ended" in text and "Ended: 0 of 2 runs" in text
    assert "running" not in text.split("Runs:")[1].split("\n")[0]

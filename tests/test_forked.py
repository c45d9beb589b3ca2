"""Jobs forked off a server: as alone as processes of their own, and told apart from it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trajmake.stages import forked
from trajmake.stages.forked import run


def config_of(folder: Path) -> dict:
    """Of a session without an image that was ever loaded."""
    catalog = {name: {"agent": name} for name in ("gold", "empty")}
    return {"dataset": "d", "models": ["gold"], "catalog": catalog, "output_dir": str(folder), "engine": "fake"}


def release(folder: Path, name: str) -> Path:
    """Release an image that was never loaded, in a job."""
    record = folder / f"{name}.json"
    run("release_image", config_of(folder), image=name, record=record, log=folder / f"{name}.log")
    return record


def test_jobs_run_side_by_side_out_of_threads(tmp_path: Path) -> None:
    """As Snakemake runs them; each writes its own files."""
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda number: release(tmp_path, f"image-{number}"), range(12)))
    assert {json.loads(path.read_text())["why"] for path in records} == {"was never loaded"}


def test_a_stage_that_cannot_begin_fails_its_job(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong configuration is no fault record; Snakemake must see the failure, and a person the reason."""
    monkeypatch.setattr(forked, "_servers", [])  # a server of this test's stderr
    with pytest.raises(ChildProcessError, match="release_image ended with exit code 1"):
        run("release_image", {"nonsense": 1}, image="i", record=tmp_path / "r", log=tmp_path / "l")
    assert "nonsense" in capfd.readouterr().err
    assert release(tmp_path, "the-next").exists()


def test_a_killed_job_is_told_and_the_server_replaced(tmp_path: Path) -> None:
    """The kernel's out-of-memory killer takes a job, or the server: neither may pass for success or hang."""
    release(tmp_path, "first")
    server = forked._servers[-1][0]
    lock = tmp_path / "images/.i.lock"  # held by us, so that the job waits
    script = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); time.sleep(60)"
    lock.parent.mkdir()
    with subprocess.Popen([sys.executable, "-c", script, lock], stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        with ThreadPoolExecutor(1) as pool:
            names = {"uri": "s3://b/i.tar", "tarball": tmp_path / "i.tar", "log": tmp_path / "l"}
            job = pool.submit(run, "fetch_image", config_of(tmp_path) | {"dataset": str(rows(tmp_path))}, **names)
            while not (tmp_path / "l").exists():  # the job before has ended by then, or is about to
                time.sleep(0.01)
            os.kill(child_of(server.pid), signal.SIGKILL)
            with pytest.raises(ChildProcessError, match="fetch_image was killed"):
                job.result(timeout=20)
        holder.kill()
    server.kill()
    server.wait()
    assert release(tmp_path, "after").exists()


def test_the_server_ends_with_its_process(tmp_path: Path) -> None:
    """Also with one that is killed outright."""
    script = f"""
        import os
        from trajmake.stages import forked
        forked.run("release_image", {config_of(tmp_path)!r}, image="i", record="r", log="l")
        print(forked._servers[0][0].pid, flush=True)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=False
    )
    until(lambda: not Path(f"/proc/{int(done.stdout)}").exists())


@contextlib.contextmanager
def waiting_job(tmp_path: Path, before: str = "") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A driver in a process group of its own, and the job that it waits for."""
    lock = tmp_path / "images/.i.lock"
    lock.parent.mkdir()
    config = config_of(tmp_path) | {"dataset": str(rows(tmp_path))}
    script = f"""
        {before}
        from trajmake.stages import forked
        forked.run("fetch_image", {config!r}, uri="s3://b/i.tar", tarball={str(tmp_path / "i.tar")!r}, log="l")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        driver = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL)
        until(lambda: (tmp_path / "l").exists())
        server = int(Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text())
        yield driver, child_of(server)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_reaches_the_job(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C in a terminal, and what schedulers send: nothing of the group stays, and nothing is half made."""
    with waiting_job(tmp_path) as (driver, job):
        assert Path(f"/proc/{job}/comm").read_text() == "fetch_image\n"
        os.killpg(driver.pid, number)
        assert driver.wait(timeout=20) != 0
        until(lambda: not living(driver.pid))
    assert not (tmp_path / "i.tar").exists()


def test_what_the_driver_ignores_its_jobs_ignore(tmp_path: Path) -> None:
    """A script that puts a run into the background has Ctrl-C ignored in it; jobs alone must not end by it."""
    with waiting_job(tmp_path, "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)") as (driver, job):
        os.killpg(driver.pid, signal.SIGINT)
        told = Path(f"/proc/{job}/status").read_text()
        assert int(told.partition("SigIgn:")[2].split()[0], 16) & 1 << signal.SIGINT - 1
        time.sleep(0.5)  # who does not ignore it takes a moment to end
        assert len(living(driver.pid)) == 3


def living(group: int) -> list[str]:
    """The processes of a group; those that only wait to be looked at have ended."""
    told = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = [line.split(maxsplit=2) for line in told.splitlines()]
    return [args for of, state, args in found if int(of) == group and not state.startswith("Z")]


def until(true: Callable[[], bool]) -> None:
    """Wait for it, a minute at most."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_a_job_leaves_to_its_end_is_done() -> None:
    """podman's service is stopped at the interpreter's exit, which a forked process does not come to."""
    script = """
        import atexit, os, sys, types
        from trajmake.stages import forked
        stage = lambda config: atexit.register(print, "stopped", flush=True)
        sys.modules["made"] = types.SimpleNamespace(stage=stage)
        os._exit(forked._work("made", "stage", {}, {}))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout == "stopped\n"


def test_an_interrupted_job_says_nothing() -> None:
    """Ctrl-C reaches every job; a traceback of each would hide what the run has to say at its end."""
    script = """
        import sys, types
        from trajmake.stages import forked
        def stage(config):
            raise KeyboardInterrupt
        sys.modules["made"] = types.SimpleNamespace(stage=stage)
        sys.exit(forked._work("made", "stage", {}, {}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def rows(folder: Path) -> Path:
    """A dataset that is not there but by its name: the job waits before it looks."""
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({"instance_id": "i", "image_storage_uri": "s3://b/i.tar"}) + "\n")
    return path


def child_of(pid: int) -> int:
    """The one job that the server has forked and that lives."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        living = []
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    living.append(int(child))
        if len(living) == 1:
            return living[0]
        time.sleep(0.01)
    raise AssertionError("no job")

"""What lies on disk about a session: names, statuses, faults, locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from trajmake import files
from trajmake.errors import ClaimedError, DiskFullError, KeyMissingError, OutOfMemoryError
from trajmake.outcomes import Status
from trajmake.sessions import faults, layout, locks, status, turns
from trajmake.sessions.status import StatusLine
from trajmake.stages.boundary import Stage, log_to


@pytest.mark.parametrize("name", ["12155_1", "owner__repo.pr_1", "a/b", "..", ".hidden", "é ü", "a%2Fb", "x" * 200])
def test_any_id_is_a_file_name_and_comes_back(name):
    safe = layout.safe_name(name)
    assert "/" not in safe and not safe.startswith(".") and safe.isascii()
    assert layout.original_name(safe) == name


@pytest.mark.parametrize("name", ["", "x" * 201, "é" * 100])
def test_a_hostile_id_is_refused(name):
    with pytest.raises(ValueError, match="file name"):
        layout.safe_name(name)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://bucket/dir/owner_repo-abc.tar", "owner_repo-abc"),
        ("registry.example/path/owner_repo:abc", "owner_repo-abc"),
        ("owner_repo:abc", "owner_repo-abc"),
        ("/data/x.tar.gz", "x"),
    ],
)
def test_an_image_is_named_after_the_last_part_of_its_address(uri, name):
    assert layout.image_name(uri) == name


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (StatusLine(Status.IN_PROGRESS, 17), "IN_PROGRESS|17\n"),
        (StatusLine(Status.SUCCESS, 17, 4), "SUCCESS|17|4\n"),
        (StatusLine(Status.FAILED, 17, 4, 5), "FAILED|17|4|5\n"),
        (StatusLine(Status.TIMEOUT, 17, 4), "TIMEOUT|17|4\n"),
    ],
)
def test_status_files_have_the_documented_form(tmp_path, line, text):
    path = tmp_path / "m_i.status"
    status.write(path, line)
    assert path.read_text() == text
    assert status.read(path) == line
    assert status.read(tmp_path / "none") is None


def stage(tmp_path):
    return Stage("generate", "m i", tmp_path / "log", tmp_path / "faults.jsonl", tmp_path / "away")


def test_a_fault_becomes_a_record_a_count_and_a_message(tmp_path, capsys):
    """What the machine did wrong stands in the place of the output; the traceback is in the log alone."""
    out = tmp_path / "out.json"

    def work():
        raise KeyMissingError("The key of opus is not set.", "export OPUS_KEY=...")

    for attempt in (1, 2):
        stage(tmp_path).run(work, lambda fault: files.write_json(out, faults.as_record(fault)))
        fault = faults.of(files.read_json(out))
        assert (fault.stage, fault.reason, fault.exit_code, fault.attempt) == ("generate", "key_missing", 8, attempt)
        assert faults.count(tmp_path / "faults.jsonl") == attempt
    said = capsys.readouterr().err
    assert "The key of opus is not set.\nHint: export" in said and "Traceback" not in said
    assert "Traceback" in (tmp_path / "log").read_text()


def test_no_log_holds_a_key(tmp_path, monkeypatch):
    """Providers echo keys in their error pages, and tracebacks hold those."""
    monkeypatch.setenv("SOME_API_KEY", "sk-0123456789")

    def work():
        raise RuntimeError("401 for sk-0123456789")

    stage(tmp_path).run(work, lambda fault: None)
    text = (tmp_path / "log").read_text()
    assert "401 for **********" in text and "sk-0123456789" not in text


def test_a_carried_fault_keeps_its_first_stage_and_is_counted_here_too(tmp_path, capsys):
    """Markers are `ancient`: only its own count tells a later stage that it must be repeated."""
    first = faults.Fault("load_image", "image_broken", "Truncated.", "", 4, 1)
    seen = []
    stage(tmp_path).run(lambda: faults.check(faults.as_record(first)), seen.append)
    assert seen == [first]
    assert faults.count(tmp_path / "faults.jsonl") == 1
    assert capsys.readouterr().err == ""


def test_an_unexpected_exception_leaves_a_state_too(tmp_path):
    seen = []
    stage(tmp_path).run(lambda: {}["gone"], seen.append)
    assert seen[0].reason == "internal" and "KeyError" in seen[0].message and "test_sessions.py" in seen[0].message


def test_a_tarball_is_not_mistaken_for_a_record(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(b"\0" * 1024)
    faults.check_file(path)
    fault = faults.Fault("fetch_image", "image_missing", "None.", "", 4, 1)
    files.write_json(path, faults.as_record(fault))
    with pytest.raises(faults.CarriedFault):
        faults.check_file(path)


HOLD = """
import sys, time
from trajmake.sessions import locks
locks.drive(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_a_session_has_one_driver_and_its_lock_dies_with_it(tmp_path):
    lock = tmp_path / ".driver.lock"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ClaimedError, match=f"process {other.pid}"):
            locks.drive(lock)
        with pytest.raises(ClaimedError), locks.claim(lock, patience=0.1):
            pass
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    with locks.claim(lock, patience=5):
        pass


def removed(lock, holder=None):
    """Remove a session's folder as `trajmake clean` does; another begins in its place if there is to be a holder."""
    with locks.claim(lock):
        shutil.rmtree(lock.parent)
    if holder:
        holder.enter_context(locks.claim(lock))


@pytest.mark.parametrize(("module", "name"), [(locks, "_open"), (turns, "take")])
def test_a_lock_that_was_removed_while_it_was_taken_is_made_anew(tmp_path, monkeypatch, module, name):
    """`clean` between the opening and the locking; or on a host that sees no locks of ours, after it."""
    lock = tmp_path / "s" / ".driver.lock"
    step = getattr(module, name)

    def then_removed(*arguments):
        found = step(*arguments)
        monkeypatch.undo()
        shutil.rmtree(lock.parent)
        return found

    monkeypatch.setattr(module, name, then_removed)
    with locks.claim(lock) as turn:
        assert locks.held(lock) and not turn.lost and locks.signature(lock).startswith(f"process {os.getpid()} ")
        with pytest.raises(ClaimedError), locks.claim(lock):
            pass


def test_no_two_drivers_where_the_lock_was_removed_and_made_anew_meanwhile(tmp_path, monkeypatch):
    """One has opened the old file, another holds the new one; also who only looks at it sees that."""
    lock = tmp_path / "s" / ".driver.lock"
    opened, locked = locks._open, fcntl.flock
    for what in (locks.drive, lambda lock: locks.claim(lock).__enter__()):
        with contextlib.ExitStack() as holder:

            def remade(path, holder=holder):
                stream = opened(path)
                monkeypatch.setattr(locks, "_open", opened)
                removed(lock, holder)
                return stream

            monkeypatch.setattr(locks, "_open", remade)
            with pytest.raises(ClaimedError, match=f"process {os.getpid()} on "):
                what(lock)
    with contextlib.ExitStack() as holder:

        def locked_late(*arguments):
            monkeypatch.setattr(fcntl, "flock", locked)
            removed(lock, holder)
            locked(*arguments)

        monkeypatch.setattr(fcntl, "flock", locked_late)
        assert locks.held(lock)
    assert not locks.held(lock)
    removed(lock)
    assert not locks.held(lock)


def test_who_only_looks_at_a_lock_passes_for_no_holder(tmp_path, monkeypatch):
    """`trajmake watch` beside `pull` or `clean`, which wait for nobody else."""
    lock = tmp_path / ".driver.lock"
    with locks.claim(lock):
        pass
    looking = os.open(lock, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    looks = [looking]
    monkeypatch.setattr(locks, "_PROBE_SECONDS", 60)
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: os.close(looks.pop()))
    with locks.claim(lock):
        assert not looks


def test_a_driver_whose_lock_was_removed_is_none(tmp_path):
    """Another's file under the same name is not ours."""
    code = (
        "import os, sys; from trajmake.sessions import locks; lock = sys.argv[1]\n"
        "locks.drive(lock); print(locks.drives(lock)); os.rename(lock, lock + '.old'); print(locks.drives(lock))\n"
        "open(lock, 'w').close(); print(locks.drives(lock))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert done.stdout.split() == ["True", "False", "False"]


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "a" / "x.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic(path) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["x.txt"]


def test_json_comes_back_as_it_was_even_with_half_a_surrogate_pair(tmp_path):
    """Terminal output cut in the middle of a character ends up in records."""
    value = {"text": "caf\u00e9 \ud83d \udcff"}
    files.write_json(tmp_path / "x.json", value, indent=None)
    assert files.read_json(tmp_path / "x.json") == value
    assert (tmp_path / "x.json").read_bytes().count(b"\n") == 1


def test_a_job_without_memory_is_a_fault_of_the_machine(tmp_path):
    """A real one: its address space is bounded. Neither a defect of ours nor the model's failure."""
    code = (
        "import resource, sys; from trajmake.stages.boundary import log_to\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "with log_to(sys.argv[1]): bytes(1 << 32)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "log"], capture_output=True, text=True, check=False)
    assert done.returncode == OutOfMemoryError.exit_code
    assert "own process got no memory" in done.stderr and "Hint:" in done.stderr and "Traceback" not in done.stderr
    assert "MemoryError" in (tmp_path / "log").read_text()


def test_stages_that_share_a_process_have_a_log_each(tmp_path):
    """`grade` runs in threads of one process: a log holds its own job's lines, and no fault leaves as SystemExit."""
    both = threading.Barrier(2, timeout=30)

    def job(name: str) -> None:
        with log_to(tmp_path / name):
            both.wait()
            logging.getLogger("trajmake.stages").info("line of %s", name)
            both.wait()
            raise OSError(errno.ENOSPC, "No space left on device", "some file")

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(job, name) for name in ("one", "two")]
    errors = [done.exception() for done in jobs]
    assert [type(error) for error in errors] == [DiskFullError, DiskFullError]
    for name, other in (("one", "two"), ("two", "one")):
        text = (tmp_path / name).read_text()
        assert f"line of {name}" in text and f"line of {other}" not in text

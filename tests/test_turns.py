"""Claims of hosts that do not see each other's locks: two mounts of one folder, as two hosts have of a share."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trajmake.errors import ClaimedError
from trajmake.sessions import locks, turns

ROOT = Path(__file__).parent.parent
SILENT = 3.0
# $1: the shared folder; a boot id of its own makes the process one of another host.
ON_A_HOST = """
boot=$(mktemp "$1.boot.XXXXXX"); cat /proc/sys/kernel/random/uuid >"$boot"
mount --bind "$boot" /proc/sys/kernel/random/boot_id && bindfs -f "$1" "$1" & fuse=$!
until grep -q " $1 fuse" /proc/mounts; do sleep 0.05; done
shift; "$@"; code=$?; kill $fuse; exit $code
"""
WORK = f"""
import os, sys, time
sys.path[:0] = [{str(ROOT)!r}]
from trajmake.sessions import locks
seconds, silent, what = float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
with locks.claim(sys.argv[1], patience=60, silent=silent) as turn:
    print("held", flush=True)
    if what == "freeze":
        sys.stdin.readline()
        print("lost" if turn.lost else "mine", flush=True)
    if what == "work":
        log = os.open(sys.argv[1] + "-log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(log, b"+")
        time.sleep(seconds)
        os.write(log, b"-")
    if what == "die":
        os._exit(9)
"""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder for hosts to share."""
    if os.geteuid() != 0 or not shutil.which("bindfs") or not Path("/dev/fuse").exists():
        pytest.skip("mounts of one folder without common locks need root, bindfs and /dev/fuse")
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@contextlib.contextmanager
def elsewhere(shared: Path, what: str, seconds: float = 0, silent: float = SILENT) -> Iterator[subprocess.Popen[str]]:
    """A process on another host."""
    worker = [sys.executable, "-c", WORK, str(shared / ".claim"), str(seconds), str(silent), what]
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += ["sh", "-c", ON_A_HOST, "sh", str(shared), *worker]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def test_hosts_take_turns_where_they_see_no_locks(shared: Path) -> None:
    """Six hosts want the same run at the same time: never two at work."""

    def one(number: int) -> int:
        with elsewhere(shared, "work", 0.1, silent=60) as process:  # nobody dies here
            return process.wait(timeout=120)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(one, range(6))) == [0] * 6
    assert (shared / ".claim-log").read_text() == "+-" * 6
    assert sorted(path.name for path in shared.iterdir()) == [".claim", ".claim-log", ".claim.6"]


def test_a_living_host_is_waited_for_and_a_dead_one_taken_for_dead(shared: Path) -> None:
    """A machine that lost its power cannot say that it is gone; one that works may not be robbed."""
    with elsewhere(shared, "freeze") as process:
        assert process.stdout.readline() == "held\n"
        time.sleep(1.5 * SILENT)
        assert locks.held(shared / ".claim")
        with pytest.raises(ClaimedError), locks.claim(shared / ".claim", silent=SILENT):
            pass
        with pytest.raises(ClaimedError, match="driven already"):
            locks.drive(shared / ".claim", SILENT)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "mine\n"
        assert process.wait(timeout=30) == 0
    with locks.claim(shared / ".claim", silent=SILENT):
        pass
    with elsewhere(shared, "die") as process:
        assert process.wait(timeout=30) == 9
    beat = max(path.stat().st_mtime for path in shared.glob(".claim.*"))
    with locks.claim(shared / ".claim", patience=60, silent=SILENT):
        assert time.time() - beat >= SILENT - 0.1


def test_a_host_that_was_silent_learns_that_it_lost_its_turn(shared: Path) -> None:
    """A machine that was suspended wakes up and would go on buying answers."""
    with elsewhere(shared, "freeze") as process:
        assert process.stdout.readline() == "held\n"
        inside = [int(pid) for pid in _descendants(process.pid)]
        for pid in inside:
            os.kill(pid, 19)
        with locks.claim(shared / ".claim", patience=60, silent=SILENT) as turn:
            for pid in inside:
                os.kill(pid, 18)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "lost\n"
            assert process.wait(timeout=30) == 0
            turn.check()


def test_a_lost_turn_is_an_error_before_anything_is_bought(tmp_path: Path) -> None:
    with locks.claim(tmp_path / ".claim") as turn:
        turn.check()
        (tmp_path / f".claim.{turn.number + 1}").write_text("{}")
        assert turn.lost
        with pytest.raises(ClaimedError, match="another process took over"):
            turn.check()


def test_ages_are_taken_by_the_clock_of_the_file_system(tmp_path: Path) -> None:
    """A host whose clock is an hour wrong takes nobody for dead, and none for living."""
    (tmp_path / ".claim.1").write_text('{"host": "other", "boot": "other", "pid": 1}')
    assert turns.living(tmp_path / ".claim", SILENT)
    now = (tmp_path / ".claim.1").stat().st_mtime
    os.utime(tmp_path / ".claim.1", (now - 2 * SILENT,) * 2)
    assert not turns.living(tmp_path / ".claim", SILENT)


def _descendants(pid: int) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    workers = [child for child in children for child in (child, *_descendants(int(child)))]
    return [child for child in workers if "python" in Path(f"/proc/{child}/comm").read_text()]

"""One conformance suite for every engine that is present, and what is particular to each.

The image is put together from this machine's own bash, coreutils and git.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import pwd
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import images
import pytest
from own_podman import OwnPodman

from trajmake.engines import ENGINES, UNPACKED, choose, inside, select
from trajmake.engines.base import Container, ContainerLimits, Engine, Image, Result
from trajmake.engines.container import ShellContainer
from trajmake.engines.fake import FakeEngine
from trajmake.errors import (
    ClaimedError,
    ConfigError,
    ContainerLostError,
    DiskFullError,
    EngineUnavailableError,
    EnvironmentBrokenError,
    ImageBrokenError,
    ImageMissingError,
)

ROOT = Path(__file__).parent.parent
LIMITS = ContainerLimits(memory_mb=512, pids=256)
UNIQUE = secrets.token_hex(6)  # two runs of this suite on one daemon must not share an image


@dataclasses.dataclass
class Here:
    """An engine that can run here, and an image in it."""

    engine: Engine
    image: Image
    tarball: Path
    options: dict[str, str]
    count: int = 0

    def start(
        self, name: str = "", limits: ContainerLimits = LIMITS, mounts: dict[str, Path] | None = None
    ) -> ShellContainer:
        self.count += 1
        name = name or f"{UNIQUE}/{self.count}"
        found = self.engine.start(self.image.id, name=name, limits=limits, mounts=mounts)
        assert isinstance(found, ShellContainer)
        return found


def options_for(name: str, folder: Path) -> dict[str, str]:
    """Those without a daemon keep everything in folders."""
    return {"store": str(folder / "store"), "scratch": str(folder / "scratch")} if name in UNPACKED else {}


@pytest.fixture(scope="module", params=["docker", "podman", "namespace", "apptainer"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """Each engine present; the others are skipped by name, with the reason."""
    folder = tmp_path_factory.mktemp(request.param)
    options = options_for(request.param, folder)
    with contextlib.ExitStack() as stack:
        if request.param == "podman" and "CONTAINERS_STORAGE_CONF" not in os.environ:
            own = stack.enter_context(OwnPodman())
            monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
            for name, value in own.variables.items():
                monkeypatch.setenv(name, value)
        engine = select(request.param, **options)
        try:
            engine.version()
        except EngineUnavailableError as error:
            pytest.skip(f"{request.param}: {error.message}")
        tarball = folder / "base.tar"
        env = ["FROM_IMAGE=yes", f"U={UNIQUE}"]
        images.save(tarball, [images.base_layer()], tags=[f"trajmake-test:{UNIQUE}"], env=env)
        yield Here(engine, engine.load(tarball), tarball, options)
        for reference in (f"trajmake-test:{UNIQUE}", f"trajmake-test-nobash:{UNIQUE}"):
            if image := engine.find(reference):
                engine.remove(image.id)


@pytest.fixture(scope="module")
def box(here: Here) -> Iterator[Container]:
    """A container for checks that leave no mark on it."""
    with here.start() as container:
        yield container


def ok(container: Container, command: str, timeout: float = 30) -> str:
    """The output of a command that must succeed."""
    result = container.run(command, timeout=timeout)
    assert result.exit_code == 0, result
    return result.text.strip()


def appears(container: Container, path: str) -> bool:
    """Whether a file comes within 20 s, made by what runs beside the commands."""
    wait = f"for n in {{1..200}}; do [ -e {path} ] && exit 0; sleep 0.1; done; exit 1"
    return container.run(wait, timeout=60).exit_code == 0


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def running(marker: str) -> list[str]:
    """Processes of this machine, in whatever namespace, whose command line holds ``marker``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in entry.read_bytes():
                found.append(entry.parent.name)
        except OSError:
            continue
    return found


def parent_of(marker: str) -> int:
    """The process id, on this machine, of the parent of the one process with ``marker``: the container's first."""
    assert within(5, lambda: len(running(marker)) == 1)
    (child,) = running(marker)
    return int(Path(f"/proc/{child}/status").read_text().split("PPid:\t")[1].split()[0])


# Commands


@pytest.mark.parametrize("code", [0, 1, 3, 126, 255])
def test_exit_codes(box: Container, code: int) -> None:
    assert box.run(f"exit {code}", timeout=60).exit_code == code


def test_a_command_that_is_not_found_or_not_bash_is_a_result(box: Container) -> None:
    """What the agent did wrong is a value, never an exception."""
    assert box.run("no-such-program", timeout=60).exit_code == 127
    assert box.run("if then )", timeout=60).exit_code == 2
    assert box.run("pwd", timeout=60, cwd="/nowhere").exit_code == 126
    assert box.run("echo \0", timeout=60).exit_code == 126
    assert box.run("kill -9 $$", timeout=60).exit_code == 137


def test_output_is_binary_safe(box: Container) -> None:
    """Every byte comes back, also NUL, the frames' separator, and no newline at the end."""
    every = "".join(f"\\x{number:02x}" for number in range(256))
    assert box.run(f"printf '{every}'", timeout=60).output == bytes(range(256))
    assert box.run("printf '\\036abc exit 0 1\\n'", timeout=60).output == b"\x1eabc exit 0 1\n"
    assert box.run("true", timeout=60).output == b""


def test_a_command_may_hold_any_character(box: Container) -> None:
    text = "".join(chr(number) for number in range(1, 0x180)).replace("'", "") + "→ 🐍 \udcff"
    assert box.run(f"printf %s '{text}'", timeout=60).output == text.encode("utf-8", "surrogateescape")


def test_stdout_and_stderr_are_one_stream_in_order(box: Container) -> None:
    command = "for i in 1 2 3; do echo out $i; echo err $i >&2; done"
    expected = "".join(f"out {n}\nerr {n}\n" for n in (1, 2, 3))
    assert box.run(command, timeout=60).text == expected


def test_reopening_stderr_does_not_cut_off_what_came_before(box: Container) -> None:
    """`echo x > /dev/stderr` truncates its target: with a plain file as output a whole test log would go."""
    command = "echo first; echo second > /dev/stderr; echo third | tee /dev/stderr >/dev/null; echo last >/dev/stdout"
    assert box.run(command, timeout=60).text == "first\nsecond\nthird\nlast\n"


def test_there_is_no_standard_input(box: Container) -> None:
    """A program that asks gets the end of file at once; it neither hangs nor reads our requests."""
    assert ok(box, "cat; read x || echo eof") == "eof"


def test_cwd_and_env_are_those_of_one_command(box: Container) -> None:
    result = box.run('pwd; echo "$A|$FROM_IMAGE"', timeout=60, cwd="/usr/bin", env={"A": "x 'y'\n$z"})
    assert result.text == "/usr/bin\nx 'y'\n$z|yes\n"
    ok(box, "cd /etc; export A=1; x=2; alias ls=false")
    assert ok(box, 'pwd; echo "[$A$x]"') == "/\n[]"


def test_commands_may_be_longer_than_one_argument(box: Container) -> None:
    """The kernel refuses an argument above 128 KiB; agents write whole files by here-document."""
    body = "0123456789abcdef" * 64 + "\n"
    command = f"cat <<'END' | wc -c\n{body * 200}END\nexit 7"
    result = box.run(command, timeout=60, env={"A": "b"}, cwd="/etc")
    assert (result.exit_code, result.text.strip()) == (7, str(len(body) * 200))
    assert ok(box, "ls -A /tmp") == ""


def test_signals_have_their_defaults(box: Container) -> None:
    """Python ignores SIGPIPE, bash SIGINT in the background: neither may reach a command."""
    status = ok(box, "cat /proc/self/status")
    assert "SigIgn:\t0000000000000000" in status
    assert box.run("kill -INT $$", timeout=60).exit_code == 130
    assert box.run("kill -TERM 0", timeout=60).exit_code == 143


def test_a_signal_ignored_by_our_caller_is_not_by_a_command(here: Here) -> None:
    """32 is one of glibc's own, which no function of its resets: posix_spawn leaves it ignored."""
    libc = ctypes.CDLL(None, use_errno=True)
    _, rt_sigaction = inside.SYSCALLS[os.uname().machine]
    ignore, old = (1).to_bytes(8, sys.byteorder) + bytes(24), ctypes.create_string_buffer(64)
    try:
        assert libc.syscall(rt_sigaction, 32, ignore, old, ctypes.c_size_t(8)) == 0
        with here.start() as container:
            assert "SigIgn:\t0000000000000000" in ok(container, "cat /proc/self/status")
    finally:
        libc.syscall(rt_sigaction, 32, old, None, ctypes.c_size_t(8))


def test_nothing_of_ours_is_open_in_a_command(box: Container) -> None:
    assert ok(box, "cd /proc/self/fd; echo *").split()[:3] == ["0", "1", "2"]
    assert len(ok(box, "cd /proc/self/fd; echo *").split()) <= 4  # and the folder itself


# Much output


def test_much_output_goes_to_the_log_and_head_and_tail_are_kept(box: Container, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "run.txt"
    size = 50_000_000
    result = box.run(f"echo start; yes 0123456 | head -c {size}; echo end", timeout=60, log=log, keep=10_000)
    whole = log.read_bytes()
    assert len(whole) == size + len("start\nend\n")
    assert whole.startswith(b"start\n0123456\n") and whole.endswith(b"0123456\nend\n")
    assert result.truncated == len(whole) - 10_000
    assert result.output.startswith(whole[:5000]) and result.output.endswith(whole[-5000:])
    assert f"[... {result.truncated} bytes left out ...]".encode() in result.output


def test_output_at_the_limit_is_whole(box: Container) -> None:
    assert box.run("printf 0123456789", timeout=60, keep=10) == dataclasses.replace(
        box.run("printf 0123456789", timeout=60), seconds=pytest.approx(0, abs=60)
    )
    assert box.run("printf 0123456789", timeout=60, keep=9).truncated == 1


def test_a_log_that_cannot_be_written_is_told(box: Container) -> None:
    """/dev/full is a disk without room; the container goes on."""
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("this user may not write /dev/full")
    with pytest.raises(DiskFullError, match="/dev/full"):
        box.run("yes | head -c 1000000", timeout=60, log=Path("/dev/full"))
    assert ok(box, "echo still here") == "still here"


# Time


def test_timeout_kills_everything_and_keeps_what_was_printed(here: Here) -> None:
    """Children, a daemon in a session of its own, and one that ignores SIGTERM; then the container works on."""
    marker = f"77{secrets.randbelow(10**8):08d}"
    with here.start() as container:
        container.write("/stubborn", f"trap '' TERM INT HUP\nsetsid sleep {marker} &\nsleep {marker} &\n".encode())
        command = f"echo partial; bash /stubborn; (trap '' TERM; sleep {marker}); echo never"
        result = container.run(command, timeout=2)
        assert (result.exit_code, result.timed_out, result.output) == (137, True, b"partial\n")
        assert 2 <= result.seconds < 20
        assert within(5, lambda: not running(marker))
        assert ok(container, "echo alive") == "alive"


def test_a_timeout_amid_much_output(here: Here, tmp_path: Path) -> None:
    with here.start() as container:
        much = "while :; do yes | head -c 1M; sleep 0.01; done"
        result = container.run(much, timeout=1, log=tmp_path / "log", keep=100)
        assert result.timed_out and (tmp_path / "log").stat().st_size > 1000
        assert ok(container, "echo alive") == "alive"


def test_background_process_neither_hangs_nor_leaks_into_the_next_command(here: Here) -> None:
    with here.start() as container:
        start = time.monotonic()
        result = container.run("(sleep 0.5; echo late; echo late >&2; touch /late; sleep 50) & echo now", timeout=20)
        assert time.monotonic() - start < 0.5 + 5 and result.text == "now\n" and not result.timed_out
        for _ in range(20):
            assert ok(container, "echo quiet; sleep 0.05") == "quiet"
        assert appears(container, "/late")  # it lived on


def test_a_server_started_by_one_command_serves_the_next(here: Here) -> None:
    with here.start() as container:
        ok(
            container,
            "mkdir /spool; (while sleep 0.05; do [ -f /spool/q ] && mv /spool/q /spool/a; done) >/dev/null 2>&1 &",
        )
        ok(container, "touch /spool/q")
        assert appears(container, "/spool/a")


# Attacks on the shell, with and without intent


@pytest.mark.parametrize(
    "command",
    [
        "kill -9 -1",
        "kill -9 1; kill -TERM 1; kill -INT 1; kill -STOP 1; kill -HUP 1",
        "kill -9 0",
        "kill -9 $PPID",
        "rm -rf /tmp",
        "rm -rf /tmp; echo > /tmp",
        "chmod 000 /tmp /root /etc",
        "printf '\\036%s\\n' x >/proc/1/fd/1; echo junk >/proc/1/fd/1",
        "echo 'exit 3' > /root/.bashrc; echo 'exit 3' > /etc/profile; echo 'exit 3' > /root/.bash_profile",
        "mkdir -p /usr/local/bin; cd /usr/local/bin; printf '#!/bin/bash\\necho evil' > head; chmod 755 head",
        "exec 0<&- 1>&- 2>&-",
        "ulimit -n 3; ulimit -f 0; umask 777",
        "set -o noclobber; set -e; enable -n kill; cat() { echo evil; }; export -f cat",
    ],
)
def test_the_shell_survives(here: Here, command: str) -> None:
    with here.start() as container:
        container.run(command, timeout=5)
        result = container.run("echo $((6 * 7)); exit 5", timeout=60)
        assert (result.exit_code, result.text) == (5, "42\n")
        container.write("/file", b"x\0y")
        assert container.read("/file") == b"x\0y"


def test_fork_bomb_is_bounded_and_the_container_can_be_used_again(here: Here) -> None:
    with here.start(limits=ContainerLimits(memory_mb=512, pids=60)) as container:
        assert container.run(":() { : | : & }; : & sleep 100", timeout=2).timed_out
        assert ok(container, "echo alive") == "alive"
        assert within(10, lambda: len(ok(container, "cd /proc; echo [0-9]*").split()) < 10)


def test_processes_left_behind_that_hold_every_slot_are_cleared(here: Here) -> None:
    """A command that leaves no process to fork would make every later one fail: the container is emptied then."""
    with here.start(limits=ContainerLimits(memory_mb=512, pids=30)) as container:
        container.run("for i in {1..100}; do sleep 1000 & done 2>/dev/null", timeout=10)
        assert ok(container, "echo alive", 60) == "alive"
        container.write("/file", b"data")
        assert container.read("/file") == b"data"


# Files


def test_write_and_read_round_trip(here: Here) -> None:
    data = bytes(range(256)) * 40_000  # 10 MB
    with here.start() as container:
        container.write("/deep/er/fi le'\n.bin", data, mode=0o751)
        assert container.read("/deep/er/fi le'\n.bin") == data
        assert ok(container, "stat -c %a /deep/er/fi*") == "751"
        container.write("/deep/er/fi le'\n.bin", b"")
        assert container.read("/deep/er/fi le'\n.bin") == b""
        assert ok(container, "echo alive") == "alive"


def test_reading_what_is_no_file(box: Container) -> None:
    for path in ("/no/such/file", "/etc", "/dev/zero"):
        with pytest.raises(FileNotFoundError):
            box.read(path)
    with pytest.raises(ValueError, match="absolute"):
        box.read("relative")


def test_writing_where_nothing_can_be_written(box: Container) -> None:
    """The rest of the data must not be taken for requests."""
    with pytest.raises(EnvironmentBrokenError, match="directory"):
        box.write("/etc", b"x")
    with pytest.raises(DiskFullError):
        box.write("/dev/full", b"touch /pwned\n" * 10_000)
    assert ok(box, "ls /pwned 2>/dev/null || echo clean") == "clean"


# Isolation


def test_there_is_no_network(box: Container) -> None:
    assert [line.split(":")[0].strip() for line in ok(box, "cat /proc/net/dev").splitlines()[2:]] == ["lo"]
    assert box.run("echo > /dev/tcp/192.0.2.1/80", timeout=60).exit_code == 1
    refused = box.run("echo > /dev/tcp/127.0.0.1/9", timeout=60)  # lo is up: refused, not unreachable
    assert "refused" in refused.text


def test_the_host_cannot_be_seen(here: Here, box: Container, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    assert box.run(f"cat {secret}", timeout=60).exit_code == 1
    assert box.run(f"cat /proc/1/root{secret} /proc/1/cwd{secret}", timeout=60).exit_code == 1
    assert str(ROOT) not in ok(box, "cat /proc/1/mountinfo | wc -l; echo; ls /")
    assert len(ok(box, "cd /proc; echo [0-9]*").split()) < 10
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/swappiness"):
        assert box.run(f"cat {path} | head -c 99 > /tmp/x; echo x > {path}", timeout=60).exit_code == 1, path


def test_no_new_privileges(box: Container) -> None:
    status = dict(line.split(":\t", 1) for line in ok(box, "cat /proc/self/status").splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    sys_admin, mac_admin, sys_module = 21, 33, 16
    held = int(status["CapBnd"], 16)
    assert not [bit for bit in (sys_admin, mac_admin, sys_module) if held >> bit & 1]


def test_devices_hostname_and_localhost(box: Container) -> None:
    ok(box, "echo x > /dev/null && head -c 4 /dev/urandom | wc -c && : > /dev/shm/x && rm /dev/shm/x")
    assert ok(box, "cat /proc/sys/kernel/hostname") == "trajmake"
    assert "localhost" in ok(box, "cat /etc/hosts")


def test_devices_are_the_containers_own(here: Here) -> None:
    """`chmod` of a node that is bound from the machine would change the machine's."""
    devices = [Path("/dev", name) for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx")]
    before = [path.stat().st_mode for path in devices]
    with here.start() as container:
        container.run("chmod 604 /dev/* /proc/kcore /proc/keys /proc/timer_list", timeout=60)
        assert [path.stat().st_mode for path in devices] == before


def test_files_do_not_leak_between_containers_of_one_image(here: Here) -> None:
    with here.start() as one, here.start() as other:
        ok(one, "echo mine > /etc/passwd; rm /usr/bin/seq; mkdir /only-here")
        assert ok(one, "cat /etc/passwd") == "mine"
        assert "root:x:0:0" in ok(other, "cat /etc/passwd; ls /usr/bin/seq")
        assert other.run("ls /only-here", timeout=60).exit_code != 0


def test_a_folder_of_the_image_can_be_removed_and_made_again(here: Here) -> None:
    """Where an overlay cannot mark a folder as its own the second step is an input/output error."""
    with here.start() as container:
        assert ok(container, "rm -r /home && mkdir /home && touch /home/new && ls /home") == "new"


def test_git_works_in_a_fresh_repository(box: Container) -> None:
    """No "dubious ownership", and /dev/null is there."""
    command = """
        mkdir -p /repo && cd /repo && git init -q --template= . && echo a > a && git add a
        git -c user.name=n -c user.email=e@x commit -qm one && git status --short && git log --oneline | wc -l
    """
    assert ok(box, command) == "1"


# Limits


def test_memory_limit_ends_the_command_not_the_container(here: Here) -> None:
    hungry = "set -o pipefail; head -c 400M /dev/zero | tail -c 400M | wc -c"
    with here.start(limits=ContainerLimits(memory_mb=100, pids=100)) as container:
        assert container.run(hungry, timeout=60).exit_code != 0
        assert ok(container, "echo alive") == "alive"
        facts = container.facts()
        if facts.peak_memory is None:
            assert not facts.out_of_memory  # no control group: nothing can be known
        else:
            assert facts.out_of_memory and 50 << 20 < facts.peak_memory <= 100 << 20
    assert container.facts() == facts  # kept after the end
    with here.start() as container:
        assert ok(container, hungry) == str(400 << 20)
        assert not container.facts().out_of_memory


def test_disk_limit_ends_the_command_and_room_can_be_made(here: Here) -> None:
    """A container that fills the disk harms every other; the daemon's file system rarely has quotas."""
    fill = "while :; do head -c 2M /dev/zero >> /deep/big; sleep 0.1; done"
    with here.start(limits=ContainerLimits(memory_mb=512, pids=100, disk_mb=60)) as container:
        ok(container, "mkdir /deep; head -c 40M /dev/zero > /deep/small; sleep 3")
        result = container.run(fill, timeout=60)
        assert (result.exit_code, result.timed_out) == (137, False)
        assert result.text.endswith("take more than 60 MiB]\n")
        assert int(ok(container, "stat -c %s /deep/big")) < 500 << 20
        ok(container, "rm /deep/big")
        ok(container, "sleep 2")


# Life and death


def test_a_stopped_container_is_gone_and_says_so(here: Here) -> None:
    container = here.start()
    container.stop()
    container.stop()
    with pytest.raises(ContainerLostError, match="stopped"):
        container.run("true", timeout=5)
    with pytest.raises(ContainerLostError):
        container.write("/x", b"")


def test_stop_ends_a_command_that_another_thread_waits_for(here: Here) -> None:
    container = here.start()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            container.run("sleep 100", timeout=100)
        except ContainerLostError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    container.stop()
    thread.join(10)
    assert not thread.is_alive() and len(errors) == 1


def test_one_name_one_container(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one lives its name is taken; afterwards it is free at once. Names differ though their safe forms agree."""
    for module in ("docker_api", "scratch"):
        monkeypatch.setattr(f"trajmake.engines.{module}._CLAIM_SECONDS", 1.0)
    name = f"{UNIQUE} model/instance:1"
    with here.start(name) as first, here.start(name.replace(":", "/")):
        started = time.monotonic()
        with pytest.raises(ClaimedError, match="already running"):
            here.start(name)
        assert time.monotonic() - started < 20
        assert ok(first, "echo alive") == "alive"
    for _ in range(3):
        with here.start(name) as again:
            assert ok(again, "echo new") == "new"


OWNER = """
import sys, threading
sys.path[:0] = [{root!r}]
from trajmake.engines import select
container = select({engine!r}, **{options!r}).start({image!r}, name={name!r})
container.run("sleep {marker} &", timeout=5)
print("ready", flush=True)
{last}
"""


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_killed_owner_leaves_nothing(here: Here, busy: bool) -> None:
    """kill -9 of the process that started it: the container, its processes, mounts and folders go by themselves."""
    marker = f"88{secrets.randbelow(10**8):08d}"
    name = f"{UNIQUE} owner {marker}"
    last = f"container.run('sleep {marker}', timeout=1000)" if busy else "threading.Event().wait()"
    script = OWNER.format(
        root=str(ROOT),
        engine=here.engine.name,
        options=here.options,
        image=here.image.id,
        name=name,
        marker=marker,
        last=last,
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == b"ready\n"
        others = lambda: [pid for pid in running(marker) if pid != str(owner.pid)]  # noqa: E731
        assert within(10, lambda: len(others()) > busy)
        owner.kill()
    assert within(10, lambda: not others())
    if "scratch" in here.options:
        assert within(5, lambda: not list(Path(here.options["scratch"]).glob(f"*{marker}*")))
        assert marker not in Path("/proc/self/mountinfo").read_text()
    with here.start(name) as successor:
        assert ok(successor, "echo mine") == "mine"


def test_latency(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    """For the record: what a command costs."""
    with here.start() as container:
        seconds = []
        for _ in range(50):
            start = time.perf_counter()
            ok(container, "true")
            seconds.append(time.perf_counter() - start)
    with capsys.disabled():
        print(f"\n{here.engine.name}: median of 50 commands {statistics.median(seconds) * 1000:.1f} ms")


# Images


def test_loading_is_idempotent_and_images_are_found_by_id_and_tag(here: Here) -> None:
    extra = f"trajmake-test/{UNIQUE}"
    again = here.engine.load(here.tarball, [extra])
    assert again.id == here.image.id and again.size > 1_000_000
    assert set(again.tags) == {f"trajmake-test:{UNIQUE}", f"{extra}:latest"}
    for reference in (again.id, f"trajmake-test:{UNIQUE}", extra, f"{extra}:latest"):
        found = here.engine.find(reference)
        assert found is not None and found.id == again.id, reference
    assert here.engine.find("trajmake-test:nothing") is None
    assert here.engine.find("sha256:" + "0" * 64) is None


def test_gzip_archives_load(here: Here, tmp_path: Path) -> None:
    import gzip

    packed = tmp_path / "base.tar.gz"
    packed.write_bytes(gzip.compress(here.tarball.read_bytes(), 1))
    assert here.engine.load(packed).id == here.image.id


def test_removing_an_image(here: Here, tmp_path: Path) -> None:
    tarball = tmp_path / "other.tar"
    images.save(tarball, [images.base_layer(git=False)], tags=[f"trajmake-other:{UNIQUE}"], env=[f"OTHER={UNIQUE}"])
    image = here.engine.load(tarball)
    with here.engine.start(image.id, name=f"{UNIQUE} other") as container:
        with pytest.raises(ImageBrokenError, match="in use"):
            here.engine.remove(image.id)
        assert ok(container, "echo alive") == "alive"
    here.engine.remove(image.id)
    assert here.engine.find(image.id) is None and here.engine.find(f"trajmake-other:{UNIQUE}") is None
    here.engine.remove(image.id)
    with pytest.raises(ImageMissingError):
        here.engine.start(image.id, name="x")


def test_an_image_without_bash(here: Here, tmp_path: Path) -> None:
    tarball = tmp_path / "nobash.tar"
    images.save(
        tarball,
        [images.base_layer(git=False, bash=False)],
        tags=[f"trajmake-test-nobash:{UNIQUE}"],
        env=[f"U={UNIQUE}"],
    )
    image = here.engine.load(tarball)
    with pytest.raises(EnvironmentBrokenError, match="bash"):
        here.engine.start(image.id, name=f"{UNIQUE} nobash")


def test_an_image_may_keep_files_from_everybody_but_root(here: Here, tmp_path: Path) -> None:
    """Red Hat's /etc/shadow has no permission at all; an engine that copies images must read it all the same."""
    layer = images.tar_of(images.member("etc/shadow", b"root:*:::::::\n", mode=0), images.folder("var/closed", 0))
    tarball = tmp_path / "shadow.tar"
    images.save(tarball, [images.base_layer(), layer], tags=[f"trajmake-test-nobash:{UNIQUE}"])
    image = here.engine.load(tarball)
    with here.engine.start(image.id, name=f"{UNIQUE}/shadow", limits=LIMITS) as container:
        assert ok(container, "head -c 4 /etc/shadow; ls -A /var/closed") == "root"


def test_archives_that_are_none(here: Here, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(here.tarball.read_bytes()[:2_000_000])
    with pytest.raises(ImageBrokenError, match=r"cut\.tar"):
        here.engine.load(cut)
    with pytest.raises(ImageMissingError, match="none"):
        here.engine.load(tmp_path / "none.tar")


# The podman engine


def test_who_never_used_podman_gets_no_store_of_it(tmp_path: Path) -> None:
    """`trajmake clean` looks for leftovers of every engine; a user's podman would leave a process and folders."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONTAINER", "XDG_"))}
    script = (
        f"import os, sys; sys.path[:0] = [{str(ROOT)!r}]; os.geteuid = lambda: 4242;"
        "from trajmake.engines.podman import PodmanEngine as Engine; it = Engine(); print(it.reap(), it._client)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=kept | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout == "[] None\n" and not list(tmp_path.iterdir())


def test_a_service_of_our_own_ends_with_its_process(here: Here) -> None:
    """Killed outright too: neither service nor folder stays."""
    if here.engine.name != "podman":
        pytest.skip("of the podman engine only")
    script = (
        f"import sys, threading; sys.path[:0] = [{str(ROOT)!r}]; from trajmake.engines.podman import PodmanEngine;"
        "engine = PodmanEngine(); engine.version(); print(engine._daemon.url, flush=True); threading.Event().wait()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        owner.kill()
    folder = Path(url.removeprefix("unix://")).parent
    assert folder.name.startswith("trajmake-podman-")
    assert within(10, lambda: not folder.exists() and not running(str(folder)))


# The engines without a daemon


@pytest.fixture
def unpacked(here: Here) -> Here:
    if here.engine.name not in UNPACKED:
        pytest.skip("of the engines without a daemon only")
    return here


@pytest.fixture
def namespace(here: Here) -> Here:
    if here.engine.name != "namespace":
        pytest.skip("of the namespace engine only")
    return here


@pytest.fixture
def apptainer(here: Here) -> Here:
    if here.engine.name != "apptainer":
        pytest.skip("of the engine apptainer only")
    return here


def test_leftovers_of_dead_owners_are_removed(unpacked: Here) -> None:
    """A power cut leaves a folder that nobody has locked; the next start removes it, whatever its modes."""
    leftover = Path(unpacked.options["scratch"]) / "old-12345678"
    (leftover / "upper" / "closed").mkdir(parents=True)
    (leftover / "upper" / "closed" / "file").touch()
    (leftover / "owner.json").write_text('{"pid": 1, "start": 1}')
    (leftover / "upper" / "closed").chmod(0)
    with unpacked.start():
        assert not leftover.exists()


def test_two_processes_load_one_image(unpacked: Here, tmp_path: Path) -> None:
    name = unpacked.engine.name
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]; from pathlib import Path; from trajmake.engines import select;"
        f"print(select({name!r}, store=sys.argv[2]).load(Path(sys.argv[3]), sys.argv[4:]).id)"
    )
    command = [sys.executable, "-c", script, str(ROOT), str(tmp_path / "store"), str(unpacked.tarball)]
    loaders = [subprocess.Popen([*command, f"t{n}"], stdout=subprocess.PIPE, text=True) for n in range(3)]
    assert {loader.communicate()[0].strip() for loader in loaders} == {unpacked.image.id}
    found = select(name, store=tmp_path / "store").find(unpacked.image.id)
    assert found is not None and {"t0:latest", "t1:latest", "t2:latest"} <= set(found.tags)
    assert not list((tmp_path / "store").glob(".unpack-*"))


def test_without_an_overlay_the_image_is_copied(
    namespace: Here, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An upper folder inside a lower one is what the kernel refuses here, as it refuses one on an overlay."""
    engine = select("namespace", store=namespace.options["store"], scratch="/proc/sys")
    with pytest.raises((EngineUnavailableError, OSError)):
        engine.start(namespace.image.id, name="x")
    from trajmake.engines import local as module

    furnish = module._furnish

    def without_work(folder: Path, wanted: module.Wanted) -> None:
        furnish(folder, wanted)
        if wanted.overlay:
            (folder / "work").rmdir()

    monkeypatch.setattr(module, "_furnish", without_work)
    engine = select("namespace", **namespace.options)
    limits = dataclasses.replace(LIMITS, disk_mb=20)
    with engine.start(namespace.image.id, name=f"{UNIQUE} copied", limits=limits) as container:
        assert ok(container, "echo copied > /etc/x; cat /etc/x") == "copied"
        assert "take more than 20 MiB" in container.run("head -c 60M /dev/zero > /big; sleep 9", timeout=30).text
    assert "copying images" in caplog.text
    assert not (Path(namespace.options["store"]) / namespace.image.id[7:] / "rootfs/etc/x").exists()


def test_settings_of_the_user_for_apptainer_do_not_count(
    apptainer: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sites and users have apptainer bind folders and set variables; a run must be the same everywhere."""
    (tmp_path / "file").write_text("the user's")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("APPTAINER_BIND", f"{tmp_path}:/srv")
    monkeypatch.setenv("APPTAINERENV_TOKEN", "secret")
    with apptainer.start() as container:
        assert ok(container, "ls -A /srv /sys 2>/dev/null || true") == "/sys:"
        names = {line.partition("=")[0] for line in ok(container, "env").splitlines()}
        assert names == {"PATH", "HOME", "HOSTNAME", "FROM_IMAGE", "U", "PWD", "OLDPWD", "SHLVL", "_"}
    assert not (tmp_path / "home").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="root's own case")
def test_apptainer_is_not_for_root() -> None:
    """Root in there is root of the machine's devices: `chmod 600 /dev/null` would be felt everywhere."""
    with pytest.raises(EngineUnavailableError, match="not for root") as caught:
        select("apptainer").version()
    assert caught.value.hint


def without_root(user: pwd.struct_passwd, engine: str, home: Path, check: str, **variables: str) -> None:
    """The whole suite again with one engine, as a user; ``check`` prints True where the user can have the engine.

    Its interpreter must be one that the user may run: one below /root cannot be reached.
    """
    os.chown(home, user.pw_uid, user.pw_gid)
    places = [str(ROOT), str(ROOT / "tests"), sysconfig.get_paths()["purelib"]]
    variables |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": os.pathsep.join(places)}
    prefix = ["prlimit", "--nproc=3000:3000", "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"]
    prefix += ["--clear-groups", "env", *(f"{name}={value}" for name, value in variables.items())]
    prefix.append("PYTHONDONTWRITEBYTECODE=1")
    reason = "setpriv is not installed"
    for python in (sys.executable, "/usr/bin/python3"):
        if shutil.which("setpriv") and os.access(python, os.X_OK):
            command = [*prefix, python, "-c", f"import sys, pytest; {check}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home)
            if done.stdout.startswith("True"):
                break
            reason = (done.stdout or done.stderr).strip()[-300:]
    else:
        pytest.skip(f"{engine} as a user: {reason}")
    options = ["-q", "-p", "no:cacheprovider", "-k", engine, f"--rootdir={home}", "-c", os.devnull]
    tests = [*prefix, python, "-m", "pytest", *options, __file__]
    done = subprocess.run(tests, capture_output=True, text=True, check=False, cwd=home)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-5000:] + done.stderr[-2000:]
    print(done.stdout[-2000:])


@pytest.mark.skipif(os.geteuid() != 0, reason="the suite runs as a user already")
@pytest.mark.parametrize("engine", UNPACKED)
def test_the_engines_without_a_daemon_pass_without_root(engine: str) -> None:
    """The whole suite again, as nobody."""
    home = Path(tempfile.mkdtemp(prefix="trajmake-nobody-"))
    try:
        check = f"from trajmake.engines import select; print(bool(select({engine!r}).version()))"
        without_root(pwd.getpwnam("nobody"), engine, home, check)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="the suite runs as a user already")
def test_the_podman_engine_passes_without_root() -> None:
    """The whole suite again, as the user that TRAJMAKE_TEST_USER names; podman wants subordinate ids for it."""
    name = os.environ.get("TRAJMAKE_TEST_USER", "")
    if not name or f"{name}:" not in Path("/etc/subuid").read_text():
        pytest.skip("podman as a user: TRAJMAKE_TEST_USER names no user with subordinate ids")
    user = pwd.getpwnam(name)
    with OwnPodman(user) as own:
        without_root(user, "podman", own.folder, "import trajmake; print(True)", **own.variables)
        assert within(10, lambda: not running(f"unix://{own.folder}")), "a service outlives its process"


# Choosing


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="docker, podman, namespace") as caught:
        select("dokcer")
    assert "dokcer" in caught.value.message
    assert set(ENGINES) >= {"docker", "namespace", "apptainer", "fake"}


def test_auto_takes_docker_where_a_daemon_answers_else_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trajmake.engines import docker, unshare

    name, why = choose("auto")
    assert name == ("docker" if docker.available()[0] else "namespace") and why.startswith(f"{name}: ")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    if unshare.available()[0]:
        name, why = choose("auto")
        assert name == "namespace" and f"{tmp_path}/none.sock" in why
    with pytest.raises(EngineUnavailableError, match=r"none\.sock") as caught:
        select("docker").version()
    assert caught.value.hint
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailableError, match=r"docker: .*none\.sock.*namespace: .*unshare is not installed"):
        choose("auto")


def test_asking_for_a_daemon_is_cheap_and_needs_no_sdk() -> None:
    script = (
        "import sys, time; from trajmake.engines import docker; start = time.process_time(); docker.available();"
        "print(time.process_time() - start, 'requests' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    seconds, loaded = done.stdout.split()
    assert float(seconds) < 0.5 and loaded == "False"


def test_the_fake_engine_is_scripted_and_records(tmp_path: Path) -> None:
    """What tests of stages get in the place of an engine."""
    engine = FakeEngine([Image("sha256:1", ("a:1",))], lambda command: Result(3, command.encode(), 0.1))
    with engine.start("sha256:1", name="job") as container:
        assert container.run("make test", timeout=1, log=tmp_path / "log").exit_code == 3
        container.write("/x", b"1")
        assert container.read("/x") == b"1"
        with pytest.raises(ImageBrokenError):
            engine.remove("sha256:1")
    assert engine.containers[0].commands == ["make test"] and (tmp_path / "log").read_bytes() == b"make test"
    with pytest.raises(ContainerLostError):
        container.run("late", timeout=1)
    assert engine.find("a:1") is not None and engine.find("b") is None
    with pytest.raises(ImageMissingError):
        engine.start("sha256:2", name="job")


def test_a_frozen_first_process_is_a_lost_container(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that no longer answers is told as such after the grace, not waited for."""
    from trajmake.engines import shell

    marker = f"66{secrets.randbelow(10**8):08d}"
    with here.start() as container:
        ok(container, f"sleep {marker} >/dev/null 2>&1 &")
        first = parent_of(marker)
        monkeypatch.setattr(shell, "GRACE", 1.0)
        monkeypatch.setattr(shell, "_PATIENCE", 0.5)
        try:
            os.kill(first, signal.SIGSTOP)
        except PermissionError:
            pytest.skip(f"{here.engine.name}: the container's processes belong to another user")
        started = time.monotonic()
        with pytest.raises(ContainerLostError, match="did not answer"):
            container.run("true", timeout=2)
        assert time.monotonic() - started < 15
        os.kill(first, signal.SIGCONT)


def test_a_container_killed_from_outside_is_lost(here: Here) -> None:
    marker = f"55{secrets.randbelow(10**8):08d}"
    with here.start() as container:
        ok(container, f"sleep {marker} >/dev/null 2>&1 &")
        first = parent_of(marker)
        try:
            os.kill(first, signal.SIGKILL)
        except PermissionError:
            pytest.skip(f"{here.engine.name}: the container's processes belong to another user")
        with pytest.raises(ContainerLostError, match=r"gone \(exit code"):
            container.run("sleep 10", timeout=20)
        assert within(10, lambda: not running(marker))


# Folders of the host


def test_lent_folders_are_read_only_and_sockets_in_them_answer(here: Here, tmp_path: Path) -> None:
    """An agent's programs and its door to the model come into a container; nothing goes out by them."""
    lent = tmp_path / "lent"
    (lent / "bin").mkdir(parents=True)
    (lent / "bin" / "hello").write_text("#!/bin/bash\necho hello from $0\n")
    (lent / "bin" / "hello").chmod(0o755)
    (tmp_path / "secret").write_text("not lent")
    (lent / "out").symlink_to(tmp_path / "secret")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(lent / "door"))
        listener.listen()
        with here.start(mounts={"/opt/a b/lent": lent, "/srv": lent / "bin"}) as container:
            assert ok(container, "'/opt/a b/lent/bin/hello'; /srv/hello") == (
                "hello from /opt/a b/lent/bin/hello\nhello from /srv/hello"
            )
            for attempt in ("touch /srv/new", "rm /srv/hello", "chmod 777 /srv/hello", "> '/opt/a b/lent/bin/hello'"):
                result = container.run(attempt, timeout=60)
                assert result.exit_code != 0 and "Read-only file system" in result.text, attempt
            assert container.run("mount -o remount,rw /srv || umount /srv", timeout=60).exit_code != 0
            assert container.run("cat '/opt/a b/lent/out'", timeout=60).exit_code != 0
            assert ok(container, "test -S '/opt/a b/lent/door' && echo there") == "there"
            (lent / "later").write_text("made on the host afterwards")
            assert ok(container, "cat '/opt/a b/lent/later'") == "made on the host afterwards"
    assert sorted(path.name for path in lent.iterdir()) == ["bin", "door", "later", "out"]


def test_a_link_of_the_image_leads_no_mount_out_of_it(here: Here, tmp_path: Path) -> None:
    """An image's /opt may be a link; what is mounted below it is inside, and the host's folder stays as it was."""
    outside = tmp_path / "outside"
    lent = tmp_path / "lent"
    outside.mkdir()
    lent.mkdir()
    (lent / "file").write_text("lent")
    layer = images.tar_of(images.member("opt", kind=tarfile.SYMTYPE, link=str(outside)))
    tarball = tmp_path / "linked.tar"
    images.save(tarball, [images.base_layer(), layer], tags=[f"trajmake-test-nobash:{UNIQUE}"])
    image = here.engine.load(tarball)
    with here.engine.start(image.id, name=f"{UNIQUE}/linked", limits=LIMITS, mounts={"/opt/lent": lent}) as container:
        assert ok(container, "cat /opt/lent/file") == "lent"
    assert list(outside.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_fault(here: Here, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="nowhere"):
        here.start(mounts={"/srv": tmp_path / "nowhere"})

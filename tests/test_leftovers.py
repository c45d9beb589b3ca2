"""What killed runs leave behind is removed by the next one; what belongs to a living run is not touched."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

import images
import own_daemon
import pytest
import yaml
from docker.errors import APIError
from model_sessions import Sessions
from openai_server import OpenAIServer, answer_as
from own_daemon import OwnDaemon
from requests import Response
from typer.testing import CliRunner

from trajmake import files, machine
from trajmake.cli import app
from trajmake.engines import cgroup, scratch, select, store
from trajmake.engines.base import ContainerLimits
from trajmake.engines.owner import OWNER, over, owner
from trajmake.engines.store import ImageStore
from trajmake.images import leases
from trajmake.llm.scripted import ScriptedProvider
from trajmake.sessions import locks, temporary

ROOT = Path(__file__).parent.parent


def python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Another process, which may kill itself."""
    command = [sys.executable, "-c", f"import os, sys\nsys.path[:0] = [{str(ROOT)!r}]\n{code}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def dead_owner() -> str:
    done = python("from trajmake.engines.owner import owner; print(owner())")
    return done.stdout.strip()


def test_an_owner_is_judged_only_where_it_can_be_known() -> None:
    place = owner().rsplit(" ", 2)[0]
    assert not over(owner())
    assert over(dead_owner())
    assert over(f"{place} {os.getpid()} 1")  # the id was given again
    assert not over("another-boot 4026531836 999999 1") and not over("") and not over("nonsense")


def test_containers_of_dead_owners_go_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Created and never started: no death is noticed, and no daemon removes them."""
    if reason := own_daemon.lacking():
        pytest.skip(reason)
    with OwnDaemon() as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.url)
        tarball = tmp_path / "base.tar"
        images.save(tarball, [images.base_layer()], tags=["leftovers:1"])
        engine = select("docker")
        image = engine.load(tarball)
        labels = {"dead": dead_owner(), "living": owner(), "elsewhere": "another-boot 1 2 3"}
        for name, label in labels.items():
            daemon.ask("create", "--name", name, "--label", f"{OWNER}={label}", "leftovers:1", "bash")
        daemon.ask("create", "--name", "strangers", "leftovers:1", "bash")
        with engine.start(image.id, name="next"):
            names = set(daemon.ask("ps", "-a", "--format", "{{.Names}}").split())
        assert {name for name in names if not name.startswith("trajmake-")} == {"living", "elsewhere", "strangers"}


def test_a_writer_that_is_killed_leaves_no_file(tmp_path: Path) -> None:
    code = """
from trajmake import files
with files.atomic(sys.argv[1]) as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), 9)
"""
    (tmp_path / "old").write_text("whole")
    for name in ("new", "old"):
        assert python(code, tmp_path / name).returncode == -9
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "whole")]


def test_a_file_system_without_nameless_files_gets_whole_files_too(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "_nameless", lambda folder: None)  # as on NFS
    for text in ("first", "second"):
        files.write_text(tmp_path / "file", text)
    with pytest.raises(ZeroDivisionError), files.atomic(tmp_path / "file") as stream:
        stream.write(bytes(1 // 0))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "second")]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A file is replaced or not, a line appended or not; never a half of either."""
    code = """
from pathlib import Path
from trajmake import files
from trajmake.errors import DiskFullError
os.chdir(sys.argv[1])
files.write_text("file", "old")
files.append_line("lines", "first")
with open("ballast", "wb", buffering=0) as stream:
    try:
        while stream.write(bytes(4096)): pass
    except OSError: pass
for number in range(20000):
    try: files.append_line("lines", f"line {number} " + 60 * "x")
    except OSError: break
try: files.write_text("file", 100000 * "new")
except DiskFullError as error: print(error.message)
print(Path("file").read_text(), Path("lines").read_text().endswith("x\\n"), sorted(os.listdir()))
"""
    script = shlex.join(
        [sys.executable, "-c", f"import os, sys\nsys.path[:0] = [{str(ROOT)!r}]\n{code}", str(tmp_path)]
    )
    mount = f"mount -t tmpfs -o size=1m tmpfs {shlex.quote(str(tmp_path))} && {script}"
    done = subprocess.run(["unshare", "--mount", "bash", "-c", mount], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["No space left while writing file.", "old True ['ballast', 'file', 'lines']"]


def test_folders_of_dead_snakemakes_go_and_others_stay(tmp_path: Path) -> None:
    places = {name: tmp_path / f"snakemake{name}" for name in ("dead", "living", "unknown", "next")}
    for place in places.values():
        place.mkdir()
    code = "from trajmake.sessions import temporary; temporary.own(sys.argv[1])"
    python(code, places["dead"])
    wait = f"{code}; print('here', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", f"import os, sys\nsys.path[:0] = [{str(ROOT)!r}]\n{wait}", places["living"]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdout is not None and living.stdout.readline()
        temporary.own(places["next"])
        living.communicate()
    assert {path.name for path in tmp_path.iterdir()} == {f"snakemake{n}" for n in ("living", "unknown", "next")}


def test_control_groups_of_dead_owners_go() -> None:
    code = """
from trajmake.engines import cgroup
from trajmake.engines.base import ContainerLimits
folders = cgroup.make_group("leftovers", ContainerLimits()).folders
assert all(folder.exists() for folder in folders)
print(*folders, sep="\\n")
"""
    left = [Path(line) for line in python(code).stdout.split()]
    if not left:
        pytest.skip("control groups cannot be made here")
    group = cgroup.make_group(f"leftovers-{time.monotonic_ns()}", ContainerLimits())
    try:
        assert not any(folder.exists() for folder in left) and all(folder.exists() for folder in group.folders)
    finally:
        group.remove()


def test_the_command_removes_what_dead_runs_left_and_nothing_of_living_ones(tmp_path: Path, monkeypatch) -> None:
    """`trajmake clean`, without a session named; the leases of images lie in one place for the whole host."""
    monkeypatch.setattr(leases, "FOLDER", tmp_path / "leases")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    locks_of = {name: tmp_path / f"{name}.lock" for name in ("dead", "living")}
    for name, lock in locks_of.items():
        lock.touch()
        files.write_text(tmp_path / f"leases/image/{name}.session", f"{lock}\n")
        (tmp_path / f"snakemake-{name}").mkdir()
    python("from trajmake.sessions import temporary; temporary.own(sys.argv[1])", tmp_path / "snakemake-dead")
    killed = """
from pathlib import Path
from trajmake.engines import scratch
scratch.claim(Path(sys.argv[1]), "killed", {})
os.kill(os.getpid(), 9)
"""
    python(killed, tmp_path / f"trajmake-{os.geteuid()}")
    alive = scratch.claim(tmp_path / "elsewhere", "mine", {})
    folder = alive.folder.rename(tmp_path / f"trajmake-{os.geteuid()}" / alive.folder.name)
    with locks.claim(locks_of["living"]):
        done = CliRunner().invoke(app, ["clean"])
    os.close(alive.lock)
    os.close(alive.place)
    assert done.exit_code == 0, done.output
    assert "leftovers of killed runs removed" in done.output and "container killed-" in done.output
    assert sorted(path.name for path in (tmp_path / "leases/image").iterdir()) == ["living.session"]
    assert folder.exists() and list(folder.parent.iterdir()) == [folder]
    assert {path.name for path in tmp_path.glob("snakemake-*")} == {"snakemake-living"}


def test_nobody_removes_the_folder_of_a_container_that_begins(tmp_path: Path) -> None:
    """Starts side by side reap what others left; some fight for one name, and half of them die without an end."""
    begin = """
from pathlib import Path
from trajmake.engines import scratch
for round in range(100):
    made = scratch.claim(Path(sys.argv[1]), sys.argv[2], {})
    (made.folder / "upper").mkdir()
    assert (made.folder / "owner.json").exists(), round
    os.close(made.lock)
    if round % 2:
        made.remove()
    else:
        os.close(made.place)
"""
    with ThreadPool(5) as pool:
        starts = pool.map(lambda name: python(begin, tmp_path, name), ["a", "b", "c", "shared", "shared"], 1)
    assert [start.stderr for start in starts] == [""] * 5


def test_a_folder_without_a_lock_yet_is_no_leftover(tmp_path: Path, monkeypatch) -> None:
    """Somebody reaps in the very moment before the lock is taken."""
    flock = fcntl.flock

    def late(handle: int, how: int) -> None:
        if how == fcntl.LOCK_EX:
            scratch.reap(tmp_path)
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    made = scratch.claim(tmp_path, "one", {})
    assert (made.folder / "owner.json").exists()
    os.close(made.lock)
    made.remove()


def test_who_removes_a_folder_late_leaves_that_of_the_next_of_its_name(tmp_path: Path) -> None:
    first = scratch.claim(tmp_path, "one", {})
    first.folder.rename(tmp_path / "as its supervisor removes it")
    os.close(first.lock)
    second = scratch.claim(tmp_path, "one", {})
    first.remove()
    assert second.folder.samefile(f"/proc/self/fd/{second.place}")
    second.remove()
    os.close(second.lock)
    assert not second.folder.exists()


def test_a_container_that_ends_while_it_is_removed_is_removed_all_the_same(tmp_path: Path, monkeypatch) -> None:
    """Docker's force kills what runs; where it has ended by then, that is an error of its server (500)."""
    if reason := own_daemon.lacking():
        pytest.skip(reason)
    with OwnDaemon() as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.url)
        images.save(tmp_path / "base.tar", [images.base_layer()], tags=["leftovers:1"])
        engine = select("docker")
        container = engine.start(engine.load(tmp_path / "base.tar").id, name="late")
        api = engine._api()  # type: ignore[attr-defined]
        real, refused = api.remove_container, []

        def refuse_once(found: str, **options: bool) -> None:
            if not refused:
                refused.append(found)
                response = Response()
                response.status_code = 500
                said = f"Could not kill running container {found}, cannot remove - Container {found} is not running"
                raise APIError("500 Server Error", response, said)
            real(found, **options)

        monkeypatch.setattr(api, "remove_container", refuse_once)
        container.stop()
        assert refused and not daemon.ask("ps", "-a", "-q")


def test_a_cancelled_job_takes_its_container_along(tmp_path: Path, store: Path) -> None:
    """Schedulers cancel by SIGTERM, and a daemon's containers are none of the job's processes."""
    if reason := own_daemon.lacking():
        pytest.skip(reason)
    script = tmp_path / "script.yaml"
    script.write_text(yaml.safe_dump([{"thought": "Wait.", "commands": ["sleep 300"]}]))
    with OwnDaemon() as daemon, OpenAIServer(answer_as(ScriptedProvider(script, model="loopback-1"))) as server:
        sessions = Sessions.make(tmp_path, store, server.url)
        sessions.configure(engine="docker", limits={"command_seconds": 600})
        sessions.project.environ["DOCKER_HOST"] = daemon.url
        driver = subprocess.Popen(
            sessions.project.command(*sessions.command("cancelled")),
            cwd=sessions.project.root,
            env=sessions.project.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + 120
        while not (sessions.journal("cancelled") / "0001.json").exists():
            assert driver.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)
        assert daemon.ask("ps", "-q")
        os.kill(int((sessions.folder("cancelled") / ".claim").read_text().split()[1]), signal.SIGTERM)
        said = driver.communicate(timeout=60)[0]
        assert driver.returncode != 0, said
        assert daemon.ask("ps", "-a", "-q") == ""
        assert not list(sessions.folder("cancelled").glob("faults/*"))


# ------------------------------------------------------------- many jobs, one store, hosts that see no other's locks


def image_in(folder: Path, name: str) -> Path:
    images.save(folder / f"{name}.tar", [images.tar_of(images.member("etc/name", name.encode()))], tags=[name])
    return folder / f"{name}.tar"


def test_an_image_is_removed_whatever_others_sweep_meanwhile(tmp_path: Path, monkeypatch) -> None:
    """Releases come together at a turn's end, and each removes what the dead left."""
    images_of = ImageStore(tmp_path / "store")
    found = images_of.load(image_in(tmp_path, "one"))
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        for doomed in (tmp_path / "store").glob(".remove-*"):
            shutil.rmtree(doomed)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    images_of.remove(found.id)
    assert images_of.images() == [] and not images_of.folder(found.id).exists()


def test_two_hosts_unpack_one_image_at_once(tmp_path: Path, monkeypatch) -> None:
    """Into a store that they share, where neither sees the other's locks."""
    tarball = image_in(tmp_path, "one")
    unpack = store.unpack

    def slow(archive, rootfs: Path) -> int:
        monkeypatch.setattr(store, "unpack", unpack)
        with monkeypatch.context() as other:
            other.setattr(store, "boot_id", lambda: "another boot")
            assert ImageStore(tmp_path / "store").load(tarball).tags == ("one:latest",)
        return unpack(archive, rootfs)

    monkeypatch.setattr(store, "locked", lambda path, wait=True: contextlib.nullcontext())
    monkeypatch.setattr(store, "unpack", slow)
    found = ImageStore(tmp_path / "store").load(tarball)
    assert (ImageStore(tmp_path / "store").folder(found.id) / "rootfs/etc/name").read_text() == "one"
    assert not list((tmp_path / "store").glob(".unpack-*"))


def test_an_image_is_known_by_its_tags_from_the_first_moment(tmp_path: Path, monkeypatch) -> None:
    """Who is killed before it can take them off other images leaves nothing that no command would find."""
    images_of = ImageStore(tmp_path / "store")
    images_of.load(image_in(tmp_path, "old"), tags=["moves"])
    monkeypatch.setattr(ImageStore, "tag", lambda self, image_id, tags: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        images_of.load(image_in(tmp_path, "new"), tags=["moves"])
    assert sorted(found.tags for found in images_of.images()) == [("moves:latest", "old:latest"), ("new:latest",)]


def test_no_tag_is_written_into_a_folder_that_goes(tmp_path: Path) -> None:
    images_of = ImageStore(tmp_path / "store")
    found = images_of.load(image_in(tmp_path, "one"))
    with ThreadPool(1) as pool:
        with store.locked(tmp_path / "store/.tags.lock"):
            removal = pool.apply_async(images_of.remove, [found.id])
            removal.wait(0.3)
            assert images_of.folder(found.id).is_dir()
        removal.get(60)
    assert not images_of.folder(found.id).exists()


def test_folders_of_another_hosts_processes_are_left_alone(tmp_path: Path, monkeypatch) -> None:
    """On a shared TMPDIR whose locks hosts do not see; what an earlier boot of this host left goes."""
    there = {"host": "another", "boot": "another"}
    for name, said in (("theirs", there), ("before", {**machine.here(), "boot": "another"})):
        for place, mark in (("scratch", "owner.json"), ("tmp", ".trajmake-owner")):
            (tmp_path / place / name).mkdir(parents=True)
            (tmp_path / place / name / mark).write_text(json.dumps(said))
    assert scratch.reap(tmp_path / "scratch") == ["before"]
    assert temporary.reap(tmp_path / "tmp") == [tmp_path / "tmp/before"]
    monkeypatch.setattr(machine, "boot_id", lambda: "another")  # a container's host name is its own, its kernel ours
    assert scratch.reap(tmp_path / "scratch") == ["theirs"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting another /proc needs root")
@pytest.mark.parametrize("hidden", [1, 2])
def test_a_process_that_proc_hides_is_alive(hidden: int) -> None:
    look = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from trajmake.engines.owner import over, owner
place = owner().rsplit(" ", 2)[0]
os.setgroups([])
os.setgid(12345)
os.setuid(12345)
print(over(f"{{place}} {os.getpid()} 1"), over(f"{{place}} 4194304 1"))
"""
    script = f'mount -t proc -o hidepid={hidden} proc /proc; exec "$@"'
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", sys.executable, "-c", look]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True"], done.stderr

"""A session's copy in S3: real servers, OpenStack Swift's and moto's."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import object_stores
import pytest
import small_instances
import yaml
from made_sessions import Made
from object_stores import Store
from project import Project
from test_images_workflow import engine_or_skip

from trajmake import s3
from trajmake.errors import ClaimedError, ConfigError, CopyError
from trajmake.sessions import layout, locks, mirror
from trajmake.settings.sections import ResultSettings

MANIFEST = "runs/results/new/manifest.json"


@pytest.fixture(scope="module", params=["moto", "swift"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Each S3 server that is here."""
    with object_stores.or_skip(request.param, tmp_path_factory.mktemp(request.param)) as server:
        s3.client.cache_clear()
        yield server
    s3.client.cache_clear()


@pytest.fixture
def place(store: Store) -> ResultSettings:
    """A bucket of the test's own."""
    bucket = f"copies-{os.urandom(6).hex()}"
    store.client().create_bucket(Bucket=bucket)
    return ResultSettings.model_validate({"uri": f"s3://{bucket}/runs/", "s3": store.settings})


@pytest.fixture
def made(tmp_path: Path) -> Made:
    made = Made(tmp_path)
    made.session("old")
    made.run("old", "a", "one")
    made.session("new", usd=3.5)
    made.run("new", "a", "one", True)
    made.run("new", "a", "owner/two", False)
    made.step("new", "a", "one", 1, "ls")
    return made


def tree(folder: Path, session: str = "new") -> dict[str, tuple[bytes, int]]:
    """Content and time of a session's files, but for the locks and what says where the copy is."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and f"/{session}/" in name and not path.name.startswith((".driver", ".claim", ".mirror")):
            found[name] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found


def test_a_copy_comes_back_as_it_was(made: Made, place: ResultSettings, tmp_path: Path) -> None:
    """Also a large file, sent in parts; nothing of other sessions, and no lock."""
    big = made.root / layout.LOGS.format(session="new") / "big.log"
    big.parent.mkdir(parents=True)
    big.write_bytes(os.urandom(1 << 20) * 20)
    done = mirror.push(made.root, "new", place)
    assert done.files == done.moved == len(tree(made.root)) and done.bytes > 20 << 20
    assert mirror.pull(tmp_path / "there", "new", place) == done
    assert tree(tmp_path / "there") == tree(made.root)
    assert not tree(tmp_path / "there", "old")
    assert mirror.pull(tmp_path / "there", "new", place).moved == 0


def test_only_what_changed_is_sent(made: Made, place: ResultSettings, tmp_path: Path) -> None:
    """A file that is gone here is no part of the copy any more, and stays where it was put."""
    first = mirror.push(made.root, "new", place)
    assert mirror.push(made.root, "new", place).moved == 0
    one, two = sorted((made.root / "trajectories/new").rglob("output.jsonl"))
    os.utime(one)  # another time, the same content
    two.write_text("{}")
    done = mirror.push(made.root, "new", place)
    assert (done.moved, done.bytes, done.files) == (1, 2, first.files)
    one.unlink()
    assert mirror.push(made.root, "new", place).files == first.files - 1
    mirror.pull(tmp_path / "there", "new", place)
    assert tree(tmp_path / "there") == tree(made.root)


def test_another_session_of_the_same_name_stays_apart(made: Made, place: ResultSettings, tmp_path: Path) -> None:
    """Neither does a fresh start overwrite what was paid for, nor does a copy overwrite what is here."""
    mirror.push(made.root, "new", place)
    other = Made(tmp_path / "other")
    other.session("new")
    other.run("new", "a", "one", False)
    before = tree(other.root)
    with pytest.raises(ConfigError, match="another session new"):
        mirror.push(other.root, "new", place)
    with pytest.raises(ConfigError, match="another session new"):
        mirror.pull(other.root, "new", place)
    assert tree(other.root) == before
    with pytest.raises(ConfigError, match="no session nowhere"):
        mirror.pull(other.root, "nowhere", place)


def test_a_push_that_breaks_off_says_so_and_is_gone_on_with(
    made: Made, place: ResultSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is not sent again; who pulls meanwhile is told."""
    whole = len(tree(made.root))
    paths = mirror._files

    def broken(*arguments: object) -> Iterator[str]:
        yield from list(paths(*arguments))[:5]  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mirror, "_at_once", lambda work, items: (result for item in items if (result := work(item))))
        patch.setattr(mirror, "_files", broken)
        with pytest.raises(KeyboardInterrupt):
            mirror.push(made.root, "new", place)
    assert mirror.pull(tmp_path / "there", "new", place) == mirror.Copied(5, 5, ANY_BYTES, False)
    done = mirror.push(made.root, "new", place)
    assert (done.moved, done.files, done.whole) == (whole - 5, whole, True)


class _Any:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, int)

    __hash__ = None  # type: ignore[assignment]


ANY_BYTES: int = _Any()  # type: ignore[assignment]


def test_a_damaged_copy_is_not_taken(made: Made, place: ResultSettings, store: Store, tmp_path: Path) -> None:
    """Another content under a file's key; a manifest that leads out of the folder; one that is none."""
    mirror.push(made.root, "new", place)
    client, bucket = store.client(), place.uri.split("/")[2]
    manifest = json.loads(client.get_object(Bucket=bucket, Key=MANIFEST)["Body"].read())
    name = next(name for name in manifest["files"] if name.endswith("output.jsonl"))
    client.put_object(Bucket=bucket, Key=f"runs/{name}", Body=b"no")
    with pytest.raises(CopyError, match=r"output\.jsonl is not what the manifest says"):
        mirror.pull(tmp_path / "there", "new", place)
    assert not (tmp_path / "there" / name).exists()
    manifest["files"] = {"../outside": [1, 1, "00"]}
    for body in (json.dumps(manifest), "[]", "nothing"):
        client.put_object(Bucket=bucket, Key=MANIFEST, Body=body.encode())
        with pytest.raises(CopyError, match="is no manifest"):
            mirror.pull(tmp_path / "there", "new", place)
        with pytest.raises(CopyError, match="is no manifest"):
            mirror.push(made.root, "new", place)
    assert not (tmp_path / "outside").exists()


def test_a_session_that_is_driven_here_is_not_overwritten(made: Made, place: ResultSettings) -> None:
    mirror.push(made.root, "new", place)
    with locks.claim(made.root / layout.LOCK.format(session="new")), pytest.raises(ClaimedError):
        mirror.pull(made.root, "new", place)


def test_pushes_take_turns(made: Made, place: ResultSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`trajmake push` beside the push at a run's end: one copy, of one id, whose manifest fits its objects."""
    other = _Second(lambda: mirror.push(made.root, "new", place), monkeypatch)
    manifest, put = mirror._manifest, mirror._put
    read, sent = threading.Event(), threading.Event()

    def both_before_the_first(*arguments: object) -> mirror.Manifest | None:
        found = manifest(*arguments)  # type: ignore[arg-type]
        if other.is_me():
            read.set()
            assert sent.wait(300)
        else:
            other.start()
            other.waits_or(read)
        return found

    def the_first_is_last(place: mirror._Place, path: str, data: bytes) -> None:
        if path == layout.RESULTS.format(session="new") + "/manifest.json" and not other.is_me():
            (made.root / layout.RESULTS.format(session="new") / "later.txt").write_text("later")
            sent.set()
            other.waits_or(other.ended)
        put(place, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(mirror, "_manifest", both_before_the_first)
        patch.setattr(mirror, "_put", the_first_is_last)
        mirror.push(made.root, "new", place)
        other.join()
    assert mirror.push(made.root, "new", place).moved == 0
    mirror.pull(tmp_path / "there", "new", place)
    assert tree(tmp_path / "there") == tree(made.root)
    assert not [path for path in (tmp_path / "there").rglob(".mirror.*") if path.suffix != ".json"]


def test_an_older_manifest_does_not_replace_a_newer_one(
    made: Made, place: ResultSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file changed between two pushes, of which the older came to its end last: the copy could not be pulled."""
    mirror.push(made.root, "new", place)
    other = _Second(lambda: mirror.push(made.root, "new", place), monkeypatch)
    put = mirror._put
    file = made.root / layout.RESULTS.format(session="new") / "changing.txt"
    file.write_text("old")

    def late(place: mirror._Place, path: str, data: bytes) -> None:
        if path.endswith("manifest.json") and not other.is_me():
            file.write_text("newer")
            other.start()
            other.waits_or(other.ended)
        put(place, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(mirror, "_put", late)
        mirror.push(made.root, "new", place)
        other.join()
    mirror.pull(tmp_path / "there", "new", place)
    assert tree(tmp_path / "there") == tree(made.root)


class _Second:
    """The same work in another thread, and when it waits for a lock."""

    def __init__(self, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
        self.ended, self._waits = threading.Event(), threading.Event()
        self._errors: list[Exception] = []
        self._thread = threading.Thread(target=self._run, args=(work,))
        sleep = time.sleep

        def waiting(seconds: float) -> None:
            if self.is_me():
                self._waits.set()
            sleep(seconds)

        monkeypatch.setattr(locks.time, "sleep", waiting)

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            self._errors.append(error)
            raise
        finally:
            self.ended.set()

    def start(self) -> None:
        self._thread.start()

    def is_me(self) -> bool:
        return threading.current_thread() is self._thread

    def waits_or(self, event: threading.Event) -> None:
        """Return when it waits for a lock, or the event is there."""
        while not self._waits.is_set() and not event.wait(0.02):
            assert not self._errors

    def join(self) -> None:
        self._thread.join()
        assert not self._errors


def test_a_push_that_lost_its_turn_writes_no_manifest(
    made: Made, place: ResultSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was suspended wakes up, and another has pushed meanwhile."""
    mirror.push(made.root, "new", place)
    client, bucket = store.client(), place.uri.split("/")[2]
    before = client.get_object(Bucket=bucket, Key=MANIFEST)["Body"].read()
    paths = mirror._files

    def lost(*arguments: object) -> Iterator[str]:
        (made.root / "results/new/.mirror.lock.1000").write_text("{}")
        (made.root / "results/new/more.txt").write_text("more")
        yield from paths(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(mirror, "_files", lost)
    with pytest.raises(ClaimedError, match="another process took over"):
        mirror.push(made.root, "new", place)
    assert client.get_object(Bucket=bucket, Key=MANIFEST)["Body"].read() == before


def test_a_pull_that_was_killed_at_its_start_is_repeated(
    made: Made, place: ResultSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock alone makes no other session of the folder."""
    mirror.push(made.root, "new", place)
    there = tmp_path / "there"
    with monkeypatch.context() as patch:
        patch.setattr(mirror.files, "write_json", _killed)
        with pytest.raises(KeyboardInterrupt):
            mirror.pull(there, "new", place)
    (there / "results/new/.driver.lock-left").write_text("")
    assert (there / "results/new/.driver.lock").exists()
    mirror.pull(there, "new", place)
    assert tree(there) == tree(made.root)


def _killed(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_session_that_began_before_the_lock_was_taken_is_not_mixed_with_a_copy(
    made: Made, place: ResultSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.push(made.root, "new", place)
    opened = locks._open

    def after_another(path: Path) -> IO[str]:
        monkeypatch.setattr(locks, "_open", opened)
        Made(tmp_path / "there").session("new")
        return opened(path)

    monkeypatch.setattr(locks, "_open", after_another)
    with pytest.raises(ConfigError, match="another session new"):
        mirror.pull(tmp_path / "there" / "outputs", "new", place)
    assert len(tree(tmp_path / "there")) == 1


def test_faults_are_named(made: Made, place: ResultSettings, monkeypatch: pytest.MonkeyPatch, request) -> None:
    """No bucket, nobody there, a wrong key: the address and what to do."""
    absent = place.model_copy(update={"uri": "s3://no-such-bucket-here/x"})
    with pytest.raises(CopyError, match=r"no-such-bucket-here.*NoSuchBucket"):
        mirror.push(made.root, "new", absent)
    with pytest.raises(CopyError, match="NoSuchBucket"):
        mirror.pull(made.root, "new", absent)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        away = place.model_copy(update={"s3": place.s3.model_copy(update={"endpoint": address})})
        with pytest.raises(CopyError, match=address):
            mirror.push(made.root, "new", away)
    with pytest.raises(ConfigError, match=r"results\.uri"):
        mirror.push(made.root, "new", ResultSettings())
    for odd in ("s3:/bucket", "https://bucket/x", "bucket"):
        with pytest.raises(ConfigError, match="no place in S3"):
            mirror.push(made.root, "new", place.model_copy(update={"uri": odd}))
    if "swift" in request.node.name:  # moto takes any key
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        s3.client.cache_clear()
        with pytest.raises(CopyError) as caught:
            mirror.push(made.root, "new", place)
        assert "s3:PutObject" in caught.value.hint
        s3.client.cache_clear()


def test_the_commands(made: Made, place: ResultSettings, tmp_path: Path) -> None:
    config = yaml.safe_load(made.configfile.read_text()) | {"results": place.model_dump()}
    made.configfile.write_text(yaml.safe_dump(config))
    pushed = json.loads(made.call("push", "--session", "new", "--json").stdout)
    assert pushed["files"] == pushed["moved"] == len(tree(made.root)) and pushed["whole"]
    there = str(tmp_path / "there")
    assert "files moved" in made.call("pull", "--session", "new", "--output-dir", there).stdout
    assert tree(Path(there)) == tree(made.root)
    elsewhere = place.uri.replace("runs", "elsewhere")
    assert json.loads(made.call("push", "--session", "new", "--uri", elsewhere, "--json").stdout)["uri"] == elsewhere


def test_a_run_leaves_a_copy_from_which_it_goes_on(place: ResultSettings, tmp_path: Path) -> None:
    """The whole way: run, lose the host, pull, and nothing is left to do; a store that is away fails the command."""
    store = tmp_path / "store"
    engine_or_skip("namespace", store)
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    small_instances.write(small_instances.make(tmp_path / "made", 1), data / "instances.jsonl")
    wanted = place.model_dump()
    project = Project.make(tmp_path / "project", data, store, models=["gold"], engine="namespace", results=wanted)
    done = project.snakemake("-j", "2", "--profile", "hybrid")
    assert done.returncode == 0 and f"Copied to {place.uri}: " in done.stdout, done.stdout
    project.configure(results=wanted | {"s3": wanted["s3"] | {"endpoint": "http://127.0.0.1:9"}})
    failed = project.snakemake("-j", "2", "--profile", "hybrid", "--forcerun", "summarize")
    assert failed.returncode != 0 and "127.0.0.1:9" in failed.stdout and "`trajmake push`" in failed.stdout
    project.configure(results=wanted)
    assert project.trajmake("push").returncode == 0
    outputs = project.root / "outputs"
    before = tree(outputs, "demo")
    shutil.rmtree(outputs)
    shutil.rmtree(project.root / ".snakemake")
    pulled = project.trajmake("pull")
    assert pulled.returncode == 0, pulled.stdout
    assert tree(outputs, "demo") == before
    assert "Nothing to be done" in project.snakemake("-n", "--profile", "hybrid").stdout
    assert json.loads(project.trajmake("analyze", "--json").stdout)

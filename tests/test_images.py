"""Images: from real servers into real engines, and away again."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import images
import object_stores
import ports
import pytest
import zstandard
from images import member, tar_of
from object_stores import Store
from typer.testing import CliRunner

from trajmake import engines, s3, settings
from trajmake.errors import ConfigError, DiskFullError, ImageBrokenError, ImageMissingError, TrajmakeError
from trajmake.images import download, inventory, lifecycle, ranged, sources, space
from trajmake.images.leases import Lease
from trajmake.images.lifecycle import Host
from trajmake.sessions import faults
from trajmake.stages import images as stages_images

BUCKET = "images"
MODEL = {"x": {"agent": "empty"}}
MADE: list[str] = []  # ids of all images so far


@pytest.fixture(scope="module", params=["moto", "swift"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Each S3 server that is here, with a bucket."""
    with object_stores.or_skip(request.param, tmp_path_factory.mktemp(request.param)) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The fast S3 server alone."""
    with object_stores.or_skip("moto", tmp_path_factory.mktemp("moto")) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(params=["docker", "namespace"])
def engine_name(request: pytest.FixtureRequest) -> str:
    try:
        engines.select(request.param).version()
    except TrajmakeError as error:
        pytest.skip(f"engine {request.param}: {error.message}")
    return str(request.param)


def options_of(folder: Path, server: Store | None = None, engine: str = "namespace", **image: object):
    """A configuration whose outputs lie in ``folder``."""
    chosen = {"store": str(folder / "store"), **image} | ({"s3": server.settings} if server else {})
    config = {"session": "s", "dataset": "none", "models": ["x"], "catalog": MODEL, "images": chosen}
    return settings.load(config | {"engine": engine, "output_dir": str(folder / "outputs")}, {})


@pytest.fixture
def host(tmp_path: Path, engine_name: str) -> Iterator[Host]:
    """An engine and a session without a server; what it loaded is removed again."""
    yield from _host(options_of(tmp_path, engine=engine_name))


@pytest.fixture
def s3_host(tmp_path: Path, engine_name: str, store: Store) -> Iterator[Host]:
    """The same with a server."""
    yield from _host(options_of(tmp_path, store, engine_name))


def _host(options) -> Iterator[Host]:
    engine = engines.configured(options)
    before = len(MADE)
    yield Host(engine, options)
    for identity in MADE[before:]:  # and nobody else's: the daemon is the whole machine's
        Lease(identity, Path("/none")).drop()
        engine.remove(identity)


def archive_of(path: Path, size: int = 100_000, **more) -> str:
    """A small image of its own; gives its id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tag = f"trajmake-test:{os.urandom(6).hex()}"
    MADE.append(images.save(path, [tar_of(member("data", os.urandom(size)))], tags=[tag], **more))
    return MADE[-1]


def write_row(folder: Path, instance_id: str = "Owner__Repo-1") -> None:
    """A dataset ``rows.jsonl`` beside ``image.tar``, which its one row names."""
    row = {
        "instance_id": instance_id, "repo": "Owner/Repo", "base_commit": "0" * 40, "language": "python",
        "problem_statement": "x", "patch": "", "test_patch": "", "FAIL_TO_PASS": ["a"], "PASS_TO_PASS": [],
        "test_command": "pytest", "test_output_parser": "python/parse_log_pytest",
        "image_storage_uri": str(folder / "image.tar"),
    }  # fmt: skip
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")


def put(server: Store, path: Path, key: str = "") -> str:
    """Upload a file; gives its URI."""
    key = key or f"{os.urandom(6).hex()}/{path.name}"
    server.client().put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
    return f"s3://{BUCKET}/{key}"


def left(host: Host) -> list[str]:
    """What lies in the folder of tarballs besides locks and their turns."""
    return sorted(p.name for p in host.folder.iterdir() if ".lock" not in p.suffixes) if host.folder.exists() else []


def fetch_and_load(host: Host, uri: str) -> dict:
    tarball = host.folder / "image.tar"
    lifecycle.fetch(host, uri, tarball)
    return lifecycle.load(host, tarball, uri)


# --- sources ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("s3://bucket/a/b.tar", "s3"),
        ("https://host/a.tar", "https"),
        ("file:///a/b.tar", "file"),
        ("/a/b.tar", "file"),
        ("images/x.tar.zst", "file"),
        ("registry.host/path/owner_repo:commit", "registry"),
        ("owner_repo:0123abc", "registry"),
        ("localhost:5000/name:tag", "registry"),
        ("123.dkr.ecr.us-east-1.amazonaws.com/name@sha256:" + "0" * 64, "registry"),
        ("ftp://host/a.tar", "ftp"),
    ],
)
def test_a_uri_says_what_kind_it_is(uri: str, kind: str) -> None:
    assert sources.kind(uri) == kind


def test_an_unknown_kind_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ftp://host/a\.tar") as caught:
        sources.locate("ftp://host/a.tar", options_of(tmp_path).images)
    assert "s3, http, https, file, registry" in caught.value.hint


def test_from_s3_into_an_engine(s3_host: Host, store: Store, tmp_path: Path) -> None:
    """Nothing is left of the download; the record says what came from where."""
    identity = archive_of(tmp_path / "image.tar")
    uri = put(store, tmp_path / "image.tar")
    record = fetch_and_load(s3_host, uri)
    assert record["id"] == identity and record["uri"] == uri
    assert record["sha256"] == hashlib.sha256((tmp_path / "image.tar").read_bytes()).hexdigest()
    held = s3_host.engine.find(identity)
    assert held and space.mark(identity) in held.tags
    assert left(s3_host) == ["image.tar"]  # which Snakemake removes


def test_what_is_there_is_not_downloaded(s3_host: Host, store: Store, tmp_path: Path, caplog) -> None:
    """The manifest of 24 MB is read by some kilobytes of them, and they decide."""
    caplog.set_level(logging.INFO)
    identity = archive_of(tmp_path / "image.tar", 24 << 20)
    uri = put(store, tmp_path / "image.tar")
    s3_host.engine.load(tmp_path / "image.tar")
    record = fetch_and_load(s3_host, uri)
    assert record["id"] == identity and "nothing is downloaded" in caplog.text
    assert (s3_host.folder / "image.tar").stat().st_size < 1000
    requests, received = caplog.text.split("manifest read by ")[1].split(" bytes")[0].split(" requests, ")
    assert int(requests) <= 4 and int(received) < 100_000
    assert lifecycle.release(s3_host.engine, record, s3_host.options)["why"] == "was not loaded by Trajmake"
    assert s3_host.engine.find(identity)
    s3_host.engine.remove(identity)


def test_what_is_to_be_kept_stays_tarball_and_image(s3_host: Host, store: Store, tmp_path: Path) -> None:
    identity = archive_of(tmp_path / "image.tar")
    uri = put(store, tmp_path / "image.tar")
    images_options = s3_host.options.images.model_copy(update={"keep": True})
    host = Host(s3_host.engine, s3_host.options.model_copy(update={"images": images_options}))
    record = fetch_and_load(host, uri)
    assert (host.folder / "image.tar").read_bytes() == (tmp_path / "image.tar").read_bytes()
    assert lifecycle.release(host.engine, record, host.options)["why"] == "is to be kept"
    assert host.engine.find(identity) and left(host) == ["image.tar"]


def test_a_kept_tarball_is_there_for_other_sessions(host: Host, tmp_path: Path) -> None:
    """Each session fetches to a place of its own; what is kept needs no source any more."""
    identity = archive_of(tmp_path / "image.tar")
    uri = str(tmp_path / "image.tar")
    kept = host.options.images.model_copy(update={"keep": True})
    host = Host(host.engine, host.options.model_copy(update={"images": kept}))
    own = host.folder / "fetched/s/image.tar"
    lifecycle.fetch(host, uri, own)
    record = lifecycle.load(host, own, uri)
    own.unlink()
    (tmp_path / "image.tar").unlink()
    other = Host(host.engine, host.options.model_copy(update={"session": "t"}))
    Lease(identity, host.driver).drop()
    assert space.remove(host.engine, host.engine.find(identity), host.driver) == ""
    assert lifecycle.ensure(host.engine, uri, other.options).id == record["id"] == identity
    assert left(other) == ["fetched", "image.loaded.json", "image.tar"]
    assert other.known("image") == record
    lifecycle.fetch(other, uri, other.folder / "fetched/t/image.tar")
    assert (other.folder / "fetched/t/image.tar").samefile(other.folder / "image.tar")


@pytest.mark.parametrize("text", ['{"image": "im', "", "{}", "[]", None])
def test_a_damaged_record_stops_the_run_before_its_agent(host: Host, tmp_path: Path, text: str | None) -> None:
    archive_of(tmp_path / "image.tar")
    uri = str(tmp_path / "image.tar")
    marker = host.folder / "image.loaded.json"
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.mkdir() if text is None else marker.write_text(text)
    with pytest.raises(ImageBrokenError, match=r"image\.loaded\.json is damaged") as caught:
        lifecycle.ensure(host.engine, uri, host.options)
    assert "Remove it" in caught.value.hint
    config, record = host.options.model_dump(mode="json"), tmp_path / "released.json"
    stages_images.release_image(config, image="image", record=str(record), log=str(tmp_path / "log"))
    assert "is damaged" in json.loads(record.read_text())["why"]


def test_a_fault_takes_no_record_s_place(host: Host, tmp_path: Path) -> None:
    """What a session could not fetch, another has loaded beside it: both may use it."""
    archive_of(tmp_path / "image.tar")
    uri = str(tmp_path / "image.tar")
    own, marker = host.folder / "fetched/s/image.tar", host.folder / "image.loaded.json"
    config = host.options.model_dump(mode="json") | {"dataset": str(tmp_path / "rows.jsonl")}
    write_row(tmp_path)
    names = {"uri": uri, "tarball": str(own), "record": str(marker), "log": str(tmp_path / "log")}
    fault = faults.as_record(faults.from_error(ImageMissingError("It is not there."), "fetch_image", 1))

    def loaded(after: dict, before: dict | None = None) -> dict:
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(json.dumps(after))
        if before:
            marker.write_text(json.dumps(before))
        stages_images.load_image(config, **names)
        return json.loads(marker.read_text())

    assert loaded(fault) == fault
    record = fetch_and_load(host, uri)
    good = {"image": "image", "here": record["id"], "sha256": record["sha256"], "uri": uri}
    assert loaded(good) == record
    assert loaded(fault) == record
    assert loaded(fault, record | {"uri": "s3://another/image.tar"}) == fault
    assert loaded(fault, fault | {"error": "An earlier one."}) == fault


def test_ensure_brings_a_removed_image_back(s3_host: Host, store: Store, tmp_path: Path) -> None:
    identity = archive_of(tmp_path / "image.tar")
    uri = put(store, tmp_path / "image.tar")
    record = fetch_and_load(s3_host, uri)
    (s3_host.folder / "image.loaded.json").write_text(json.dumps(record))
    (s3_host.folder / "image.tar").unlink()
    assert lifecycle.release(s3_host.engine, record, s3_host.options)["released"]
    assert s3_host.engine.find(identity) is None
    assert lifecycle.ensure(s3_host.engine, uri, s3_host.options).id == identity
    assert left(s3_host) == ["image.loaded.json"]


def test_a_changed_source_is_refused(s3_host: Host, store: Store, tmp_path: Path) -> None:
    archive_of(tmp_path / "image.tar")
    uri = put(store, tmp_path / "image.tar", "same/image.tar")
    record = fetch_and_load(s3_host, uri)
    (s3_host.folder / "image.loaded.json").write_text(json.dumps(record))
    (s3_host.folder / "image.tar").unlink()
    lifecycle.release(s3_host.engine, record, s3_host.options)
    archive_of(tmp_path / "image.tar")
    put(store, tmp_path / "image.tar", "same/image.tar")
    with pytest.raises(ImageBrokenError, match="now it holds") as caught:
        lifecycle.ensure(s3_host.engine, uri, s3_host.options)
    assert uri in caught.value.message and left(s3_host) == ["image.loaded.json"]


FETCH = """
import sys
from pathlib import Path
from trajmake import engines, settings
from trajmake.images import lifecycle
options = settings.from_file(sys.argv[1])
lifecycle.fetch(lifecycle.Host(engines.configured(options), options), sys.argv[2], Path(sys.argv[3]))
"""


# The first so many blocks come, the others are on their way for ever.
HALF = """
import threading
from trajmake.images import download
fetch = download.Download._fetch
wait = threading.Event().wait
download.Download._fetch = lambda self, block, *more: wait() if block >= 6 else fetch(self, block, *more)
"""


def fetching(host: Host, uri: str, tarball: Path, before: str = "") -> subprocess.Popen[bytes]:
    """A process of its own that fetches; ``before`` is what it does before."""
    config = tarball.with_name("config.yaml")
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(host.options.model_dump_json())
    return subprocess.Popen([sys.executable, "-c", before + FETCH, config, uri, tarball], stderr=subprocess.PIPE)


def test_a_killed_download_goes_on_where_it_stopped(tmp_path: Path, moto: Store, caplog) -> None:
    """`kill -9` in the middle; what had come is not asked for again, and the whole is right."""
    caplog.set_level(logging.INFO)
    host = Host(engines.select("fake"), options_of(tmp_path, moto, "fake"))
    archive_of(tmp_path / "image.tar", 12 * download.BLOCK)
    uri = put(moto, tmp_path / "image.tar")
    tarball = host.folder / "image.tar"
    journal = host.folder / "image.tar.part.journal"
    process = fetching(host, uri, tarball, HALF)
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not tarball.exists()
    had = journal.read_text().count("\n") - 1
    assert 2 <= had <= 6
    arriving = download.Download(sources.locate(uri, host.options.images), tarball)
    assert arriving.missing < 13 * download.BLOCK - (had - 1) * download.BLOCK
    lifecycle.fetch(host, uri, tarball)
    assert f"going on with {had} of 13 blocks" in caplog.text
    assert tarball.read_bytes() == (tmp_path / "image.tar").read_bytes()
    assert "image.tar" in left(host) and not [name for name in left(host) if "part" in name]


def test_what_was_not_asked_for_is_fetched_when_it_is_read(tmp_path: Path, moto: Store) -> None:
    """A layer that was there goes while the others come: then it is wanted after all."""
    archive_of(tmp_path / "image.tar", 3 * download.BLOCK)
    options = options_of(tmp_path, moto)
    source = sources.locate(put(moto, tmp_path / "image.tar"), options.images)
    arriving = download.Download(source, tmp_path / "copy.tar")
    with arriving.fetching([(2 * download.BLOCK, 10)]) as coming:
        assert b"".join(coming.read(0, source.size)) == (tmp_path / "image.tar").read_bytes()
    assert arriving.missing == 0


def test_a_part_of_another_object_is_no_beginning(tmp_path: Path, moto: Store) -> None:
    host = Host(engines.select("fake"), options_of(tmp_path, moto, "fake"))
    for _ in range(2):
        archive_of(tmp_path / "image.tar", 2 * download.BLOCK)
        uri = put(moto, tmp_path / "image.tar", "changing/image.tar")
        arriving = download.Download(sources.locate(uri, host.options.images), host.folder / "image.tar")
        host.folder.mkdir(parents=True, exist_ok=True)
        next(stream := arriving.stream())
        stream.close()
        assert arriving.part.exists()
    lifecycle.fetch(host, uri, host.folder / "image.tar")
    assert (host.folder / "image.tar").read_bytes() == (tmp_path / "image.tar").read_bytes()


@pytest.mark.parametrize("parts", [False, True])
def test_a_wrong_checksum_is_told_and_nothing_is_kept(tmp_path: Path, moto: Store, parts: bool) -> None:
    """Bytes that rot in the part file are found by the source's MD5, of one put or of many parts."""
    from boto3.s3.transfer import TransferConfig

    host = Host(engines.select("fake"), options_of(tmp_path, moto, "fake"))
    archive_of(tmp_path / "image.tar", 2 * download.BLOCK)
    config = TransferConfig(multipart_threshold=(8 << 20) if parts else (1 << 40), multipart_chunksize=8 << 20)
    moto.client().upload_file(str(tmp_path / "image.tar"), BUCKET, f"rot{parts}/image.tar", Config=config)
    uri = f"s3://{BUCKET}/rot{parts}/image.tar"
    found = sources.locate(uri, host.options.images)
    assert ("md5-parts" in found.checksums) is parts
    host.folder.mkdir(parents=True)
    arriving = download.Download(found, host.folder / "image.tar")
    next(stream := arriving.stream())
    stream.close()
    with arriving.part.open("r+b") as part:
        part.seek(5000)
        part.write(b"rot")
    with pytest.raises(ImageBrokenError, match="md5") as caught:
        lifecycle.fetch(host, uri, host.folder / "image.tar")
    assert uri in caught.value.message and left(host) == []
    lifecycle.fetch(host, uri, host.folder / "image.tar")
    assert (host.folder / "image.tar").read_bytes() == (tmp_path / "image.tar").read_bytes()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60_000])


@pytest.mark.parametrize(
    ("change", "said"),
    [("truncated", "truncated"), ("no manifest", "manifest.json"), ("architecture", "is for linux/")],
)
def test_a_bad_archive_is_known_before_it_is_downloaded(
    s3_host: Host, store: Store, tmp_path: Path, change: str, said: str
) -> None:
    more: dict = {"architecture": "s390x" if images.machine_architecture() != "s390x" else "amd64"}
    archive_of(
        tmp_path / "image.tar",
        **(more if change == "architecture" else {}),
        **({"change": lambda files: files.pop("manifest.json")} if change == "no manifest" else {}),
    )
    if change == "truncated":
        cut(tmp_path / "image.tar")
    uri = put(store, tmp_path / "image.tar")
    for attempt in (
        lambda: fetch_and_load(s3_host, uri),
        lambda: lifecycle.ensure(s3_host.engine, uri, s3_host.options),
    ):
        with pytest.raises(ImageBrokenError, match=said) as caught:
            attempt()
        assert uri in caught.value.message and left(s3_host) == []


def test_what_is_not_there_is_named(s3_host: Host) -> None:
    uri = f"s3://{BUCKET}/none/image.tar"
    with pytest.raises(ImageMissingError, match=f"There is no image {uri}"):
        fetch_and_load(s3_host, uri)
    with pytest.raises(ConfigError, match="names no object"):
        fetch_and_load(s3_host, "s3://bucket")
    assert left(s3_host) == []


def test_denied_access_is_named(tmp_path: Path, monkeypatch, store: Store, request) -> None:
    """A wrong key: only Swift looks at it."""
    if "swift" not in request.node.name:
        pytest.skip("moto takes any key")
    archive_of(tmp_path / "image.tar")
    uri = put(store, tmp_path / "image.tar")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3.client.cache_clear()
    with pytest.raises(ImageMissingError, match="denied") as caught:
        sources.locate(uri, options_of(tmp_path, store).images)
    assert uri in caught.value.message and "images.s3" in caught.value.hint
    unsigned = options_of(tmp_path, s3=store.settings | {"unsigned": True})
    with pytest.raises(ImageMissingError, match=r"denied|400"):  # Swift calls a request without a signature a bad one
        sources.locate(uri, unsigned.images)
    s3.client.cache_clear()


def test_an_endpoint_that_does_not_answer_is_named(tmp_path: Path, moto: Store) -> None:
    nowhere = f"http://127.0.0.1:{ports.free()[0]}"
    options = options_of(tmp_path, Store(nowhere))
    with pytest.raises(ImageMissingError, match=r"s3://images/x\.tar") as caught:
        sources.locate("s3://images/x.tar", options.images)
    assert nowhere in caught.value.message
    with pytest.raises(ImageMissingError, match="cannot be reached"):
        sources.locate(f"{nowhere}/x.tar", options.images)


def test_an_unknown_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody"):
        sources.locate("s3://b/x.tar", options_of(tmp_path, s3={"profile": "nobody"}).images)


def test_a_server_that_goes_away_leaves_the_part(tmp_path: Path, monkeypatch) -> None:
    """The server dies in the middle: the fault says so, the part stays, another server finishes it."""
    if why := object_stores.without_moto():
        pytest.skip(why)
    monkeypatch.setattr(ranged, "_FIRST_PAUSE", 0.01)
    for name, value in object_stores.KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(download, "BLOCK", 1 << 20)
    archive_of(tmp_path / "image.tar", 40 << 20)
    with object_stores.moto(tmp_path) as server:
        server.client().create_bucket(Bucket=BUCKET)
        uri = put(server, tmp_path / "image.tar", "gone/image.tar")
        host = Host(engines.select("fake"), options_of(tmp_path, server, "fake"))
        host.folder.mkdir(parents=True)
        arriving = download.Download(sources.locate(uri, host.options.images), host.folder / "image.tar")
        closing = threading.Event()
        fetch = download.Download._fetch

        def half(self: download.Download, block: int, *more: Any) -> None:
            if block >= 20:
                closing.wait(60)
                raise ImageMissingError("It is not to come.")
            fetch(self, block, *more)

        with monkeypatch.context() as patched:
            patched.setattr(download.Download, "_fetch", half)
            next(stream := arriving.stream())
            closing.set()
            stream.close()
        arriving = download.Download(sources.locate(uri, host.options.images), host.folder / "image.tar")
    with pytest.raises(ImageMissingError, match="cannot be downloaded") as caught:
        list(arriving.stream())
    assert uri in caught.value.message and "kept" in caught.value.hint
    assert left(host) == ["image.tar.part", "image.tar.part.journal"]


# --- http ------------------------------------------------------------------------------------------------------


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """Python's own file server, which knows no ranges; its address, folder, and headers to add."""
    folder = tmp_path / "www"
    folder.mkdir()
    extra: dict[str, str] = {}

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def end_headers(self):
            for name, value in extra.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder, extra
        server.shutdown()
        thread.join()


def test_from_a_web_server_without_ranges(host: Host, web) -> None:
    address, folder, extra = web
    identity = archive_of(folder / "image.tar")
    extra["Content-MD5"] = _md5(folder / "image.tar")
    assert fetch_and_load(host, f"{address}/image.tar")["id"] == identity


def _md5(path: Path) -> str:
    import base64

    return base64.b64encode(hashlib.md5(path.read_bytes()).digest()).decode()


def test_a_web_servers_wrong_checksum_or_missing_file_is_told(host: Host, web) -> None:
    address, folder, extra = web
    archive_of(folder / "image.tar")
    archive_of(folder / "other.tar")
    extra["Content-MD5"] = _md5(folder / "other.tar")
    with pytest.raises(ImageBrokenError, match="md5") as caught:
        fetch_and_load(host, f"{address}/image.tar")
    assert f"{address}/image.tar" in caught.value.message and left(host) == []
    with pytest.raises(ImageMissingError, match=f"There is no image {address}/none.tar"):
        fetch_and_load(host, f"{address}/none.tar")


def test_from_a_web_server_with_ranges(host: Host, moto: Store, tmp_path: Path, caplog) -> None:
    """A signed address of S3 is a web address."""
    caplog.set_level(logging.INFO)
    identity = archive_of(tmp_path / "image.tar", 3 << 20)
    put(moto, tmp_path / "image.tar", "signed/image.tar")
    client = moto.client()
    uri = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "signed/image.tar"})
    assert fetch_and_load(host, uri)["id"] == identity
    assert "manifest read by" in caplog.text


# --- local files, compression ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_a_local_file_loads_plain_or_compressed(host: Host, tmp_path: Path, suffix: str) -> None:
    identity = archive_of(tmp_path / "plain.tar")
    data = (tmp_path / "plain.tar").read_bytes()
    compress = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.zst": zstandard.compress}[suffix]
    (tmp_path / f"image{suffix}").write_bytes(compress(data))
    assert fetch_and_load(host, str(tmp_path / f"image{suffix}"))["id"] == identity


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst"])
def test_a_compressed_archive_from_s3_loads_and_a_cut_one_is_told(
    s3_host: Host, store: Store, tmp_path: Path, suffix: str
) -> None:
    identity = archive_of(tmp_path / "plain.tar")
    compress = gzip.compress if suffix == ".tar.gz" else zstandard.compress
    packed = tmp_path / f"image{suffix}"
    packed.write_bytes(compress((tmp_path / "plain.tar").read_bytes()))
    assert fetch_and_load(s3_host, put(store, packed))["id"] == identity
    cut(packed)
    uri = put(store, packed)
    with pytest.raises(ImageBrokenError) as caught:
        fetch_and_load(s3_host, uri)
    assert uri in caught.value.message


# --- registries ------------------------------------------------------------------------------------------------


@pytest.fixture
def docker_host(tmp_path: Path) -> Iterator[Host]:
    try:
        engines.select("docker").version()
    except TrajmakeError as error:
        pytest.skip(f"engine docker: {error.message}")
    yield from _host(options_of(tmp_path, engine="docker"))


def test_a_reference_is_pulled_by_the_name_the_mapping_has(docker_host: Host, tmp_path: Path) -> None:
    import docker

    if why := object_stores.without_registry():
        pytest.skip(why)
    client = docker.from_env()
    identity = archive_of(tmp_path / "image.tar")
    with object_stores.registry(tmp_path) as address:
        name = f"{address}/owner_repo"
        docker_host.engine.load(tmp_path / "image.tar", [f"{name}:commit"])
        list(client.api.push(name, tag="commit", stream=True, decode=True))
        docker_host.engine.remove(identity)
        (tmp_path / "map.csv").write_text(f"internal_uri,ecr_uri\ninternal/x:1,{name}:commit\n")
        options = options_of(tmp_path, engine="docker", mapping=str(tmp_path / "map.csv"))
        host = Host(docker_host.engine, options)
        assert fetch_and_load(host, "internal/x:1")["id"] == identity
        assert space.mark(identity) in host.engine.find(identity).tags
        with pytest.raises(ImageMissingError, match=f"{address}/none:1"):
            fetch_and_load(host, f"{address}/none:1")
    with pytest.raises(ImageMissingError, match="cannot be reached"):
        fetch_and_load(docker_host, f"{address}/none:1")


def test_an_image_that_is_pulled_is_in_use_before_it_is_ours(tmp_path: Path) -> None:
    """Else another run that needs room would take it, as the longest unused of all, as soon as it bears our mark."""
    identity = archive_of(tmp_path / "image.tar")
    others: list[threading.Thread] = []

    class Registry:
        """The engine and what it pulls; another run makes room when an image of ours is new."""

        def __getattr__(self, name: str) -> Any:
            return getattr(below, name)

        def pull(self, reference: str) -> Any:
            return below.load(tmp_path / "image.tar", [reference])

        def tag(self, image_id: str, tags: Any) -> Any:
            tagged = below.tag(image_id, tags)
            others.append(threading.Thread(target=space.evict, args=(below, tmp_path / "other.lock")))
            others[-1].start()
            others[-1].join(1)  # it may have to wait until we are done
            return tagged

    below, options = engines.configured(options_of(tmp_path)), options_of(tmp_path)
    host = Host(Registry(), options)
    assert fetch_and_load(host, "owner_repo:commit")["id"] == identity
    others[0].join()
    assert below.find(identity) and space.mark(identity) in below.find(identity).tags
    Lease(identity, host.driver).drop()


def test_an_engine_without_registries_says_so(tmp_path: Path) -> None:
    host = Host(engines.select("fake"), options_of(tmp_path, engine="fake"))
    with pytest.raises(ConfigError, match="owner_repo:commit") as caught:
        fetch_and_load(host, "owner_repo:commit")
    assert "docker save" in caught.value.hint


# --- tags ------------------------------------------------------------------------------------------------------


def test_the_double_tag_is_given_on_request(tmp_path: Path, engine_name: str) -> None:
    """`mswebench/...` in lower case, for tools that look images up by those names; off by default."""
    identity = archive_of(tmp_path / "image.tar")
    unique = os.urandom(4).hex()
    write_row(tmp_path, f"Owner__Repo-{unique}")
    options = options_of(tmp_path, engine=engine_name, double_tag=True)
    options = options.model_copy(update={"dataset": str(tmp_path / "rows.jsonl")})
    engine = engines.configured(options)
    record = fetch_and_load(Host(engine, options), str(tmp_path / "image.tar"))
    wanted = {
        f"mswebench/sweb.eval.x86_64.owner__repo-{unique}:latest",
        f"mswebench/owner_m_repo:pr-owner__repo-{unique}",
    }
    assert wanted <= set(record["tags"])
    assert all(engine.find(tag).id == identity for tag in wanted)
    assert lifecycle.release(engine, record, options)["released"]
    assert not any(engine.find(tag) for tag in wanted)


# --- disk ------------------------------------------------------------------------------------------------------


def test_an_image_that_cannot_fit_is_refused_before_it_is_unpacked(host: Host, tmp_path: Path) -> None:
    """A sparse archive of 8 TB: the disk would be full; the check says so at once."""
    import tarfile

    layer = tarfile.TarInfo("1/layer.tar")
    layer.size = 8 << 40
    archive_of(tmp_path / "small.tar")
    small = tarfile.open(tmp_path / "small.tar")  # noqa: SIM115
    manifest = json.loads(small.extractfile("manifest.json").read())
    with (tmp_path / "image.tar").open("wb") as stream:
        stream.write(layer.tobuf(tarfile.GNU_FORMAT))
        try:
            stream.seek(layer.size, 1)
        except OSError:
            pytest.skip("no sparse files here")
        manifest[0]["Layers"] = ["1/layer.tar"]
        for name, data in (
            (manifest[0]["Config"], small.extractfile(manifest[0]["Config"]).read()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            stream.write(info.tobuf() + data + b"\0" * (-len(data) % 512))
        stream.write(b"\0" * 1024)
    small.close()
    with pytest.raises(DiskFullError, match="No room") as caught:
        lifecycle.ensure(host.engine, str(tmp_path / "image.tar"), host.options)
    assert str(tmp_path / "image.tar") in caught.value.message and "prune" in caught.value.hint
    assert left(host) == []


def test_idle_images_of_ours_make_room_under_the_bound_and_no_others(tmp_path: Path) -> None:
    """Three images of 10 MB under a bound of 25 MB: the longest unused goes; one that others loaded stays."""
    options = options_of(tmp_path, max_disk_gb=0.025)
    host = Host(engines.configured(options), options)
    foreign = archive_of(tmp_path / "foreign.tar", 10_000_000)
    host.engine.load(tmp_path / "foreign.tar")
    identities = []
    for number in range(3):
        identities.append(archive_of(tmp_path / f"{number}.tar", 10_000_000))
        assert lifecycle.ensure(host.engine, str(tmp_path / f"{number}.tar"), options).id == identities[-1]
        if number == 0:
            Lease(identities[0], host.driver).drop()  # its job has ended
            time.sleep(0.02)
    assert [bool(host.engine.find(i)) for i in (*identities, foreign)] == [False, True, True, True]
    archive_of(tmp_path / "3.tar", 10_000_000)
    with pytest.raises(DiskFullError, match="max_disk_gb"):  # the others are in use: by this process
        lifecycle.ensure(host.engine, str(tmp_path / "3.tar"), options)
    for identity in identities:
        Lease(identity, host.driver).drop()


PROMISED = """
import shutil, sys
from pathlib import Path
from trajmake import engines
from trajmake.images import space
here = Path(sys.argv[1])
need = space.Need(here, shutil.disk_usage(here).free - 2 * space.RESERVE, "another image")
with space.taken(engines.select("fake"), here / "driver.lock", 0, [need]):
    print("promised", flush=True)
    sys.stdin.readline()
"""


def test_room_that_was_promised_to_another_process_is_waited_for(tmp_path: Path, caplog) -> None:
    """Nothing of it is used yet; it comes free when that process ends, however it does."""
    caplog.set_level(logging.INFO)
    command = [sys.executable, "-c", PROMISED, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "promised\n"
        need = space.Need(tmp_path, 2 * space.RESERVE, "an image")
        killer = threading.Thread(target=kill_once, args=(lambda: "waiting for 1 other image" in caplog.text, other))
        killer.start()
        with space.taken(engines.select("fake"), tmp_path / "driver.lock", 0, [need]):
            assert other.wait(10) == -9
        killer.join()
    assert "waiting for 1 other image(s)" in caplog.text


def kill_once(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """``kill -9`` when this is so, or after a minute."""
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()


# --- several runs on one host ----------------------------------------------------------------------------------

USER = """
import sys, time
from pathlib import Path
from trajmake import engines, settings
from trajmake.images import lifecycle
from trajmake.sessions import locks
options = settings.from_file(sys.argv[1])
locks.drive(lifecycle.Host(engines.configured(options), options).driver)
image = lifecycle.ensure(engines.configured(options), sys.argv[2], options)
print("has it", flush=True)
sys.stdin.readline()
"""


def using(folder: Path, host: Host, uri: str) -> subprocess.Popen[str]:
    """Another run, with outputs of its own and the same engine, that uses an image until it is told to end."""
    folder.mkdir()
    other = host.options.model_copy(update={"output_dir": str(folder / "outputs")})
    (folder / "config.yaml").write_text(other.model_dump_json())
    command = [sys.executable, "-c", USER, str(folder / "config.yaml"), uri]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_no_run_removes_an_image_under_another_and_leases_end_with_their_process(host: Host, tmp_path: Path) -> None:
    identity = archive_of(tmp_path / "image.tar")
    uri = str(tmp_path / "image.tar")
    first, second = (using(tmp_path / name, host, uri) for name in ("one", "two"))
    try:
        assert [process.stdout.readline() for process in (first, second)] == ["has it\n"] * 2
        record = {"image": "image", "id": identity}
        done = lifecycle.release(host.engine, record, host.options)
        assert not done["released"] and "is used by the session of" in done["why"]
        used = {entry.image.id: entry.user for entry in inventory.entries(host.engine)}
        assert "is used by" in space.remove(host.engine, host.engine.find(identity), host.driver) and used[identity]
        first.kill()
        first.wait()
        assert not lifecycle.release(host.engine, record, host.options)["released"]
        assert host.engine.find(identity)
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
    assert lifecycle.release(host.engine, record, host.options)["released"]
    assert host.engine.find(identity) is None


def test_two_processes_that_need_one_image_download_and_load_it_once(
    tmp_path: Path, docker_host: Host, moto: Store
) -> None:
    """With outputs of their own; the second waits for the first and finds the image there."""
    archive_of(tmp_path / "image.tar", 40 << 20)
    uri = put(moto, tmp_path / "image.tar")
    options = options_of(tmp_path, moto, "docker")
    processes = []
    for name in ("one", "two"):
        other = options.model_copy(update={"output_dir": str(tmp_path / name)})
        host = Host(docker_host.engine, other)
        processes.append(fetching(host, uri, host.folder / "image.tar"))
    assert [process.wait(120) for process in processes] == [0, 0]
    hashes = [json.loads((tmp_path / name / "images/image.tar").read_text())["sha256"] for name in ("one", "two")]
    assert sorted(map(bool, hashes)) == [False, True]  # the hash of a download, of which there was one


# --- command line ----------------------------------------------------------------------------------------------


def test_list_and_prune_show_and_free_what_this_project_loaded(tmp_path: Path) -> None:
    from trajmake.cli import app

    options = options_of(tmp_path)
    host = Host(engines.configured(options), options)
    identity, foreign = archive_of(tmp_path / "image.tar"), archive_of(tmp_path / "foreign.tar")
    host.engine.load(tmp_path / "foreign.tar")
    lifecycle.ensure(host.engine, str(tmp_path / "image.tar"), options)
    (tmp_path / "config.yaml").write_text(options.model_dump_json())
    command = ["--configfile", str(tmp_path / "config.yaml")]
    run = CliRunner().invoke
    assert run(app, ["images", "prune", "--yes", *command]).output.count("stays: it is used by a running job") == 1
    Lease(identity, host.driver).drop()
    listed = json.loads(run(app, ["images", "list", "--json", *command]).output)
    assert [entry["id"] for entry in listed] == [identity] and listed[0]["size"] >= 100_000
    assert identity[7:19] in run(app, ["images", "list", *command]).output
    assert run(app, ["images", "prune", *command], input="n\n").exit_code == 1 and host.engine.find(identity)
    done = run(app, ["images", "prune", "--json", "--yes", *command])
    assert json.loads(done.output)["removed"] == [identity]
    assert host.engine.find(identity) is None and host.engine.find(foreign)


def test_a_host_without_images_has_an_empty_list(tmp_path: Path) -> None:
    assert inventory.entries(engines.configured(options_of(tmp_path))) == []

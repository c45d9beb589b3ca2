"""S3 → runnable image, against the plain way: download the whole file, then ``docker load``.

Pairwise in one process run, in turn, on one server (OpenStack Swift on loopback;
moto is no measure, it copies the object for each request). Each load is really
cold: the image is removed before. Needs Docker, Swift and about 5 GB of disk.

    make bench-images            1 GB, 3 pairs
    python bench/images.py [--megabytes 300] [--mbit 1000] [--pairs 3] [--quick] [--json FILE]
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import object_stores
import pairs

from trajmake import engines, settings
from trajmake.images import lifecycle
from trajmake.images.archive import machine_architecture, read_archive
from trajmake.images.leases import Lease
from trajmake.images.lifecycle import Host

LAYERS = (0.25, 0.45, 0.28, 0.02)  # of the whole: system, environment, repository with its build, last touches
FILE = 256 * 1024  # bytes of one file: half of it compresses, as programs do


def build(path: Path, size: int) -> None:
    """An archive as ``docker save`` writes it, with ``size`` bytes of files."""
    diff_ids, names = [], []
    with tarfile.open(path, "w") as tar:
        for number, share in enumerate(LAYERS):
            layer = path.with_name(f"layer{number}.tar")
            _layer(layer, int(size * share), number)
            with layer.open("rb") as stream:
                diff_ids.append(f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}")
            names.append(f"{number:064x}/layer.tar")
            tar.add(layer, names[-1])
            layer.unlink()
        rootfs = {"type": "layers", "diff_ids": diff_ids}
        config = json.dumps({"architecture": machine_architecture(), "os": "linux", "config": {}, "rootfs": rootfs})
        name = f"{hashlib.sha256(config.encode()).hexdigest()}.json"
        manifest = json.dumps([{"Config": name, "RepoTags": [], "Layers": names}])
        for member, text in ((name, config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))


def _layer(path: Path, size: int, number: int) -> None:
    with tarfile.open(path, "w") as tar:
        for index in range(max(1, size // FILE)):
            info = tarfile.TarInfo(f"layer{number}/{index % 40}/{index}")
            info.size = FILE
            tar.addfile(info, io.BytesIO(os.urandom(FILE // 2) + b"program text " * (FILE // 26 + 1)))


def plain(store: object_stores.Store, key: str, scratch: Path) -> float:
    """The user's two commands: boto3's own (parallel) download, then ``docker load``."""
    started = time.perf_counter()
    target = scratch / "plain.tar"
    store.client().download_file("images", key, str(target))
    with target.open("rb") as stream:
        subprocess.run(["docker", "load", "-q"], stdin=stream, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


def ours(host: Host, uri: str) -> float:
    """What the stages fetch_image and load_image do."""
    started = time.perf_counter()
    tarball = host.folder / "image.tar"
    lifecycle.fetch(host, uri, tarball)
    lifecycle.load(host, tarball, uri)
    seconds = time.perf_counter() - started
    tarball.unlink()
    return seconds


@contextlib.contextmanager
def link(mbit: int) -> Iterator[tuple[str, list[str]]]:
    """A network of its own behind a link of so many Mbit/s each way: its address, and what to run a command there."""
    here, there = f"tmb{os.getpid()}", f"tmc{os.getpid()}"
    within = ["ip", "netns", "exec", here]

    def run(*command: str) -> None:
        subprocess.run(command, check=True)

    run("ip", "netns", "add", here)
    try:
        run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", here)
        run("ip", "address", "add", "198.18.0.1/30", "dev", here)  # of the block for benchmarks, RFC 2544
        run(*within, "ip", "address", "add", "198.18.0.2/30", "dev", there)
        run(*within, "ip", "link", "set", "lo", "up")
        for prefix, name in (([], here), (within, there)):
            run(*prefix, "ip", "link", "set", name, "up")
            shape = ["tbf", "rate", f"{mbit}mbit", "burst", "1mb", "latency", "50ms"]
            run(*prefix, "tc", "qdisc", "add", "dev", name, "root", *shape)
        yield "198.18.0.2", within
    finally:
        run("ip", "netns", "del", here)  # the link goes with it


@contextlib.contextmanager
def keys(store: object_stores.Store) -> Iterator[None]:
    os.environ.update(store.keys)
    yield
    for name in store.keys:
        del os.environ[name]


def forget(host: Host, identity: str) -> None:
    """Remove the image, and let nothing of before still be written: the next load is cold and alone."""
    Lease(identity, host.driver).drop()
    host.engine.remove(identity)
    subprocess.run(["sync"], check=True)


def main() -> None:
    parser = pairs.options(__doc__, pairs=3)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--mbit", type=int, default=0, help="speed of the link to the store; 0: none")
    chosen = parser.parse_args()
    result = pairs.Result(f"images, {chosen.mbit} Mbit/s" if chosen.mbit else "images", chosen, "boto3")
    if why := object_stores.without_swift():
        sys.exit(why)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-images-")))
        address, within = stack.enter_context(link(chosen.mbit)) if chosen.mbit else ("127.0.0.1", [])
        build(scratch / "image.tar", chosen.megabytes * 10**6)
        identity = read_archive(scratch / "image.tar").image_id
        with object_stores.swift(scratch, address, within) as store, keys(store):
            store.client().create_bucket(Bucket="images")
            store.client().upload_file(str(scratch / "image.tar"), "images", "image.tar")
            (scratch / "image.tar").unlink()
            config = {"dataset": "none", "models": ["x"], "catalog": {"x": {"agent": "empty"}}, "engine": "docker"}
            config |= {"output_dir": str(scratch / "outputs"), "images": {"s3": store.settings}}
            options = settings.load(config)
            measure(Host(engines.configured(options), options), store, identity, scratch, result)
    result.close()


def measure(host: Host, store: object_stores.Store, identity: str, scratch: Path, result: pairs.Result) -> None:
    """Pairs, each with a look at what is there already; each way must bring the same image."""
    uri = "s3://images/image.tar"
    rows = []
    for _ in range(result.pairs):
        forget(host, identity)
        first = plain(store, "image.tar", scratch)
        assert host.engine.find(identity), "the plain way brought another image"
        forget(host, identity)
        second = ours(host, uri)
        assert host.engine.find(identity), "ours brought another image"
        rows.append((first, second, ours(host, uri)))
        print("pair: " + ", ".join(f"{value:.2f} s" for value in rows[-1]), flush=True)
    forget(host, identity)
    theirs, cold, warm = zip(*rows, strict=True)
    result.add(
        pairs.row("first load against download and `docker load`", theirs, cold, 0.8),
        pairs.row("already there, against the same", theirs, warm, 0.02),
    )


if __name__ == "__main__":
    main()

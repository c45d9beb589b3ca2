"""Images in steps: what the daemon has is left out, and nothing stays but the image itself."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import images
import pytest
from docker.errors import NotFound
from images import member, tar_of

from trajmake import engines
from trajmake.engines.base import Image
from trajmake.errors import ImageBrokenError, TrajmakeError
from trajmake.images import layered, space
from trajmake.images.archive import read_archive
from trajmake.images.download import Coming
from trajmake.images.layered import Loading

SIZE = 20 << 20  # more than a step's least: each layer is one


@pytest.fixture(scope="module")
def docker():
    engine = engines.select("docker")
    try:
        engine.version()
    except TrajmakeError as error:
        pytest.skip(f"docker: {error.message}")
    return engine


@pytest.fixture
def made(docker) -> Iterator[list[str]]:
    """Ids of the images that a test makes; they are removed after it."""
    ids: list[str] = []
    yield ids
    for identity in ids:
        docker.remove(identity)


def layer(name: str) -> bytes:
    return tar_of(member(name, os.urandom(SIZE)))


class Counting:
    """The content of an archive; knows how much of it was read."""

    def __init__(self, coming: Coming) -> None:
        self.received = 0
        self.coming = Coming(self.read, None)
        self._below = coming.read

    def read(self, start: int, length: int) -> Iterator[bytes]:
        for block in self._below(start, length):
            self.received += len(block)
            yield block


def load(engine, archive: Path, folder: Path) -> tuple[Image, int]:
    """Load; gives the image and the bytes of layers that were read for it."""
    with layered.opened(archive) as coming:
        counting = Counting(coming)
        held = read_archive(archive)
        image = layered.load(
            Loading(engine, str(archive), held, counting.coming, [space.mark(held.image_id)], folder / "driver.lock")
        )
    return image, counting.received


def ours(engine, *archives: Path) -> set[str]:
    """Our images with a layer of these archives that no other test's have: others load theirs meanwhile."""
    base = f"sha256:{hashlib.sha256(images.base_layer(git=False)).hexdigest()}"
    own = {layer for archive in archives for layer in read_archive(archive).diff_ids} - {base}
    found = set()
    for image in space.ours(engine):
        with contextlib.suppress(NotFound):
            if own & set(engine._api().inspect_image(image.id)["RootFS"]["Layers"]):
                found.add(image.id)
    return found


def test_shared_layers_come_once_and_the_steps_go(docker, made, tmp_path: Path) -> None:
    base, top = [images.base_layer(git=False), layer("base")], []
    for number in range(2):
        top.append(images.save(tmp_path / f"{number}.tar", [*base, layer(f"own{number}"), tar_of(member("last"))]))
        made.append(top[-1])
    first, all_of_it = load(docker, tmp_path / "0.tar", tmp_path)
    second, the_rest = load(docker, tmp_path / "1.tar", tmp_path)
    assert [first.id, second.id] == top and ours(docker, *tmp_path.glob("*.tar")) == set(top)
    assert all_of_it > 2 * SIZE and SIZE < the_rest < 1.1 * SIZE
    docker.remove(first.id)
    with docker.start(second.id, name=f"trajmake-test-{os.urandom(4).hex()}") as container:
        result = container.run("stat -c %s base own1 && ls own0 last", timeout=10, cwd="/")
    assert result.text.split()[:2] == [str(SIZE), str(SIZE)]
    assert "last" in result.text and "own0: No such file" in result.text.replace("'", "")


def test_an_image_all_of_whose_layers_are_there_is_only_named(docker, made, tmp_path: Path) -> None:
    layers = [layer("a")]
    made += [images.save(tmp_path / "one.tar", layers), images.save(tmp_path / "two.tar", layers, env=["A=b"])]
    load(docker, tmp_path / "one.tar", tmp_path)
    image, read = load(docker, tmp_path / "two.tar", tmp_path)
    assert (image.id, read) == (made[1], 0)


def test_a_damaged_layer_is_told_and_no_step_stays(docker, tmp_path: Path) -> None:
    def spoil(files: dict[str, bytes]) -> None:
        name = sorted(name for name in files if name.endswith("layer.tar"))[-1]
        files[name] = files[name][:-2000] + os.urandom(1000) + bytes(1000)

    images.save(tmp_path / "image.tar", [layer("a"), layer("b"), layer("c")], change=spoil)
    with pytest.raises(ImageBrokenError, match="refuses"):
        load(docker, tmp_path / "image.tar", tmp_path)
    assert not ours(docker, tmp_path / "image.tar")


def test_layers_that_go_meanwhile_are_brought(docker, made, tmp_path: Path) -> None:
    """Another session may remove the image that held them between our look and our load."""

    class Late:
        """The engine; its first look sees layers that are gone by the next."""

        looks = 0

        def __getattr__(self, name: str):
            return getattr(docker, name)

        def shared(self, diff_ids) -> int:
            self.looks += 1
            return 1 if self.looks <= 2 else docker.shared(diff_ids)

    made.append(images.save(tmp_path / "image.tar", [layer("a"), layer("b")]))
    late = Late()
    image, _ = load(late, tmp_path / "image.tar", tmp_path)
    assert image.id == made[0] and late.looks > 2


class Daemon:
    """Docker's way with layers, in memory: an archive may leave out what some image here has.

    A step of another load is here from the second look until ours comes; then that load fails and removes it.
    """

    name = "daemon"

    def __init__(self, step: tuple[str, ...]) -> None:
        self.images: dict[str, tuple[str, ...]] = {"another": ()}
        self.tries = self.looks = 0
        self.step = step

    def shared(self, diff_ids: Sequence[str]) -> int:
        self.looks += 1
        if self.looks == 2:
            self.images["step"] = self.step
        return max(n for n in range(len(diff_ids) + 1) for i in self.images.values() if i[:n] == tuple(diff_ids[:n]))

    def load_stream(self, source: str, chunks: Iterable[bytes], image_id: str, tags: Sequence[str] = ()) -> Image:
        self.tries += 1
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            self.images.pop("step", None)
            (entry,) = json.load(tar.extractfile("manifest.json"))
            wanted = json.load(tar.extractfile(entry["Config"]))["rootfs"]["diff_ids"]
            given = set(tar.getnames())
            for number, (name, diff_id) in enumerate(zip(entry["Layers"], wanted, strict=True), 1):
                if name in given and hashlib.sha256(tar.extractfile(name).read()).hexdigest() == diff_id[7:]:
                    continue
                if name in given or self.shared(wanted) < number:
                    raise ImageBrokenError(f"The daemon refuses {source}: no {name}.")
        self.images[image_id] = tuple(wanted)
        return Image(image_id, tuple(tags))

    def find(self, reference: str) -> Image | None:
        return Image(reference) if reference in self.images else None


@pytest.mark.parametrize("damaged", [False, True])
def test_layers_of_another_load_that_fails_are_brought_in_their_place(tmp_path: Path, damaged: bool) -> None:
    """It is no fault of an image that another one was broken; one that is broken itself is told, however."""
    layers = [tar_of(member(name, os.urandom(1000))) for name in "ab"]

    def spoil(files: dict[str, bytes]) -> None:
        name = max(name for name in files if name.endswith("layer.tar"))
        files[name] = files[name].replace(b"b", b"c", 1)

    identity = images.save(tmp_path / "image.tar", layers, **({"change": spoil} if damaged else {}))
    daemon = Daemon(read_archive(tmp_path / "image.tar").diff_ids[:1])
    if damaged:
        with pytest.raises(ImageBrokenError, match="refuses"):
            load(daemon, tmp_path / "image.tar", tmp_path)
    else:
        assert load(daemon, tmp_path / "image.tar", tmp_path)[0].id == identity
    assert daemon.tries == 2


LOAD = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from test_layered import load
from trajmake import engines
print(load(engines.select("docker"), Path(sys.argv[1]), Path(sys.argv[2]))[1])
"""


def test_two_processes_bring_what_they_share_once(docker, made, tmp_path: Path) -> None:
    base = [layer("base")]
    running = []
    for number in range(2):
        made.append(images.save(tmp_path / f"{number}.tar", [*base, layer(f"own{number}")]))
        places = [tmp_path / f"{number}.tar", tmp_path / str(number), Path(__file__).parent]
        (tmp_path / str(number)).mkdir()
        running.append(subprocess.Popen([sys.executable, "-c", LOAD, *places], stdout=subprocess.PIPE, text=True))
    read = sum(int(process.communicate(timeout=120)[0]) for process in running)
    assert 3 * SIZE < read < 3.2 * SIZE
    assert ours(docker, *tmp_path.glob("*.tar")) == set(made)


def test_a_killed_load_leaves_a_beginning_that_is_ours(docker, made, tmp_path: Path) -> None:
    """The steps that were done count for the next try, and go with its own."""
    made.append(images.save(tmp_path / "image.tar", [layer("a"), layer("b"), layer("c")]))
    held = read_archive(tmp_path / "image.tar")
    killing = """
import os, signal, sys
from trajmake.images import layered
step = layered.Loading._archive
def last_is_never_given(self, done, upto):
    for block in step(self, done, upto):
        if upto == len(self.held.layers):
            if self.engine.shared(self.held.diff_ids) >= 1:
                os.kill(os.getpid(), signal.SIGKILL)
        yield block
layered.Loading._archive = last_is_never_given
"""
    command = [sys.executable, "-c", killing + LOAD, tmp_path / "image.tar", tmp_path, Path(__file__).parent]
    assert subprocess.run(command, timeout=120, check=False).returncode == -9
    assert docker.shared(held.diff_ids) >= 1 and ours(docker, tmp_path / "image.tar")
    _, read = load(docker, tmp_path / "image.tar", tmp_path)
    assert read < 2.1 * SIZE
    assert docker.find(held.image_id) and ours(docker, tmp_path / "image.tar") == set(made)

"""Archives of `docker save`: what is read of them, and that unpacking stays inside."""

from __future__ import annotations

import gzip
import json
import os
import stat
import tarfile
from pathlib import Path

import images
import pytest
from images import Layer, folder, member, tar_of

from trajmake.errors import ImageBrokenError, ImageMissingError
from trajmake.images.archive import machine_architecture, read_archive, unpack


def link(name: str, target: str) -> Layer:
    return member(name, kind=tarfile.SYMTYPE, link=target)


def hard(name: str, target: str) -> Layer:
    return member(name, kind=tarfile.LNKTYPE, link=target)


def unpacked(tmp_path: Path, *layers: bytes, oci: bool = False) -> Path:
    """The root folder of an image with these layers."""
    images.save(tmp_path / "image.tar", layers, oci=oci)
    unpack(read_archive(tmp_path / "image.tar"), tmp_path / "inside" / "root")
    return tmp_path / "inside" / "root"


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.mark.parametrize("oci", [False, True], ids=["legacy", "oci"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_both_layouts_are_read(tmp_path: Path, oci: bool, packed: bool) -> None:
    path = tmp_path / "image.tar"
    layers = [tar_of(member("a", b"one")), tar_of(member("a", b"two"), member("b", b"x" * 1000))]
    identity = images.save(path, layers, tags=["repo/name:1"], env=["A=b"], oci=oci)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    archive = read_archive(path)
    assert (archive.image_id, archive.tags, archive.env) == (identity, ("repo/name:1",), ("A=b",))
    assert archive.architecture == machine_architecture() and len(archive.layers) == 2
    assert archive.stored == sum(map(len, layers))
    assert unpack(archive, tmp_path / "root") == 1006
    assert (tmp_path / "root" / "a").read_text() == "two"
    assert sorted(os.listdir(tmp_path)) == ["image.tar", "root"]


def test_layers_may_be_compressed_one_by_one(tmp_path: Path) -> None:
    """Daemons with the containerd image store keep layers as they were pulled."""
    layer = tar_of(member("a", b"x" * 100_000))

    def compress(files: dict[str, bytes]) -> None:
        files["1".zfill(64) + "/layer.tar"] = gzip.compress(layer)

    images.save(tmp_path / "i.tar", [layer], change=compress)
    archive = read_archive(tmp_path / "i.tar")
    assert unpack(archive, tmp_path / "root") == 100_000


def test_later_layers_hide_what_lies_below(tmp_path: Path) -> None:
    below = tar_of(
        folder("keep"), member("keep/a", b"1"), member("keep/b", b"1"), folder("gone"), member("gone/x"),
        folder("opaque"), folder("opaque/sub"), member("opaque/sub/old"), member("opaque/old"),
        member("file-then-folder"), folder("folder-then-file"), member("folder-then-file/x"),
    )  # fmt: skip
    above = tar_of(
        member("keep/.wh.a"), member(".wh.gone"), member(".wh.never-was"),
        folder("opaque"), folder("opaque/sub"), member("opaque/sub/new"), member("opaque/.wh..wh..opq"),
        member("opaque/new"),
        folder("file-then-folder"), member("file-then-folder/y"), member("folder-then-file", b"now a file"),
        folder(".wh..wh.plnk"),
    )  # fmt: skip
    assert tree(unpacked(tmp_path, below, above)) == {
        "keep", "keep/b", "opaque", "opaque/sub", "opaque/sub/new", "opaque/new",
        "file-then-folder", "file-then-folder/y", "folder-then-file",
    }  # fmt: skip


def test_links_modes_and_times_are_kept(tmp_path: Path) -> None:
    """A .pyc is valid for its source's time only; a hard link saves its size again."""
    root = unpacked(
        tmp_path,
        tar_of(
            folder("bin"), member("bin/tool", b"#!", 0o755), hard("bin/same", "bin/tool"),
            link("bin/soft", "/bin/tool"),
            folder("tmp", 0o1777), member("fifo", kind=tarfile.FIFOTYPE), folder("closed", 0o500), member("closed/x"),
        ),
    )  # fmt: skip
    tool = (root / "bin/tool").stat()
    assert tool.st_ino == (root / "bin/same").stat().st_ino and stat.S_IMODE(tool.st_mode) == 0o755
    assert tool.st_mtime == 1_700_000_000 and (root / "bin").stat().st_mtime == 1_700_000_000
    assert os.readlink(root / "bin/soft") == "/bin/tool"
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)


def test_a_hard_link_may_lead_to_a_lower_layer(tmp_path: Path) -> None:
    root = unpacked(tmp_path, tar_of(member("a", b"data")), tar_of(hard("b", "a")))
    assert (root / "b").read_bytes() == b"data"


def test_a_name_may_pass_a_link_that_stays_inside(tmp_path: Path) -> None:
    """Images made with /lib as a link to usr/lib hold members such as lib/x."""
    root = unpacked(
        tmp_path,
        tar_of(
            folder("usr"), folder("usr/lib"), link("lib", "usr/lib"), link("abs", "/usr"), link("up", "../../../usr")
        ),
        tar_of(member("lib/x", b"1"), member("abs/y", b"2"), member("up/z", b"3")),
    )
    assert {"usr/lib/x", "usr/y", "usr/z"} <= tree(root)
    assert (root / "lib").is_symlink()


ESCAPES: dict[str, list[Layer]] = {
    "dots": [member("../escaped", b"x")],
    "dots within": [folder("a"), member("a/../../escaped", b"x")],
    "absolute": [member("/escaped", b"x")],
    "whiteout of the parent": [folder("a"), member("a/.wh...")],
    "whiteout of itself": [member(".wh.")],
    "hard link outside": [hard("a", "../outside/secret")],
    "absolute hard link": [hard("a", "/etc/passwd")],
    "hard link to nothing": [hard("a", "b")],
    "link loop": [link("a", "b"), link("b", "a"), member("a/x", b"x")],
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_unsafe_names_are_refused(tmp_path: Path, escape: list[Layer]) -> None:
    with pytest.raises(ImageBrokenError):
        unpacked(tmp_path, tar_of(*escape))
    assert not (tmp_path / "inside" / "escaped").exists() and not Path("/escaped").exists()


@pytest.mark.parametrize("target", ["../../outside", "ABSOLUTE", "../../../../../../..ABSOLUTE"])
@pytest.mark.parametrize("split", [False, True], ids=["same layer", "next layer"])
def test_nothing_is_written_through_a_planted_link(tmp_path: Path, target: str, split: bool) -> None:
    """A link to the outside, then a member, a whiteout, a hard link and a folder below its name."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the host")
    (outside / "folder").mkdir(mode=0o750)
    target = target.replace("ABSOLUTE", str(outside))
    planted = [link("way", target), link("file", f"{target}/secret")]
    writes = [
        member("way/new", b"x"), member("way/secret", b"overwritten"), member("way/.wh.secret"),
        folder("way/folder", 0o777),
        member("way/.wh..wh..opq"), member("file", b"overwritten"), link("way/link", "x"),
    ]  # fmt: skip
    unpacked(tmp_path, *([tar_of(*planted), tar_of(*writes)] if split else [tar_of(*planted, *writes)]))
    assert sorted(os.listdir(outside)) == ["folder", "secret"]
    assert (outside / "secret").read_text() == "of the host"
    assert stat.S_IMODE((outside / "folder").stat().st_mode) == 0o750
    with pytest.raises(ImageBrokenError):
        unpacked(tmp_path / "..", tar_of(link("way2", target), hard("stolen", "way2/secret")))


def test_set_user_id_and_devices_do_no_harm(tmp_path: Path) -> None:
    """A root-owned set-user-id shell in the store would be anybody's way to root."""
    device = member("dev/sda", kind=tarfile.BLKTYPE)
    root = unpacked(
        tmp_path, tar_of(member("su", b"x", 0o6755), folder("dev"), device, member("dev/c", kind=tarfile.CHRTYPE))
    )
    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o755
    assert tree(root) == {"su", "dev"}


def owned() -> bytes:
    [(info, data)] = member("mine", b"x")
    info.uid, info.gid = 1000, 1001
    return tar_of([(info, data)])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_keeps_owners(tmp_path: Path) -> None:
    found = (unpacked(tmp_path, owned()) / "mine").stat()
    assert (found.st_uid, found.st_gid) == (1000, 1001)


@pytest.mark.skipif(os.geteuid() == 0, reason="root keeps owners")
def test_a_user_owns_everything(tmp_path: Path) -> None:
    assert (unpacked(tmp_path, owned()) / "mine").stat().st_uid == os.geteuid()


def test_faults_name_the_file(tmp_path: Path) -> None:
    layer = tar_of(member("a", os.urandom(300_000)))
    good = tmp_path / "good.tar"
    images.save(good, [layer])
    with pytest.raises(ImageMissingError, match=r"none\.tar"):
        read_archive(tmp_path / "none.tar")
    for size in (0, 100, 512, 150_000, good.stat().st_size - 10_300):
        (tmp_path / "cut.tar").write_bytes(good.read_bytes()[:size])
        with pytest.raises(ImageBrokenError, match=r"cut\.tar"):
            read_archive(tmp_path / "cut.tar")
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(good.read_bytes())[:200_000])
    with pytest.raises(ImageBrokenError, match=r"cut\.tar\.gz"):
        read_archive(tmp_path / "cut.tar.gz")
    (tmp_path / "text.tar").write_text("this is no tar")
    with pytest.raises(ImageBrokenError, match=r"text\.tar"):
        read_archive(tmp_path / "text.tar")
    (tmp_path / "plain.tar").write_bytes(layer)
    with pytest.raises(ImageBrokenError, match=r"plain\.tar holds no manifest"):
        read_archive(tmp_path / "plain.tar")


@pytest.mark.parametrize(
    "manifest", [b"{", b"[]", b"{}", b'[{"Config": "x"}]', b"[1]", b'[{"Config":"x","Layers":[]}]']
)
def test_manifests_that_are_none(tmp_path: Path, manifest: bytes) -> None:
    images.save(tmp_path / "i.tar", [tar_of()], change=lambda files: files.update({"manifest.json": manifest}))
    with pytest.raises(ImageBrokenError, match=r"i\.tar"):
        read_archive(tmp_path / "i.tar")


def test_a_missing_or_damaged_layer(tmp_path: Path) -> None:
    layer = tar_of(member("a", b"x" * 5000))
    name = "1".zfill(64) + "/layer.tar"
    images.save(tmp_path / "i.tar", [layer], change=lambda files: files.pop(name))
    with pytest.raises(ImageBrokenError, match="lacks layer"):
        read_archive(tmp_path / "i.tar")
    for spoiled in (layer[:2000], layer.replace(b"xxxx", b"xxyx", 1), layer[:1000] + b"\xff" * 100 + layer[1100:]):
        images.save(tmp_path / "i.tar", [layer], change=lambda files, new=spoiled: files.update({name: new}))
        with pytest.raises(ImageBrokenError, match=r"i\.tar"):
            unpack(read_archive(tmp_path / "i.tar"), tmp_path / "root")


def test_a_damaged_configuration(tmp_path: Path) -> None:
    def spoil(files: dict[str, bytes]) -> None:
        name = next(name for name in files if name.endswith(".json") and name != "manifest.json")
        files[name] = json.dumps({**json.loads(files[name]), "created": "yesterday"}).encode()

    images.save(tmp_path / "i.tar", [tar_of()], change=spoil)
    with pytest.raises(ImageBrokenError, match="damaged"):
        read_archive(tmp_path / "i.tar")


def test_an_image_for_another_machine(tmp_path: Path) -> None:
    other = "arm64" if machine_architecture() != "arm64" else "amd64"
    images.save(tmp_path / "i.tar", [tar_of()], architecture=other)
    with pytest.raises(ImageBrokenError, match=rf"i\.tar is for linux/{other}"):
        read_archive(tmp_path / "i.tar")
    assert read_archive(tmp_path / "i.tar", other).architecture == other


def test_an_archive_that_the_docker_daemon_wrote(tmp_path: Path) -> None:
    """Not only those of our own making."""
    from trajmake.engines import docker

    answers, reason = docker.available()
    if not answers:
        pytest.skip(f"docker: {reason}")
    layers = [images.base_layer(git=False), tar_of(member("etc/two", b"2"), member(".wh.home"))]
    images.save(tmp_path / "ours.tar", layers, env=[f"T={os.urandom(8).hex()}"])
    engine = docker.DockerEngine()
    image = engine.load(tmp_path / "ours.tar", [f"trajmake-test-archive:{os.getpid()}"])
    try:
        with (tmp_path / "theirs.tar").open("wb") as stream:
            for block in engine._api().get_image(image.id):
                stream.write(block)
    finally:
        engine.remove(image.id)
    theirs = read_archive(tmp_path / "theirs.tar")
    assert theirs.image_id == image.id
    unpack(theirs, tmp_path / "root")
    assert (tmp_path / "root/etc/two").read_text() == "2" and not (tmp_path / "root/home").exists()

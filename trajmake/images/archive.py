"""``docker save`` archives: what is in one, and a safe unpacking of its layers.

Format: Docker Image Specification v1.2 (``manifest.json``; layers as
``<id>/layer.tar``) and the OCI image layout that newer daemons write beside it
(layers and configuration as ``blobs/sha256/<hex>``). Whiteouts as in the OCI
image specification, "Image Layer Filesystem Changeset".
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import platform
import posixpath
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trajmake.errors import DiskFullError, ImageBrokenError, ImageMissingError
from trajmake.images import compression
from trajmake.images.layers import LayerWriter

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
_BAD_TAR = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, KeyError, UnicodeError)


@dataclass(frozen=True)
class Archive:
    """What an archive says of its one image.

    Attributes:
        path: The archive's file.
        image_id: ``sha256:<hex>`` of the configuration, the image's id on every engine.
        tags: Names the image had when it was saved.
        layers: Members of the archive that hold the layers, lowest first.
        config: The image's configuration (``architecture``, ``config.Env``, ``rootfs.diff_ids``, ...).
        content: The same as it stands in the archive.
        spans: Where each layer stands in the uncompressed archive: first byte and number of bytes.
    """

    path: Path
    image_id: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]
    config: dict[str, Any]
    content: bytes = b""
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def stored(self) -> int:
        """Bytes of the layers as the archive holds them; their unpacked size, unless they are compressed."""
        return sum(size for _, size in self.spans)

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """``sha256:<hex>`` of each layer's uncompressed tar, lowest first."""
        return tuple(self.config["rootfs"]["diff_ids"])

    @property
    def architecture(self) -> str:
        """As Docker names it: ``amd64``, ``arm64``, ..."""
        return str(self.config.get("architecture", ""))

    @property
    def env(self) -> tuple[str, ...]:
        """The image's variables, as ``NAME=value``."""
        return tuple((self.config.get("config") or {}).get("Env") or ())


def read_archive(path: Path | str, architecture: str | None = None) -> Archive:
    """Read an archive's manifest and configuration (its layers are only looked up).

    Args:
        path: A tar, plain or compressed with gzip or zstd.
        architecture: What the image must be made for; this machine's when None.

    Raises:
        ImageMissingError: no such file.
        ImageBrokenError: not an image archive, truncated, or for another architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageMissingError(f"There is no image archive {path}.")
    with _faults(path), compression.opened(path) as stream:
        return read_stream(stream, path, architecture)


def read_stream(stream: IO[bytes], name: Path | str, architecture: str | None = None) -> Archive:
    """:func:`read_archive` of an uncompressed, seekable stream, which is called ``name`` in messages."""
    with _faults(name), tarfile.open(fileobj=stream, mode="r:") as tar:
        archive = _read(str(name), tar)
    check_platform(str(name), archive.config, architecture or machine_architecture())
    return archive


def check_platform(name: str, config: Mapping[str, Any], wanted: str | None = None) -> None:
    """Raise where an image is made for another machine.

    Args:
        config: The image's configuration, of which ``os`` and ``architecture`` count.

    Raises:
        ImageBrokenError: it is.
    """
    wanted = wanted or machine_architecture()
    system, architecture = config.get("os") or "linux", config.get("architecture") or "unknown"
    if architecture != wanted or system != "linux":
        message = f"The image in {name} is for {system}/{architecture}, not for linux/{wanted}."
        raise ImageBrokenError(message, "Build it for this machine.")


def machine_architecture() -> str:
    """This machine's architecture as Docker names it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def unpack(archive: Archive, destination: Path) -> int:
    """Unpack the image's layers, one over the other, into a new folder.

    Nothing is ever written outside ``destination``, whatever the archive holds.
    As root, files keep their owners; otherwise all belong to the caller. No file
    keeps its set-user-id or set-group-id bit, and device nodes are left out: the
    engines' containers allow neither, and on the host they would be a danger.

    Returns:
        Bytes of file content written.

    Raises:
        ImageBrokenError: truncated, unsafe names, or a layer that is not what the image says.
        DiskFullError: no room.
    """
    writer = LayerWriter(destination)
    with _faults(archive.path), _plain(archive.path, destination) as plain, tarfile.open(plain, "r:") as tar:
        for name, digest in zip(archive.layers, _diff_ids(archive.config, archive.path), strict=True):
            stream = _Hashed(_decompressed(_member(tar, name, archive.path)))
            with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as layer:  # type: ignore[call-overload]
                writer.apply(layer)
            if stream.finish() != digest:
                raise ImageBrokenError(f"Layer {name} of {archive.path} is damaged.", "Fetch the image again.")
    return writer.size


def _read(source: str, tar: tarfile.TarFile) -> Archive:
    names = set(tar.getnames())
    if "manifest.json" not in names:
        raise ImageBrokenError(f"{source} holds no manifest.json: not an archive of `docker save`, or truncated.")
    manifest = json.load(_member(tar, "manifest.json", source))
    if len(manifest) != 1:
        raise ImageBrokenError(f"{source} holds {len(manifest)} images.", "Save one image per archive.")
    entry = manifest[0]
    content = _member(tar, entry["Config"], source).read()
    digest = hashlib.sha256(content).hexdigest()
    if (named := Path(entry["Config"]).name.removesuffix(".json")) != digest and len(named) == 64:
        raise ImageBrokenError(f"The configuration in {source} is damaged.", "Fetch the image again.")
    config = json.loads(content)
    layers = tuple(entry["Layers"] or ())
    if missing := [layer for layer in layers if layer not in names]:
        raise ImageBrokenError(f"{source} lacks layer {missing[0]}: truncated?", "Fetch the image again.")
    if len(_diff_ids(config, source)) != len(layers):
        raise ImageBrokenError(f"{source} does not hold as many layers as its configuration names.")
    spans = tuple(_span(tar, layer) for layer in layers)
    return Archive(Path(source), f"sha256:{digest}", tuple(entry.get("RepoTags") or ()), layers, config, content, spans)


def _diff_ids(config: dict[str, Any], source: Path | str) -> list[str]:
    """sha256 of each layer's uncompressed tar, as the image's configuration gives them."""
    ids = (config.get("rootfs") or {}).get("diff_ids")
    if not isinstance(ids, list):
        raise ImageBrokenError(f"The configuration in {source} names no layers.")
    return ids


def _span(tar: tarfile.TarFile, name: str) -> tuple[int, int]:
    member = tar.getmember(name)
    seen = {member.name}
    while member.issym() or member.islnk():  # see _member
        folder = posixpath.dirname(member.name) if member.issym() else ""
        member = tar.getmember(posixpath.normpath(posixpath.join(folder, member.linkname)))
        if member.name in seen:
            raise tarfile.ReadError(f"{name} is a link to itself")
        seen.add(member.name)
    return member.offset_data, member.size


def _member(tar: tarfile.TarFile, name: str, source: Path | str) -> IO[bytes]:
    stream = tar.extractfile(name)  # follows a link inside the archive: how older daemons save a repeated layer
    if stream is None:
        raise ImageBrokenError(f"{name} in {source} is not a file.")
    return stream


def _decompressed(stream: IO[bytes]) -> IO[bytes]:
    found = compression.kind(stream.read(4))
    stream.seek(0)
    return compression.plain(stream, found)


@contextlib.contextmanager
def _plain(path: Path, destination: Path) -> Iterator[Path]:
    """The archive uncompressed: layers stand in any order, and a compressed file cannot go back."""
    if not compression.kind_of(path):
        yield path
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    plain = destination.parent / f".{destination.name}.plain"
    try:
        with compression.opened(path) as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        yield plain
    finally:
        plain.unlink(missing_ok=True)


@contextlib.contextmanager
def _faults(path: Path | str) -> Iterator[None]:
    """Faults of the archive, or of the disk, by their own names."""
    try:
        yield
    except _BAD_TAR as error:
        raise ImageBrokenError(
            f"{path} cannot be read as an image archive ({error or type(error).__name__}): truncated or damaged.",
            "Fetch the image again.",
        ) from error
    except (ValueError, TypeError) as error:  # JSON that is none, or not of the manifest's shape
        raise ImageBrokenError(f"{path} is not an archive of `docker save`: {error}.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"No space left while unpacking {path}.", "Free disk space, then try again.") from error
        if isinstance(error, FileNotFoundError) or error.filename is not None:
            raise
        raise ImageBrokenError(f"{path} cannot be read: {error}.") from error


class _Hashed:
    """A readable stream that knows the sha256 of all that was read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    def finish(self) -> str:
        """Read what is left (a tar has padding after its end) and give ``sha256:<hex>`` of everything."""
        while self.read(1 << 20):
            pass
        return f"sha256:{self._hash.hexdigest()}"

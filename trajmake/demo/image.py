"""``docker save`` archives with the same bytes for the same content."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from trajmake.files import atomic

MODIFIED = 1577836800  # 2020-01-01: zip files cannot hold a time before 1980
MAX_LINKS = 40  # as in Linux
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass
class Tree:
    """Files of one layer: path without the leading slash → mode and content.

    Content is bytes, a file on this machine, the target of a symbolic link
    (str), or None for a folder. Missing parents are folders with mode 755.
    """

    entries: dict[str, tuple[int, bytes | Path | str | None]] = field(default_factory=dict)

    def add(self, path: str, content: bytes | Path | str | None, mode: int = 0o644) -> None:
        """Put something at ``path``."""
        self.entries[path.strip("/")] = (mode, content)

    def add_host(self, path: str | Path) -> Path:
        """Put a file of this machine at its own path, with every symbolic link on the way.

        Returns:
            The path behind the links.

        Raises:
            OSError: it does not exist, or is a loop of links.
        """
        current, links = Path("/"), 0
        parts = [part for part in Path(path).parts if part != "/"]
        while parts:
            part = parts.pop(0)
            step = current.parent if part == ".." else current / part
            if not step.is_symlink():
                current = step
                continue
            target = os.readlink(step)
            self.add(str(step), target)
            links += 1
            if links > MAX_LINKS:
                raise OSError(f"too many links: {path}")
            parts = [part for part in Path(target).parts if part != "/"] + parts
            current = Path("/") if target.startswith("/") else current
        mode = current.stat().st_mode
        if current.is_dir():
            self.entries.setdefault(str(current).strip("/"), (0o755, None))
        else:
            self.add(str(current), current, 0o755 if mode & 0o111 else 0o644)
        return current

    def add_folder(self, folder: Path, at: str) -> None:
        """Put the regular files under ``folder`` (a copy made for the image) at ``at``."""
        self.add(at, None, 0o755)
        for file in sorted(folder.rglob("*")):
            mode = 0o755 if file.is_dir() or file.stat().st_mode & 0o100 else 0o644
            self.add(f"{at}/{file.relative_to(folder)}", None if file.is_dir() else file, mode)

    def write(self, stream: IO[bytes]) -> None:
        """Write the layer as a tar archive, owned by root, sorted, without the machine's times."""
        for path in list(self.entries):
            for parent in PurePosixPath(path).parents:
                self.entries.setdefault(str(parent), (0o755, None))
        self.entries.pop(".", None)
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path, (mode, content) in sorted(self.entries.items()):
                _add_member(tar, path, mode, content)


def _add_member(tar: tarfile.TarFile, path: str, mode: int, content: bytes | Path | str | None) -> None:
    member = tarfile.TarInfo(path)
    member.mode, member.mtime = mode, MODIFIED
    if content is None:
        member.type = tarfile.DIRTYPE
    elif isinstance(content, str):
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, content, 0o777
    elif isinstance(content, bytes):
        member.size = len(content)
    else:
        member.size = content.stat().st_size
    with contextlib.ExitStack() as stack:
        data: IO[bytes] | None = None
        if isinstance(content, bytes):
            data = io.BytesIO(content)
        elif isinstance(content, Path):
            data = stack.enter_context(content.open("rb"))
        tar.addfile(member, data)


@dataclass(frozen=True)
class Layer:
    """A layer on disk, and the sha256 (hex) of its tar archive when uncompressed."""

    path: Path
    diff_id: str


def sha256_of(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def architecture() -> str:
    """This machine's architecture as images name it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def write_image(path: Path, layers: list[Layer], config: dict[str, Any], tag: str) -> None:
    """Write a ``docker save`` archive (manifest.json, configuration, one ``layer.tar`` per layer).

    Args:
        path: Appears only when it is whole.
        layers: Lowest first.
        config: The image configuration's ``config`` and ``architecture``.
        tag: ``name:tag``, in lower case.

    Raises:
        DiskFullError: no room for it.
    """
    configuration = {
        "created": "2020-01-01T00:00:00Z",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]},
        **config,
    }
    body = json.dumps(configuration, sort_keys=True).encode()
    digest = hashlib.sha256(body).hexdigest()
    names = [f"{layer.diff_id}/layer.tar" for layer in layers]
    manifest = json.dumps([{"Config": f"{digest}.json", "RepoTags": [tag], "Layers": names}]).encode()
    with atomic(path) as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add_member(tar, f"{digest}.json", 0o644, body)
        for layer, name in zip(layers, names, strict=True):
            _add_member(tar, str(PurePosixPath(name).parent), 0o755, None)
            _add_member(tar, name, 0o644, layer.path)
        _add_member(tar, "manifest.json", 0o644, manifest)

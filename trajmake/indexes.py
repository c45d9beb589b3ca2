"""Indexes of large files: one SQLite file each, made once, read by every job.

An index is whole or not there, bears the key of what it was made from, and is
made anew when that key differs or the file is damaged; deleting it is safe.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from trajmake.errors import DatasetError, DiskFullError
from trajmake.sessions import locks

_PATIENCE = 3600.0  # seconds to wait for another process that indexes the same file


def open_index(
    path: Path, folder: Path, key: Callable[[], str], fill: Callable[[sqlite3.Connection], Any]
) -> sqlite3.Connection:
    """The index of what lies at ``path``, a read-only connection; made in ``folder`` when missing or out of date.

    Args:
        path: The file or folder that is indexed.
        folder: Where the index lies.
        key: What the index depends on; asked again once it is filled.
        fill: Makes the tables and their rows, in a transaction.

    Raises:
        DatasetError: ``path`` changes while it is read, or the index cannot be written.
        DiskFullError: no room for the index.
        ClaimedError: another process has been indexing it for too long.
    """
    target = folder / (hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16] + ".sqlite")
    wanted = key()
    if found := _current(target, wanted):
        return found
    try:
        with locks.claim(target.with_suffix(".lock"), patience=_PATIENCE):
            if found := _current(target, wanted):
                return found
            _build(path, target, wanted, key, fill)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"No space left while writing {target}.", "Free disk space, then run again.") from error
        raise DatasetError(
            f"The index of {path} cannot be made: {error}.", f"Make {folder} writable, or choose another `output_dir`."
        ) from error
    found = _current(target, wanted)
    if found is None:
        raise DatasetError(f"The index {target} of {path} cannot be read back.", "Remove it and run again.")
    return found


def state_of(file: Path) -> list[Any]:
    """What changes when a file does: name, size, times of change, inode."""
    stat = file.stat()
    return [file.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _current(target: Path, key: str) -> sqlite3.Connection | None:
    if not target.exists():
        return None
    # Never written again under this name, so it needs no locks: they fail on some network file systems.
    uri = f"file:{quote(str(target.resolve()))}?mode=ro&immutable=1"
    try:
        index = sqlite3.connect(uri, uri=True, check_same_thread=False)
        if index.execute("SELECT value FROM key").fetchone() == (key,):
            return index
        index.close()
    except sqlite3.DatabaseError:
        pass  # not an index, or a damaged one: it is made again
    return None


def _build(
    path: Path, target: Path, wanted: str, key: Callable[[], str], fill: Callable[[sqlite3.Connection], Any]
) -> None:
    for left in target.parent.glob(f".{target.name}.*.part"):  # of killed processes: the claim is ours
        left.unlink(missing_ok=True)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(handle)
    try:
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as index:
            # No journal: a file that was not finished is thrown away.
            index.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; CREATE TABLE key (value TEXT); BEGIN")
            fill(index)
            index.execute("INSERT INTO key VALUES (?)", (wanted,))
            index.execute("COMMIT")
        if key() != wanted:
            raise DatasetError(f"{path} changed while it was read.", "Run again when it is complete.")
        _keep(Path(part), target)
    except sqlite3.OperationalError as error:
        if "full" not in str(error):
            raise
        raise DiskFullError(f"No space left while writing {target}.", "Free disk space, then run again.") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def _keep(part: Path, target: Path) -> None:
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    mask = os.umask(0)
    os.umask(mask)
    part.chmod(0o666 & ~mask)
    os.replace(part, target)

"""Who uses an image on this host: so that no run removes it under another.

Engines keep images for the whole host, so their leases lie where every process
of it looks, one folder per image id, and end with their processes:

- ``lock``: held while an image is loaded or removed.
- ``used``: shared by the processes that are about to run its containers. Its
  time of change says when the image was last used.
- ``HASH.session``: names the driver's lock of a session that has work for the
  image. It counts while that lock is held.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trajmake import files
from trajmake.sessions import locks

# Not the folder for temporary files, which each process may have its own of.
FOLDER = Path("/tmp/trajmake-images")
_held: dict[str, int] = {}  # of this process: image id → descriptor of `used`


class Lease:
    """The leases of one image.

    Args:
        image_id: Or any other text that names what is shared.
        driver: The driver's lock of our own session.
    """

    def __init__(self, image_id: str, driver: Path, folder: Path | None = None) -> None:
        self._id = image_id
        name = image_id.removeprefix("sha256:") if image_id.startswith("sha256:") else _hash(image_id)
        self._folder = (folder or FOLDER) / name
        self._driver = driver.absolute()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the image while the block runs: nobody else loads or removes it."""
        handle = self._open("lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def take(self) -> None:
        """Use the image: by this process until it ends, by our session until :meth:`drop`."""
        if self._id not in _held:
            handle = self._open("used")
            fcntl.flock(handle, fcntl.LOCK_SH)
            _held[self._id] = handle
        files.write_text(self._session(), f"{self._driver}\n")
        with contextlib.suppress(PermissionError):  # another user's; theirs is as good
            os.utime(self._folder / "used")

    def drop(self) -> None:
        """Our session, and this process, have no more work for it."""
        self._session().unlink(missing_ok=True)
        if self._id in _held:
            os.close(_held.pop(self._id))

    def user(self) -> str:
        """Who else uses the image now, for people; "" when nobody does. Call it within :meth:`locked`.

        A process of ours that is about to run its containers counts too; :meth:`drop` ends this one's use.
        """
        for lease in self._folder.glob("*.session"):
            with contextlib.suppress(FileNotFoundError):
                driver = Path(lease.read_text().strip())
                if lease == self._session():
                    continue
                if locks.held(driver):
                    return f"the session of {driver.parent}"
                lease.unlink()
        return "" if self._idle() else "a running job"

    @property
    def last_used(self) -> float:
        """Unix time; 0 when it is not known."""
        try:
            return (self._folder / "used").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _idle(self) -> bool:
        handle = self._open("used")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def _session(self) -> Path:
        return self._folder / f"{_hash(str(self._driver))}.session"

    def _open(self, name: str) -> int:
        path = self._folder / name
        make_shared(self._folder.parent, 0o1777)
        make_shared(self._folder, 0o777)
        if not path.exists():
            _make_file(path)
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)  # not O_CREAT: it may be another user's


def reap(folder: Path | None = None) -> list[Path]:
    """Remove the leases of sessions that nobody drives, and name them; they count for nothing."""
    dead = []
    for lease in (folder or FOLDER).glob("*/*.session"):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # gone, or another user's
            if not locks.held(Path(lease.read_text().strip())):
                lease.unlink()
                dead.append(lease)
    return dead


def make_shared(folder: Path, mode: int) -> None:
    """Make a folder that all users share; it gets its name once it has its mode, so that no kill locks anybody out."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)
    try:
        os.chmod(made, mode)
        os.rename(made, folder)
    except OSError:
        os.rmdir(made)
        if not folder.is_dir():  # another process was first
            raise


def _make_file(path: Path) -> None:
    handle, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        os.fchmod(handle, 0o666)
        with contextlib.suppress(FileExistsError):
            os.link(made, path)
    finally:
        os.close(handle)
        os.unlink(made)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]

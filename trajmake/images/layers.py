"""Applies the layers of an image to a folder, never writing outside it.

Each name is resolved by hand, as in a chroot: a symbolic link in it, planted by
an earlier member, leads somewhere inside the folder or nowhere. The folder must
be private to the caller while it is written.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
from pathlib import Path

from trajmake.errors import ImageBrokenError

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MAX_LINKS = 40  # as the kernel's


class LayerWriter:
    """Writes layers, lowest first, into one folder.

    Attributes:
        size: Bytes of file content written.
    """

    def __init__(self, root: Path) -> None:
        self.size = 0
        self._root = os.path.realpath(root)
        self._privileged = os.geteuid() == 0
        self._folders: dict[tuple[str, ...], str] = {}
        self._written: set[str] = set()
        os.makedirs(self._root, exist_ok=True)

    def apply(self, layer: tarfile.TarFile) -> None:
        """Apply one layer.

        Raises:
            ImageBrokenError: it holds an unsafe name or a link to nothing.
        """
        self._written = set()
        folders: list[tuple[str, tarfile.TarInfo]] = []
        for member in layer:
            parts = _parts(member.name)
            if not parts:
                continue
            folder = self._folder(parts[:-1])
            name = parts[-1]
            if name.startswith(_WHITEOUT):
                self._whiteout(folder, name, member.name)
                continue
            path = os.path.join(folder, name)
            self._make(layer, member, path)
            self._remember(path)
            if member.isdir():
                folders.append((path, member))
        for path, member in reversed(folders):  # now that nothing more is put into them
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._stamp(path, member)

    def _make(self, layer: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        if member.isdir() and _kind(path) == stat.S_IFDIR:
            return
        self._remove(path)
        if member.isdir():
            os.mkdir(path, 0o700)
            return
        if member.issym():
            os.symlink(member.linkname, path)
            if self._privileged:
                os.lchown(path, member.uid, member.gid)
            return
        if member.islnk():
            self._link(member, path)
            return
        if member.isreg():
            self._file(layer, member, path)
        elif member.isfifo():
            os.mkfifo(path, 0o600)
        else:  # a device
            return
        self._stamp(path, member)

    def _file(self, layer: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        source = layer.extractfile(member)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as target:
            if source is not None:
                shutil.copyfileobj(source, target, 1 << 20)
            if target.tell() != member.size:
                raise tarfile.ReadError(f"unexpected end of data in {member.name}")
        self.size += member.size

    def _link(self, member: tarfile.TarInfo, path: str) -> None:
        parts = _parts(member.linkname)
        target = os.path.join(self._folder(parts[:-1]), parts[-1]) if parts else self._root
        if _kind(target) in (0, stat.S_IFDIR):
            raise ImageBrokenError(f"{member.name} is a hard link to {member.linkname}, which is no file of the image.")
        os.link(target, path, follow_symlinks=False)

    def _stamp(self, path: str, member: tarfile.TarInfo) -> None:
        """Owner, mode and time. Times matter: a .pyc is valid for its source's time only."""
        mode = member.mode & 0o1777
        if self._privileged:
            os.chown(path, member.uid, member.gid, follow_symlinks=False)
        else:
            mode |= 0o700 if member.isdir() else 0o400  # or the store could not remove it, nor copy it
        os.chmod(path, mode)
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)

    def _whiteout(self, folder: str, name: str, full: str) -> None:
        if name == _OPAQUE:
            for entry in os.listdir(folder):
                self._remove_lower(os.path.join(folder, entry))
            return
        if name.startswith(_WHITEOUT + _WHITEOUT):  # bookkeeping of aufs
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise ImageBrokenError(f"The image holds an unsafe name: {full!r}.")
        self._remove(os.path.join(folder, hidden))

    def _remove_lower(self, path: str) -> None:
        """Remove what earlier layers put there, sparing what this one did."""
        if path not in self._written:
            self._remove(path)
        elif _kind(path) == stat.S_IFDIR:
            for entry in os.listdir(path):
                self._remove_lower(os.path.join(path, entry))

    def _remember(self, path: str) -> None:
        """Note that this layer wrote ``path``, and so something in every folder above it."""
        while path not in self._written and path != self._root:
            self._written.add(path)
            path = os.path.dirname(path)

    def _remove(self, path: str) -> None:
        kind = _kind(path)
        if kind == stat.S_IFDIR:
            shutil.rmtree(path)
        elif kind:
            os.unlink(path)
        if kind in (stat.S_IFDIR, stat.S_IFLNK):
            self._folders.clear()  # what was resolved through it no longer holds

    def _folder(self, parts: tuple[str, ...]) -> str:
        """The real folder of these names inside the root, made when it is not there."""
        known = self._folders.get(parts)
        if known is None:
            known = self._folders[parts] = self._resolve(parts)
        return known

    def _resolve(self, parts: tuple[str, ...]) -> str:
        here = self._root
        todo = list(reversed(parts))
        links = 0
        while todo:
            name = todo.pop()
            if name == "..":  # of a link's target; the root's parent is the root
                here = here if here == self._root else os.path.dirname(here)
                continue
            path = os.path.join(here, name)
            kind = _kind(path)
            if kind == stat.S_IFLNK:
                links += 1
                if links > _MAX_LINKS:
                    raise ImageBrokenError(f"The image holds a loop of symbolic links at {'/'.join(parts)!r}.")
                target = os.readlink(path)
                here = self._root if target.startswith("/") else here
                todo.extend(reversed([part for part in target.split("/") if part not in ("", ".")]))
                continue
            if kind != stat.S_IFDIR:
                self._remove(path)
                os.mkdir(path, 0o755)
            here = path
        return here


def _parts(name: str) -> tuple[str, ...]:
    """The names of a path in an archive.

    Raises:
        ImageBrokenError: it is absolute or holds ``..``.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise ImageBrokenError(f"The image holds an unsafe name: {name!r}.", "Do not use images of unknown origin.")
    return parts


def _kind(path: str) -> int:
    """The file type bits of what lies at ``path`` itself; 0 for nothing."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except FileNotFoundError:
        return 0

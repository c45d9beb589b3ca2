"""Containers as processes of their starter: what the engines without a daemon have in common.

A container lives in ``<scratch>/<name>``; its supervisor removes that folder at
its end, also when the process that started it was killed, and holds a lock on
``owner.json`` till then: a folder without the lock is a leftover.

Limits: by control groups where they can be made (as a rule: root). Otherwise
memory is RLIMIT_DATA, per process, and processes are RLIMIT_NPROC; CPUs are not
limited, and neither peak memory nor an end by memory is known.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trajmake.engines import cgroup, inside
from trajmake.engines.base import ContainerFacts, ContainerLimits, Image
from trajmake.engines.cgroup import ControlGroup, make_group
from trajmake.engines.container import ShellContainer
from trajmake.engines.memory import memory_facts
from trajmake.engines.pipes import Pipes, close
from trajmake.engines.scratch import Scratch, claim, reap
from trajmake.engines.shell import Shell
from trajmake.engines.store import ImageStore
from trajmake.engines.stream import EndOfStream
from trajmake.engines.written import DiskWatch, folder_bytes
from trajmake.errors import ContainerLostError, EngineUnavailableError, EnvironmentBrokenError

_log = logging.getLogger(__name__)

HOSTNAME = "trajmake"
DEFAULT_STORE = "outputs/store"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# $1 is the container's folder, $2 the number of control group folders that follow, the rest the command.
_SUPERVISE = """
folder=$1 count=$2; shift 2
groups=; while [ $count -gt 0 ]; do groups="$groups $1"; shift; count=$((count-1)); done
"$@"; code=$?
chmod -R u+rwx "$folder" 2>/dev/null; rm -rf "$folder"
for group in $groups; do rmdir $group 2>/dev/null || { sleep 0.1; rmdir $group 2>/dev/null; }; done
exit $code
"""


class OverlayRefusedError(Exception):
    """No overlay can be had here that behaves as a file system should; the message says why."""


@dataclass(frozen=True)
class Wanted:
    """A container that is to be started.

    Attributes:
        rootfs: Its image, unpacked.
        env: The image's variables over a few of its own.
        mounts: Folders of the host by their places in the container.
        in_use: File descriptor whose lock keeps the image.
        overlay: Over the image; else in a copy of it.
    """

    image_id: str
    name: str
    labels: Mapping[str, str]
    limits: ContainerLimits
    rootfs: Path
    env: dict[str, str]
    mounts: Mapping[str, Path]
    in_use: int
    overlay: bool


class LocalEngine(ABC):
    """See :class:`trajmake.engines.base.Engine`.

    Args:
        store: Folder of the unpacked images; default ``outputs/store``. Made on
            the first load.
        scratch: Folder of the running containers; default ``trajmake-<uid>`` in
            the folder for temporary files.
    """

    name: str

    def __init__(self, store: Path | str | None = None, scratch: Path | str | None = None) -> None:
        self._images = ImageStore(Path(store or DEFAULT_STORE).absolute())
        self._overlays = True  # until one is refused
        self._scratch = Path(scratch) if scratch else Path(tempfile.gettempdir()) / f"trajmake-{os.geteuid()}"

    @abstractmethod
    def version(self) -> str:
        """The engine's name and version (see the protocol)."""

    @abstractmethod
    def _check(self) -> tuple[str, ...]:
        """The program that makes containers, with options found once; raises EngineUnavailableError where none can."""

    @abstractmethod
    def _command(self, folder: Path, wanted: Wanted, group: ControlGroup) -> list[str]:
        """What becomes the container's bash."""

    @abstractmethod
    def _explain(self, wanted: Wanted, code: int, said: str) -> Exception | None:
        """The error for a container that ended before its bash answered, where the engine knows it."""

    def load(self, tarball: Path, tags: Sequence[str] = ()) -> Image:
        """Unpack an archive into the store (see the protocol)."""
        return self._images.load(Path(tarball), tags)

    def find(self, reference: str) -> Image | None:
        """The image with this id or tag, or None."""
        return self._images.find(reference)

    def images(self) -> list[Image]:
        """All images of the store."""
        return self._images.images()

    def tag(self, image_id: str, tags: Sequence[str]) -> Image:
        """Give an image further names (see the protocol)."""
        return self._images.tag(image_id, tags)

    def place(self) -> Path | None:
        """The store, or the nearest folder above it that is there."""
        root = self._images.root
        return next(folder for folder in (root, *root.parents) if folder.exists())

    def remove(self, image_id: str) -> None:
        """Remove an image (see the protocol)."""
        self._images.remove(image_id)

    def reap(self) -> list[str]:
        """Remove the folders and control groups of dead containers (see the protocol)."""
        cgroup.reap()
        return reap(self._scratch)

    def start(
        self,
        image_id: str,
        *,
        name: str,
        labels: Mapping[str, str] | None = None,
        limits: ContainerLimits | None = None,
        mounts: Mapping[str, Path] | None = None,
    ) -> ShellContainer:
        """Start a container (see the protocol).

        Raises:
            ImageMissingError: no such image here.
            EngineUnavailableError: containers cannot be made here, or this one.
            EnvironmentBrokenError: the image has no bash.
            ClaimedError: a container of this name is running.
        """
        self._check()
        in_use = self._images.use(image_id)
        try:
            lent = {at: path.absolute() for at, path in (mounts or {}).items()}
            rootfs = self._images.folder(image_id) / "rootfs"
            env = _environment(self._images.env(image_id))
            limits = limits or ContainerLimits()
            wanted = Wanted(image_id, name, labels or {}, limits, rootfs, env, lent, in_use, self._overlays)
            if wanted.overlay:
                try:
                    return self._start(wanted)
                except OverlayRefusedError as error:
                    _log.warning("No overlay here (%s): copying images for containers such as %s.", error, name)
                    self._overlays = False
            return self._start(replace(wanted, overlay=False))
        finally:
            os.close(in_use)  # the supervisor has its own

    def _start(self, wanted: Wanted) -> ShellContainer:
        scratch = claim(self._scratch, wanted.name, wanted.labels)
        folder = scratch.folder
        group = make_group(f"{folder.name}-{os.urandom(4).hex()}", wanted.limits)
        process: subprocess.Popen[bytes] | None = None
        try:
            _furnish(folder, wanted)
            command = self._command(folder, wanted, group)
            before = folder_bytes(folder) if wanted.limits.disk_mb else 0
            process = _spawn(folder, group, command, (scratch.lock, wanted.in_use))
            watch = DiskWatch(wanted.limits.disk_mb, lambda: folder_bytes(folder) - before)
            return self._open(wanted, _Body(process, scratch, group), watch)
        except BaseException:  # whatever it is, nothing may be left behind
            _Body(process, scratch, group).end()
            raise
        finally:
            os.close(scratch.lock)

    def _open(self, wanted: Wanted, body: _Body, watch: DiskWatch) -> ShellContainer:
        assert body.process is not None
        try:
            shell = Shell(Pipes(body.process), wanted.name, lambda: body.lost(wanted.name), watch)
        except EndOfStream:
            code = body.process.wait()
            said = body.said()
            message = f"Container {wanted.name} cannot be started: {said or f'exit code {code}'}."
            raise (self._explain(wanted, code, said) or EngineUnavailableError(message)) from None
        return ShellContainer(wanted.name, wanted.image_id, shell, body)


def no_bash(image_id: str, said: str) -> EnvironmentBrokenError:
    """The error for an image without a bash that runs."""
    message = f"Image {image_id} has no working bash. {said}".strip()
    return EnvironmentBrokenError(message, "Install bash and coreutils in the image.")


def entrance(folder: Path, spec: Mapping[str, object]) -> list[str]:
    """The command that runs :mod:`trajmake.engines.inside` with ``spec``."""
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    return [sys.executable, "-I", "-S", inside.__file__, str(path)]


class _Body:
    """A running container's processes, folder and control group."""

    def __init__(self, process: subprocess.Popen[bytes] | None, scratch: Scratch, group: ControlGroup) -> None:
        self.process = process
        self._scratch = scratch
        self._group = group

    def facts(self, shell: Shell) -> ContainerFacts:
        """From the control group, if there is one."""
        if self._group.memory is None:
            return ContainerFacts()
        return memory_facts(lambda path: Path(path).read_bytes(), (str(self._group.memory),))

    def said(self) -> str:
        """What came on standard error while it was set up."""
        assert self.process is not None and self.process.stderr is not None
        return self.process.stderr.read().decode(errors="replace").strip()[-1000:]

    def lost(self, name: str) -> ContainerLostError:
        """The error for a stream that ended."""
        assert self.process is not None
        try:
            code = self.process.wait(2)
        except subprocess.TimeoutExpired:
            code = None
        return ContainerLostError(f"Container {name} is gone (exit code {code}).", "Memory may have run out.")

    def end(self) -> None:
        """Kill and remove everything."""
        if self.process is not None:
            for stream in (self.process.stdin, self.process.stdout):
                close(stream)
            try:
                self.process.wait(3)  # its shell has seen the end of its input
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            close(self.process.stderr)
        self._scratch.remove()
        self._group.remove()


def _spawn(folder: Path, group: ControlGroup, command: list[str], keep: tuple[int, int]) -> subprocess.Popen[bytes]:
    groups = [str(place) for place in group.folders]
    return subprocess.Popen(
        ["/bin/sh", "-c", _SUPERVISE, "sh", str(folder), str(len(groups)), *groups, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        pass_fds=keep,
        start_new_session=True,  # Ctrl-C is for the owner, who then stops the container
        cwd="/",
    )


def _furnish(folder: Path, wanted: Wanted) -> None:
    if wanted.overlay:
        for name in ("lower", "upper", "work", "merged"):
            (folder / name).mkdir(mode=0o755)
        return
    copy = ["cp", "-a", "--reflink=auto", str(wanted.rootfs), str(folder / "merged")]
    done = subprocess.run(copy, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineUnavailableError(f"The image cannot be copied to {folder}: {done.stderr.strip()[-300:]}.")


def _environment(image: list[str]) -> dict[str, str]:
    """As Docker makes it: the image's variables over a few of its own."""
    own = {"PATH": _PATH, "HOSTNAME": HOSTNAME, "HOME": "/root"}
    return own | dict(pair.partition("=")[::2] for pair in image)

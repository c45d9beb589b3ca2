"""Where commands run: the protocols every engine fulfils.

A command that fails is a :class:`Result`; an engine that cannot run it raises.
``tests/test_engines.py`` holds the conformance suite: every engine present
must pass all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

Timeout = float | Callable[[], float]


@dataclass(frozen=True)
class Image:
    """An image that an engine holds.

    Attributes:
        id: ``sha256:<64 hex>`` of the image's configuration, the same on every engine.
        tags: Names the engine knows it by, sorted.
        size: Unpacked bytes.
    """

    id: str
    tags: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True)
class ContainerLimits:
    """What a container may use: memory in MiB, processes, CPUs, MiB written to disk (0 means no limit).

    A command that runs when more is written than allowed is killed; a few seconds' worth may be written beyond.
    """

    memory_mb: int = 8192
    pids: int = 2048
    cpus: float = 0
    disk_mb: int = 0

    @property
    def shared_memory(self) -> int:
        """Bytes of ``/dev/shm``: what lies there counts as memory, and no kill of a command would free it."""
        return min(1 << 30, self.memory_mb << 19 or 1 << 30)


@dataclass(frozen=True)
class Result:
    """How a command ended.

    Attributes:
        exit_code: The command's own; 137 when it was killed (timeout, memory).
        output: stdout and stderr as they came, one stream. When it was longer
            than the ``keep`` of :meth:`Container.run`, the head and the tail of it.
        seconds: Wall time.
        timed_out: The engine killed it, with its children, at the timeout.
        truncated: Bytes left out of ``output`` (0 when it is whole).
    """

    exit_code: int
    output: bytes
    seconds: float
    timed_out: bool = False
    truncated: int = 0

    @property
    def text(self) -> str:
        """``output`` as UTF-8, invalid bytes replaced."""
        return self.output.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class ContainerFacts:
    """What is known of a container's use: peak memory in bytes, whether memory ran out."""

    peak_memory: int | None = None
    out_of_memory: bool = False


class Container(Protocol):
    """A started container with one open shell (bash). No network, no new privileges.

    It dies with the process that started it, also when that is killed outright.
    """

    name: str
    image_id: str

    def run(
        self,
        command: str,
        *,
        timeout: Timeout,
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        keep: int = 16 * 1024 * 1024,
    ) -> Result:
        """Run ``bash -c command`` without standard input, in a process of its own.

        Args:
            command: Any length, any bytes that UTF-8 can hold.
            timeout: Seconds, or what gives the seconds that are left; then the command and everything it
                started is killed.
            cwd: Directory inside the container.
            env: Variables added to the container's.
            log: File on the host that receives the whole output, streamed.
            keep: Bytes of output kept in the result.

        Raises:
            ContainerLostError: the container is gone or its shell does not answer.
        """
        ...

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file inside the container, making its folders.

        Raises:
            ContainerLostError: see :meth:`run`.
            DiskFullError: no room inside the container.
        """
        ...

    def read(self, path: str) -> bytes:
        """Read a file inside the container.

        Raises:
            FileNotFoundError: there is no such file.
            ContainerLostError: see :meth:`run`.
        """
        ...

    def facts(self) -> ContainerFacts:
        """What is known of its use of memory so far."""
        ...

    def stop(self) -> None:
        """Kill everything in it and remove it; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Engine(Protocol):
    """Holds images and starts containers."""

    name: str

    def version(self) -> str:
        """The engine's name and version, for provenance.

        Raises:
            EngineUnavailableError: it does not answer.
        """
        ...

    def load(self, tarball: Path, tags: Sequence[str] = ()) -> Image:
        """Load a ``docker save`` archive (plain, gzip or zstd); idempotent.

        Raises:
            ImageBrokenError: not an image archive, truncated, unsafe, other architecture.
            DiskFullError: no room for it.
        """
        ...

    def find(self, reference: str) -> Image | None:
        """The image with this id or tag, or None."""
        ...

    def images(self) -> list[Image]:
        """All images it holds."""
        ...

    def tag(self, image_id: str, tags: Sequence[str]) -> Image:
        """Give an image further names; one that another image has is taken from it.

        Raises:
            ImageMissingError: no such image here.
        """
        ...

    def place(self) -> Path | None:
        """A folder of the file system on which images take room; None where it is another machine's."""
        ...

    def remove(self, image_id: str) -> None:
        """Remove an image and its tags; nothing happens when it is not there.

        Raises:
            ImageBrokenError: a running container uses it.
        """
        ...

    def start(
        self,
        image_id: str,
        *,
        name: str,
        labels: Mapping[str, str] | None = None,
        limits: ContainerLimits | None = None,
        mounts: Mapping[str, Path] | None = None,
    ) -> Container:
        """Start a container and open its shell.

        Args:
            image_id: What :meth:`load` or :meth:`find` gave.
            name: Derived from the job; made safe for the engine by the engine.
            labels: ``trajmake.*`` keys by which a reaper finds it again.
            mounts: Folders of the host by the absolute paths where the container sees
                them, read-only. A unix socket in one can be connected to.

        Raises:
            ImageMissingError: no such image here.
            EngineUnavailableError: the container cannot be started (a folder is not there).
            EnvironmentBrokenError: the image has no bash.
        """
        ...

    def reap(self) -> list[str]:
        """Remove what containers of dead runs left here, and name them; :meth:`start` does it too.

        Raises:
            EngineUnavailableError: it does not answer.
        """
        ...


@runtime_checkable
class StreamLoader(Engine, Protocol):
    """An engine that is given an archive's bytes, and keeps an image's layers apart from each other."""

    def shared(self, diff_ids: Sequence[str]) -> int:
        """How many of these layers, from the lowest up, some image here has: archives may leave them out.

        Args:
            diff_ids: ``sha256:<hex>`` of each layer's uncompressed tar.
        """
        ...

    def load_stream(self, source: str, chunks: Iterable[bytes], image_id: str, tags: Sequence[str] = ()) -> Image:
        """Load a plain archive from its bytes in order. Layers that :meth:`shared` counts may be missing in it.

        Args:
            source: Where it comes from, for messages.
            image_id: What its manifest names; nothing else is taken for it.

        Raises:
            ImageBrokenError, DiskFullError: see :meth:`Engine.load`; also whatever ``chunks`` raises.
        """
        ...


@runtime_checkable
class Puller(Protocol):
    """What an engine has besides that knows registries."""

    def pull(self, reference: str) -> Image:
        """Bring an image from a registry; credentials are the engine's own affair.

        Raises:
            ImageMissingError: it is not there, not for us, or the registry cannot be reached.
            ImageBrokenError: for another architecture.
            DiskFullError: no room for it.
        """
        ...

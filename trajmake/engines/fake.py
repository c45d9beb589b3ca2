"""The double of an engine, for tests of stages: no processes, no daemon.

Commands are answered by a function; files live in a dictionary; what was asked
is recorded. It is not held to the conformance suite: it runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from trajmake.engines.base import ContainerFacts, ContainerLimits, Image, Result, Timeout
from trajmake.errors import ContainerLostError, ImageBrokenError, ImageMissingError

Reply = Callable[[str], Result]


def succeed(command: str) -> Result:
    """The reply to any command: exit code 0, no output."""
    return Result(0, b"", 0.0)


class FakeContainer:
    """See :class:`trajmake.engines.base.Container`.

    Attributes:
        commands: All commands so far.
        files: Path to content.
        stopped: ``stop`` was called.
    """

    def __init__(self, name: str, image_id: str, reply: Reply, labels: Mapping[str, str]) -> None:
        self.name = name
        self.image_id = image_id
        self.labels = dict(labels)
        self.commands: list[str] = []
        self.files: dict[str, bytes] = {}
        self.stopped = False
        self._reply = reply

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
        """Record the command and give the scripted reply (which may raise)."""
        self._check()
        self.commands.append(command)
        result = self._reply(command)
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_bytes(result.output)
        return result

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Keep a file."""
        self._check()
        self.files[path] = data

    def read(self, path: str) -> bytes:
        """Give a file that was written, or put into :attr:`files`."""
        self._check()
        if path not in self.files:
            raise FileNotFoundError(f"no file {path} in container {self.name}")
        return self.files[path]

    def facts(self) -> ContainerFacts:
        """Nothing is known."""
        return ContainerFacts()

    def stop(self) -> None:
        """Note it."""
        self.stopped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _check(self) -> None:
        if self.stopped:
            raise ContainerLostError(f"Container {self.name} has been stopped.")


class FakeEngine:
    """See :class:`trajmake.engines.base.Engine`.

    Args:
        images: What it holds from the start.
        replies: Answers every command of every container.

    Attributes:
        containers: All that were started, in order.
    """

    name = "fake"

    def __init__(self, images: Sequence[Image] = (), replies: Reply = succeed) -> None:
        self._images: dict[str, Image] = {image.id: image for image in images}
        self.containers: list[FakeContainer] = []
        self._replies = replies

    def version(self) -> str:
        """``fake``."""
        return "fake"

    def load(self, tarball: Path, tags: Sequence[str] = ()) -> Image:
        """An image whose id is the sha256 of the file's bytes, whatever they are."""
        if not tarball.is_file():
            raise ImageMissingError(f"There is no image archive {tarball}.")
        data = tarball.read_bytes()
        image = Image(f"sha256:{sha256(data).hexdigest()}", tuple(sorted(tags)), len(data))
        self._images[image.id] = image
        return image

    def find(self, reference: str) -> Image | None:
        """The image with this id or tag, or None."""
        return next((i for i in self._images.values() if reference == i.id or reference in i.tags), None)

    def images(self) -> list[Image]:
        """What it holds."""
        return list(self._images.values())

    def tag(self, image_id: str, tags: Sequence[str]) -> Image:
        """Give an image further names."""
        if image_id not in self._images:
            raise ImageMissingError(f"There is no image {image_id}.")
        held = self._images[image_id]
        self._images[image_id] = Image(held.id, tuple(sorted({*held.tags, *tags})), held.size)
        return self._images[image_id]

    def place(self) -> Path | None:
        """It takes no room."""
        return None

    def remove(self, image_id: str) -> None:
        """Forget an image."""
        if any(c.image_id == image_id and not c.stopped for c in self.containers):
            raise ImageBrokenError(f"Image {image_id} is in use by a running container.")
        self._images.pop(image_id, None)

    def reap(self) -> list[str]:
        """Nothing is ever left."""
        return []

    def start(
        self,
        image_id: str,
        *,
        name: str,
        labels: Mapping[str, str] | None = None,
        limits: ContainerLimits | None = None,
        mounts: Mapping[str, Path] | None = None,
    ) -> FakeContainer:
        """A container that answers as scripted."""
        if image_id not in self._images:
            raise ImageMissingError(f"There is no image {image_id}.")
        container = FakeContainer(name, image_id, self._replies, labels or {})
        self.containers.append(container)
        return container

"""The images of a daemon with Docker's API, through Docker's SDK."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajmake.engines.base import Image
from trajmake.engines.daemon import Daemon
from trajmake.engines.docker_faults import faults, load_error
from trajmake.errors import DiskFullError, ImageBrokenError, ImageMissingError, TrajmakeError
from trajmake.images import compression
from trajmake.images.archive import check_platform, read_archive

if TYPE_CHECKING:
    from docker import APIClient

_BLOCK = 1 << 20
_OWN_NAMES = re.compile("^(docker.io/library|docker.io|localhost)/")  # which podman writes out, and Docker leaves out
_UNREACHABLE = ("no such host", "connection refused", "timeout", "unreachable", "http response to https")


class DockerImages:
    """What :class:`trajmake.engines.docker.DockerEngine` does with images; see the protocol there.

    Args:
        daemon: Whose they are.
        api: Gives the client, which is made when it is first needed.
    """

    def __init__(self, daemon: Daemon, api: Callable[[], APIClient]) -> None:
        self._daemon = daemon
        self._api = api
        self._layers: dict[str, tuple[str, ...]] = {}  # of the images seen

    def load(self, tarball: Path, tags: Sequence[str] = ()) -> Image:
        """Give an archive to the daemon unless it has the image."""
        archive = read_archive(tarball)
        names = [*archive.tags, *tags]
        if self.find(archive.image_id) is not None:
            return self.tag(archive.image_id, names)
        with compression.opened(tarball) as stream:
            blocks = iter(lambda: stream.read(_BLOCK), b"")
            return self.load_stream(str(tarball), blocks, archive.image_id, names)

    def load_stream(self, source: str, chunks: Iterable[bytes], image_id: str, tags: Sequence[str] = ()) -> Image:
        """Give an archive to the daemon while it comes in."""
        raised: list[Exception] = []
        try:
            with faults(self._daemon, f"Image {source}"):
                for line in self._api().load_image(_noting(chunks, raised)):  # type: ignore[no-untyped-call]
                    if "error" in line:
                        raise load_error(self._daemon, source, str(line["error"]))
        except TrajmakeError:
            if raised:  # the client takes what our side raised for the daemon's fault
                raise raised[0] from None
            raise
        if self.find(image_id) is None:
            raise ImageBrokenError(
                f"The {self._daemon.name} knows the image of {source} by another id than its configuration's.",
                "It uses the containerd image store: switch that off in the daemon's features.",
            )
        return self.tag(image_id, tags)

    def pull(self, reference: str) -> Image:
        """Let the daemon pull a reference, and check that the image is for this machine."""
        from docker.errors import APIError

        name, _, version = split_tag(reference)
        with faults(self._daemon, f"Image {reference}"):
            try:
                lines = self._api().pull(name, tag=version, stream=True, decode=True)
                said = [str(line["error"]) for line in lines if "error" in line]
            except APIError as error:
                said = [str(error.explanation or error)]
        if said:
            raise self._pull_error(reference, said[0])
        with faults(self._daemon, f"Image {reference}"):
            facts = self._inspect(reference)
        if facts is None:
            raise ImageMissingError(f"Image {reference} was pulled and is not there.", "Pull it again.")
        check_platform(reference, {"os": facts.get("Os"), "architecture": facts.get("Architecture")})
        return _image(facts)

    def find(self, reference: str) -> Image | None:
        """The image with this id or tag, or None."""
        with faults(self._daemon, f"Image {reference}"):
            facts = self._inspect(reference)
        return _image(facts) if facts else None

    def all(self) -> list[Image]:
        """All images that have a tag."""
        with faults(self._daemon, f"The {self._daemon.name}"):
            found = self._api().images()
        return [_image(facts) for facts in found if facts.get("RepoTags")]

    def shared(self, diff_ids: Sequence[str]) -> int:
        """How many of the lowest layers the daemon has."""
        most = 0
        with faults(self._daemon, f"The {self._daemon.name}"):
            for listed in self._api().images():
                if listed["Id"] not in self._layers:
                    facts = self._inspect(listed["Id"]) or {}
                    self._layers[listed["Id"]] = tuple((facts.get("RootFS") or {}).get("Layers") or ())
                pairs = zip(self._layers[listed["Id"]], diff_ids, strict=False)
                most = max(most, sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        return most

    def tag(self, image_id: str, tags: Sequence[str]) -> Image:
        """Give an image further names."""
        with faults(self._daemon, f"Image {image_id}"):
            for tag in tags if self._inspect(image_id) else ():
                repository, _, version = split_tag(tag)
                self._api().tag(image_id, repository, version, force=True)
            found = self.find(image_id)
        if found is None:
            raise ImageMissingError(f"The {self._daemon.name} has no image {image_id}.", "Load it again.")
        return found

    def place(self) -> Path | None:
        """The daemon's data folder, if the daemon runs on this machine."""
        if not self._daemon.url.startswith("unix:"):
            return None
        with faults(self._daemon, f"The {self._daemon.name}"):
            folder = Path(self._api().info()["DockerRootDir"])
        try:
            return folder if folder.exists() else None
        except PermissionError:
            return folder.parent

    def remove(self, image_id: str) -> None:
        """Remove an image and its tags."""
        from docker.errors import APIError, ImageNotFound

        with faults(self._daemon, f"Image {image_id}"):
            try:
                self._api().remove_image(image_id, force=True)
            except ImageNotFound:
                return
            except APIError as error:
                if error.status_code != 409:
                    raise
                message = f"Image {image_id} is in use by a running container."
                raise ImageBrokenError(message, "Stop it first.") from error

    def _inspect(self, reference: str) -> dict[str, Any] | None:
        from docker.errors import ImageNotFound

        try:
            facts: dict[str, Any] = self._api().inspect_image(reference)  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return None
        return facts

    def _pull_error(self, reference: str, said: str) -> Exception:
        lower = said.lower()
        if "no space left" in lower:
            return DiskFullError(f"No space left while the {self._daemon.name} pulled {reference}.", self._daemon.prune)
        if "no matching manifest" in lower or "does not match the specified platform" in lower:
            return ImageBrokenError(f"Image {reference} is not for this machine: {said}", "Build it for this machine.")
        if any(word in lower for word in _UNREACHABLE):
            return ImageMissingError(f"Image {reference}: its registry cannot be reached: {said}", "Check its address.")
        hint = f"Check it; log in with `{self._daemon.client} login` where it is private; map it in images.mapping."
        return ImageMissingError(f"Image {reference} cannot be pulled: {said}", hint)


def _noting(chunks: Iterable[bytes], raised: list[Exception]) -> Iterator[bytes]:
    try:
        yield from chunks
    except Exception as error:  # noted and raised again
        raised.append(error)
        raise


def split_tag(reference: str) -> tuple[str, str, str]:
    """Name, separator and version of a reference: ``latest`` where it names none, a digest as it is."""
    if "@" in reference:
        return reference.partition("@")
    if ":" in reference.rsplit("/", 1)[-1]:
        return reference.rpartition(":")
    return reference, ":", "latest"


def _image(facts: dict[str, Any]) -> Image:
    tags = {_OWN_NAMES.sub("", tag) for tag in facts.get("RepoTags") or ()}
    return Image(facts["Id"], tuple(sorted(tags)), int(facts.get("Size") or 0))

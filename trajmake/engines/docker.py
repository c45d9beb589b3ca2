"""Containers by a Docker daemon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from trajmake.engines.base import Image
from trajmake.engines.daemon import docker_daemon, ping
from trajmake.engines.docker_api import TIMEOUT, DockerApiEngine
from trajmake.engines.docker_faults import faults
from trajmake.errors import EngineAwayError, EngineUnavailableError

if TYPE_CHECKING:
    from docker import APIClient


def available() -> tuple[bool, str]:
    """Whether a daemon answers, and which; takes a few milliseconds, without the SDK."""
    url = docker_daemon().url
    version, reason = ping(url)
    if version:
        return True, f"the daemon at {url} answers ({version})"
    return False, reason


class DockerEngine(DockerApiEngine):
    """See :class:`trajmake.engines.base.Engine`. The daemon is the one of ``DOCKER_HOST``."""

    name = "docker"

    def __init__(self) -> None:
        super().__init__(docker_daemon())

    def version(self) -> str:
        """``docker <version>``.

        Raises:
            EngineUnavailableError: the daemon does not answer.
        """
        with faults(self._daemon, f"The {self._daemon.name}"):
            return f"docker {self._api().version()['Version']}"

    def load_stream(self, source: str, chunks: Iterable[bytes], image_id: str, tags: Sequence[str] = ()) -> Image:
        """Give an archive to the daemon while it comes in (see the protocol)."""
        return self._images.load_stream(source, chunks, image_id, tags)

    def shared(self, diff_ids: Sequence[str]) -> int:
        """How many of the lowest layers the daemon has (see the protocol)."""
        return self._images.shared(diff_ids)

    def _connect(self) -> APIClient:
        version, reason = ping(self._daemon.url)
        if not version:
            kind = EngineAwayError if "no Docker daemon answers" in reason else EngineUnavailableError
            raise kind(f"The Docker engine cannot be used: {reason}.", self._daemon.start)
        import docker

        return docker.from_env(timeout=TIMEOUT).api

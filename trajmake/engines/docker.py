"""Containers by a Docker daemon, through its SDK.

The container's first process is bash, with its standard input tied to our
connection (``OpenStdin``, ``StdinOnce``): when this process dies, the daemon
closes that input, bash ends and the daemon removes the container (AutoRemove).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from trajmake.engines.attach import Attached
from trajmake.engines.base import ContainerFacts, ContainerLimits, Image
from trajmake.engines.container import ShellContainer
from trajmake.engines.daemon import daemon_url, ping
from trajmake.engines.docker_faults import START_HINT, faults, is_going
from trajmake.engines.docker_images import DockerImages
from trajmake.engines.memory import memory_facts
from trajmake.engines.owner import OWNER, over, owner
from trajmake.engines.shell import Shell
from trajmake.engines.stream import EndOfStream
from trajmake.engines.written import DiskWatch
from trajmake.errors import (
    ClaimedError,
    ContainerLostError,
    EngineAwayError,
    EngineUnavailableError,
    ImageMissingError,
    TrajmakeError,
)

if TYPE_CHECKING:
    from docker import APIClient

HOSTNAME = "trajmake"
_TIMEOUT = 600  # seconds for one answer of the daemon; it may unpack 10 GB in between
_CLAIM_SECONDS = 10.0  # a container whose owner was killed just now is still being removed
_CGROUP_FOLDERS = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")


def available() -> tuple[bool, str]:
    """Whether a daemon answers, and which; takes a few milliseconds, without the SDK."""
    version, reason = ping(daemon_url())
    if version:
        return True, f"the daemon at {daemon_url()} answers ({version})"
    return False, reason


class DockerEngine:
    """See :class:`trajmake.engines.base.Engine`. The daemon is the one of ``DOCKER_HOST``."""

    name = "docker"

    def __init__(self) -> None:
        self._client: APIClient | None = None
        self._images = DockerImages(self._api)

    def version(self) -> str:
        """``docker <version>``.

        Raises:
            EngineUnavailableError: the daemon does not answer.
        """
        with faults("The Docker daemon"):
            return f"docker {self._api().version()['Version']}"

    def load(self, tarball: Path, tags: Sequence[str] = ()) -> Image:
        """Give an archive to the daemon unless it has the image (see the protocol)."""
        return self._images.load(tarball, tags)

    def load_stream(self, source: str, chunks: Iterable[bytes], image_id: str, tags: Sequence[str] = ()) -> Image:
        """Give an archive to the daemon while it comes in (see the protocol)."""
        return self._images.load_stream(source, chunks, image_id, tags)

    def shared(self, diff_ids: Sequence[str]) -> int:
        """How many of the lowest layers the daemon has (see the protocol)."""
        return self._images.shared(diff_ids)

    def pull(self, reference: str) -> Image:
        """Let the daemon pull from a registry (see the protocol)."""
        return self._images.pull(reference)

    def find(self, reference: str) -> Image | None:
        """The image with this id or tag, or None."""
        return self._images.find(reference)

    def images(self) -> list[Image]:
        """All images of the daemon that have a tag."""
        return self._images.all()

    def tag(self, image_id: str, tags: Sequence[str]) -> Image:
        """Give an image further names (see the protocol)."""
        return self._images.tag(image_id, tags)

    def place(self) -> Path | None:
        """The daemon's data folder, if the daemon runs on this machine."""
        return self._images.place()

    def remove(self, image_id: str) -> None:
        """Remove an image and its tags (see the protocol)."""
        self._images.remove(image_id)

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
            EngineUnavailableError: the daemon does not answer, or cannot start it.
            EnvironmentBrokenError: the image has no bash.
            ClaimedError: a container of this name is running.
        """
        if self.find(image_id) is None:
            raise ImageMissingError(f"The Docker daemon has no image {image_id}.", "Load it first.")
        safe = _safe_name(name)
        with faults(f"Container {name}"):
            self.reap()
            self._clear(safe, name)
            created = self._create(image_id, safe, labels or {}, limits or ContainerLimits(), mounts or {})
        body = _Body(self._api(), created, name)
        try:
            with faults(f"Container {name}"):
                channel = Attached(self._api(), created)
                self._api().start(created)
            try:
                shell = Shell(channel, name, body.lost, DiskWatch((limits or ContainerLimits()).disk_mb, body.written))
            except EndOfStream:
                raise body.lost() from None
        except BaseException:  # whatever it is, nothing may be left behind
            with contextlib.suppress(TrajmakeError):
                body.end()
            raise
        return ShellContainer(name, image_id, shell, body)

    def _create(
        self, image_id: str, name: str, labels: Mapping[str, str], limits: ContainerLimits, mounts: Mapping[str, Path]
    ) -> str:
        from docker.types import LogConfig, Mount

        api = self._api()
        memory = limits.memory_mb << 20
        host = api.create_host_config(
            auto_remove=True,
            network_mode="none",
            security_opt=["no-new-privileges"],
            mem_limit=memory or None,
            memswap_limit=memory or None,
            pids_limit=limits.pids or None,
            nano_cpus=int(limits.cpus * 1e9) or None,
            shm_size=limits.shared_memory,
            mounts=[Mount(at, str(path.absolute()), type="bind", read_only=True) for at, path in mounts.items()],
            log_config=LogConfig(type="none", config={}),  # all output comes over the stream: no second copy on disk
        )
        config = api.create_container_config(
            image_id,
            [],
            entrypoint=["bash", "--noprofile", "--norc", "-p"],
            stdin_open=True,
            user="0:0",
            working_dir="/",
            hostname=HOSTNAME,
            labels={"trajmake.name": name, OWNER: owner(), **labels},
            host_config=host,
        )
        config.update(StdinOnce=True, AttachStdin=True, AttachStdout=True, AttachStderr=True)
        return str(api.create_container_from_config(config, name)["Id"])  # type: ignore[no-untyped-call]

    def reap(self) -> list[str]:
        """Remove containers whose owner died before it had started them, or without the daemon's notice."""
        from docker.errors import APIError

        removed = []
        with faults("Containers of dead runs"):
            for found in self._api().containers(all=True, filters={"label": OWNER}):
                if over(found["Labels"][OWNER]):
                    with contextlib.suppress(APIError):  # gone, or going
                        self._api().remove_container(found["Id"], force=True, v=True)
                        removed.append(found["Names"][0].removeprefix("/"))
        return removed

    def _clear(self, safe: str, name: str) -> None:
        """Remove what a dead run left under this name.

        A container that runs has a living owner; one whose owner was killed
        just now goes by itself within a moment.
        """
        from docker.errors import APIError, NotFound

        deadline = time.monotonic() + _CLAIM_SECONDS
        while True:
            try:
                state = self._api().inspect_container(safe)["State"]
                if not state["Running"]:
                    self._api().remove_container(safe, force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                if not is_going(error):
                    raise
            if time.monotonic() > deadline:
                message = f"A container {name} is already running."
                raise ClaimedError(message, f"Wait for it, or remove it: docker rm -f {safe}")
            time.sleep(0.05)

    def _api(self) -> APIClient:
        if self._client is None:
            version, reason = ping(daemon_url())
            if not version:
                kind = EngineAwayError if "no Docker daemon answers" in reason else EngineUnavailableError
                raise kind(f"The Docker engine cannot be used: {reason}.", START_HINT)
            import docker

            self._client = docker.from_env(timeout=_TIMEOUT).api
        return self._client


class _Body:
    """A running container, as the daemon knows it."""

    def __init__(self, api: APIClient, container: str, name: str) -> None:
        self._api = api
        self._container = container
        self._name = name
        self._started = int(time.time())

    def facts(self, shell: Shell) -> ContainerFacts:
        """From its control group, as seen inside."""
        return memory_facts(shell.read, _CGROUP_FOLDERS)

    def written(self) -> int:
        """Bytes in the files that differ from the image's; the daemon walks through them."""
        with faults(f"Container {self._name}"):
            found = self._api.containers(all=True, filters={"id": self._container}, size=True)
        return int(found[0].get("SizeRw") or 0) if found else 0

    def lost(self) -> TrajmakeError:
        """The error for a stream that ended; the daemon's events outlive the container."""
        actions: list[str] = []
        code = ""
        with faults(f"Container {self._name}"):
            filters = {"container": self._container}
            until = int(time.time()) + 1
            for event in self._api.events(since=self._started - 1, until=until, filters=filters, decode=True):
                actions.append(event.get("Action", ""))
                if event.get("Action") == "die":
                    code = event.get("Actor", {}).get("Attributes", {}).get("exitCode", "")
        if "oom" in actions:
            return ContainerLostError(
                f"Container {self._name} ran out of memory and is gone.", "Raise its memory limit."
            )
        return ContainerLostError(f"Container {self._name} is gone (exit code {code or 'unknown'}).")

    def end(self) -> None:
        """Kill and remove it, and wait until it is gone: its name must be free."""
        from docker.errors import APIError, NotFound

        with faults(f"Container {self._name}"):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    self._api.remove_container(self._container, force=True, v=True)
                except NotFound:
                    return
                except APIError as error:
                    if not is_going(error):
                        raise
                    time.sleep(0.02)
        raise EngineUnavailableError(f"The Docker daemon does not remove container {self._name}.")


def _safe_name(name: str) -> str:
    """A container name the daemon takes (``[a-zA-Z0-9][a-zA-Z0-9_.-]+``), different for different names."""
    return f"trajmake-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:80]}-{sha256(name.encode()).hexdigest()[:8]}"

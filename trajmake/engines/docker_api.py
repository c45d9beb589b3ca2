"""Containers by what speaks Docker's API, through Docker's SDK: what its engines share.

The container's first process is bash, with its standard input tied to our
connection (``OpenStdin``, ``StdinOnce``): when this process dies, the daemon
closes that input, bash ends and the daemon removes the container (AutoRemove).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from trajmake.engines.attach import Attached
from trajmake.engines.base import ContainerFacts, ContainerLimits, Image
from trajmake.engines.container import ShellContainer
from trajmake.engines.daemon import Daemon
from trajmake.engines.docker_faults import faults, is_going
from trajmake.engines.docker_images import DockerImages
from trajmake.engines.memory import memory_facts
from trajmake.engines.owner import OWNER, over, owner
from trajmake.engines.shell import Shell
from trajmake.engines.stream import EndOfStream
from trajmake.engines.written import DiskWatch
from trajmake.errors import (
    ClaimedError,
    ContainerLostError,
    EngineUnavailableError,
    ImageMissingError,
    TrajmakeError,
)

if TYPE_CHECKING:
    from docker import APIClient

HOSTNAME = "trajmake"
TIMEOUT = 600  # seconds for one answer of the daemon; it may unpack 10 GB in between
_CLAIM_SECONDS = 10.0  # a container whose owner was killed just now is still being removed
_SHELL = ["bash", "--noprofile", "--norc", "-p"]
_CGROUP_FOLDERS = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")


class DockerApiEngine:
    """See :class:`trajmake.engines.base.Engine`.

    Args:
        daemon: Who answers.
    """

    name: str
    control_groups = True
    """Whether containers have control groups of their own; where not, setrlimit(2) limits them."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._client: APIClient | None = None
        self._images = DockerImages(self._daemon, self._api)

    def load(self, tarball: Path, tags: Sequence[str] = ()) -> Image:
        """Give an archive to the daemon unless it has the image (see the protocol)."""
        return self._images.load(tarball, tags)

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
        self._check_mounts(name, mounts or {})
        if self.find(image_id) is None:
            raise ImageMissingError(f"The {self._daemon.name} has no image {image_id}.", "Load it first.")
        safe = _safe_name(name)
        with faults(self._daemon, f"Container {name}"):
            self.reap()
            self._clear(safe, name)
            created = self._create(image_id, safe, labels or {}, limits or ContainerLimits(), mounts or {})
        body = _Body(self._daemon, self._api(), created, name, _CGROUP_FOLDERS if self.control_groups else ())
        try:
            with faults(self._daemon, f"Container {name}"):
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
            entrypoint=_SHELL if self.control_groups else _under_rlimits(limits),
            stdin_open=True,
            user="0:0",
            working_dir="/",
            hostname=HOSTNAME,
            labels={"trajmake.name": name, OWNER: owner(), **labels},
            host_config=host,
        )
        config.update(StdinOnce=True, AttachStdin=True, AttachStdout=True, AttachStderr=True)
        return str(api.create_container_from_config(config, name)["Id"])  # type: ignore[no-untyped-call]

    def _check_mounts(self, name: str, mounts: Mapping[str, Path]) -> None:
        """Raise EngineUnavailableError for a folder that is not there, where the daemon itself would not."""

    def reap(self) -> list[str]:
        """Remove containers whose owner died before it had started them, or without the daemon's notice."""
        from docker.errors import APIError

        removed = []
        with faults(self._daemon, "Containers of dead runs"):
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
                raise ClaimedError(message, f"Wait for it, or remove it: {self._daemon.client} rm -f {safe}")
            time.sleep(0.05)

    def _api(self) -> APIClient:
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> APIClient:
        """A client, once something answers.

        Raises:
            EngineUnavailableError: nothing does.
        """
        raise NotImplementedError


class _Body:
    """A running container, as the daemon knows it."""

    def __init__(
        self, daemon: Daemon, api: APIClient, container: str, name: str, cgroup_folders: tuple[str, ...]
    ) -> None:
        self._cgroup_folders = cgroup_folders
        self._daemon = daemon
        self._api = api
        self._container = container
        self._name = name
        self._started = int(time.time())

    def facts(self, shell: Shell) -> ContainerFacts:
        """From its control group, as seen inside."""
        return memory_facts(shell.read, self._cgroup_folders)

    def written(self) -> int:
        """Bytes in the files that differ from the image's; the daemon walks through them."""
        with faults(self._daemon, f"Container {self._name}"):
            found = self._api.containers(all=True, filters={"id": self._container}, size=True)
        return int(found[0].get("SizeRw") or 0) if found else 0

    def lost(self) -> TrajmakeError:
        """The error for a stream that ended; the daemon's events outlive the container."""
        actions: list[str] = []
        code = ""
        with faults(self._daemon, f"Container {self._name}"):
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

        with faults(self._daemon, f"Container {self._name}"):
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
        raise EngineUnavailableError(f"The {self._daemon.name} does not remove container {self._name}.")


def _under_rlimits(limits: ContainerLimits) -> list[str]:
    """The shell, with memory limited per process and processes per user."""
    wanted = [f"-d {limits.memory_mb << 10}"] * bool(limits.memory_mb) + [f"-u {limits.pids}"] * bool(limits.pids)
    return [*_SHELL, "-c", "; ".join([*(f"ulimit {limit}" for limit in wanted), "exec " + " ".join(_SHELL)])]


def _safe_name(name: str) -> str:
    """A container name the daemon takes (``[a-zA-Z0-9][a-zA-Z0-9_.-]+``), different for different names."""
    return f"trajmake-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:80]}-{sha256(name.encode()).hexdigest()[:8]}"

"""Containers by podman, through the Docker API that it serves; rootless too.

The service of ``CONTAINER_HOST`` or of the default socket is taken where one
answers. Elsewhere this process starts one of its own (``podman system
service``), which ends with it: in a job of a cluster nothing else runs.

Without root and on control groups of version 1 podman ignores all limits:
memory is RLIMIT_DATA there, per process, and processes are RLIMIT_NPROC, of all
this user's containers together; CPUs are not limited, and no use is known.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trajmake.engines.daemon import Daemon, ping
from trajmake.engines.docker_api import TIMEOUT, DockerApiEngine
from trajmake.engines.docker_faults import faults
from trajmake.errors import EngineUnavailableError, ImageBrokenError

if TYPE_CHECKING:
    from docker import APIClient

_NAME = "podman service"
_START = "Install podman, or set CONTAINER_HOST to a service that answers. `podman info` says what is wrong."
_SECONDS = 60.0  # a service of our own has this long to come up
_LONGEST = 60  # of the folder for temporary files: a socket's whole path has 107 bytes, unix(7)
_VERSION = "1.41"  # of Docker's API, which podman 3 and later serve; asking podman for it takes seconds


class PodmanEngine(DockerApiEngine):
    """See :class:`trajmake.engines.base.Engine`."""

    name = "podman"

    def __init__(self) -> None:
        self.control_groups = os.geteuid() == 0 or Path("/sys/fs/cgroup/cgroup.controllers").exists()
        self._service: Service | None = None
        url = _answering()
        if not url:
            self._service = Service()
            url = self._service.url
        super().__init__(Daemon(_NAME, url, _START, "podman system prune", "podman"))

    def version(self) -> str:
        """``podman <version>``.

        Raises:
            EngineUnavailableError: podman is not installed, or its service does not answer.
        """
        self._api()
        return f"podman {ping(self._daemon.url, _NAME, _SECONDS)[0]}"

    def remove(self, image_id: str) -> None:
        """Remove an image and its tags (see the protocol); podman's own force would end its containers."""
        if self.find(image_id) is None:
            return
        with faults(self._daemon, f"Image {image_id}"):
            running = self._api().containers()
            if any(container["ImageID"].removeprefix("sha256:") == image_id[7:] for container in running):
                raise ImageBrokenError(f"Image {image_id} is in use by a running container.", "Stop it first.")
            self.reap()
        self._images.remove(image_id)

    def reap(self) -> list[str]:
        """Remove containers of dead runs (see the protocol); who never used podman has none, and gets no store."""
        return super().reap() if self._client or not self._service or _has_store() else []

    def _check_mounts(self, name: str, mounts: Mapping[str, Path]) -> None:
        for path in mounts.values():
            if not path.exists():  # podman would make it
                raise EngineUnavailableError(f"Container {name}: there is no {path} to mount.")

    def _connect(self) -> APIClient:
        if self._service:
            self._service.start()
        elif reason := ping(self._daemon.url, _NAME, _SECONDS)[1]:
            raise EngineUnavailableError(f"The podman engine cannot be used: {reason}.", _START)
        import docker

        return docker.APIClient(self._daemon.url, version=_VERSION, timeout=TIMEOUT)


class Service:
    """A service of this process's own; nothing is there before :meth:`start`."""

    def __init__(self) -> None:
        place = tempfile.gettempdir()
        place = place if len(place) < _LONGEST else "/tmp"
        self._folder = Path(place) / f"trajmake-podman-{os.urandom(6).hex()}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers, once started."""
        return f"unix://{self._folder}/sock"

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers.

        Raises:
            EngineUnavailableError: podman is not installed, or ends.
        """
        if self._process:
            return
        if not shutil.which("podman"):
            raise EngineUnavailableError("The podman engine cannot be used: podman is not installed.", _START)
        self._folder.mkdir(mode=0o700)
        log = self._folder / "log"
        with log.open("wb") as said:
            command = [sys.executable, "-m", "trajmake.engines.serving", str(self._folder)]
            # A session of its own: Ctrl-C is for this process, which then stops its containers.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True
            )
        atexit.register(self.stop)
        deadline = time.monotonic() + _SECONDS
        while not ping(self.url, _NAME)[0]:
            text = log.read_text(errors="replace").strip()[-500:]
            if time.monotonic() > deadline or text.startswith("Error") or self._process.poll() is not None:
                self.stop()
                raise EngineUnavailableError(
                    f"The podman engine cannot be used: its service does not start. {text}", _START
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """End it; safe to call twice."""
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait()


def _answering() -> str:
    """Where a service answers, or should: ``CONTAINER_HOST``, else a default socket; "" where there is none."""
    if named := os.environ.get("CONTAINER_HOST"):
        return named
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    default = "/run/podman/podman.sock" if os.geteuid() == 0 else f"{runtime}/podman/podman.sock"
    return f"unix://{default}" if ping(f"unix://{default}", _NAME)[0] else ""


def _has_store() -> bool:
    """Whether this user has a store of images: one that is named, or that of containers-storage.conf(5)."""
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    usual = "/var/lib/containers/storage" if os.geteuid() == 0 else f"{data}/containers/storage"
    return "CONTAINERS_STORAGE_CONF" in os.environ or os.path.exists(usual)

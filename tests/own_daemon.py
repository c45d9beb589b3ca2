"""A Docker daemon of the tests' own, to be killed at will; the machine's is never touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from trajmake.engines.daemon import ping


def lacking() -> str:
    """Why there can be none here; "" where there can."""
    if os.geteuid() != 0:
        return "a Docker daemon of our own needs root"
    return "" if shutil.which("dockerd") else "dockerd is not installed"


class OwnDaemon:
    """``dockerd`` with folders and a socket of its own, without a bridge."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tmd-", dir="/tmp"))  # short: the daemon's sockets lie there
        self.url = f"unix://{self.folder}/sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 60) -> None:
        """Start it, again too, and wait until it answers."""
        places = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
        options = [f"{key}={self.folder / name}" for key, name in places.items()]
        with (self.folder / "log").open("ab") as log:
            # In a network of its own: without a bridge it removes docker0, which is another daemon's.
            command = [
                "unshare",
                "--net",
                "dockerd",
                *options,
                "-H",
                self.url,
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
            ]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + seconds
        while not ping(self.url)[0]:
            assert self._process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """``kill -9`` of it and of its containerd; the containers live on until it is back."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            containerd = int((self.folder / "exec/containerd/containerd.pid").read_text())
            os.kill(containerd, signal.SIGKILL)
            for _ in range(250):  # it is not our child; its lock must be gone
                os.kill(containerd, 0)
                time.sleep(0.02)

    def ask(self, *arguments: str) -> str:
        """What its command line client prints."""
        command = ["docker", "-H", self.url, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((place for place in mounts if place.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

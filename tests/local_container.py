"""A container that is none: commands run on this machine, in a folder of the test.

Fast, and present everywhere; it keeps to the protocol (timeouts kill the whole
process group, long output keeps head and tail) but isolates nothing. Paths are
the machine's own, so a task's workdir is a folder of the test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from trajmake.engines.base import ContainerFacts, Result


class LocalContainer:
    """Runs ``bash -c`` with a nearly empty environment."""

    def __init__(self, home: Path) -> None:
        self.name = "local"
        self.image_id = "sha256:" + "0" * 64
        self.commands: list[str] = []
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}

    def run(
        self,
        command: str,
        *,
        timeout: float,
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        keep: int = 16 * 1024 * 1024,
    ) -> Result:
        """See :class:`trajmake.engines.base.Container`."""
        self.commands.append(command)
        start = time.monotonic()
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=cwd,
            env=self._env | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        timed_out = False
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            timed_out = True
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_bytes(output)
        truncated = max(0, len(output) - keep)
        if truncated:
            output = output[: keep // 2] + output[len(output) - (keep - keep // 2) :]
        # A shell says 128 + n where a signal n ended the process; Popen says -n.
        code = 137 if timed_out else process.returncode if process.returncode >= 0 else 128 - process.returncode
        return Result(code, output, time.monotonic() - start, timed_out, truncated)

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """See :class:`trajmake.engines.base.Container`."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(mode)

    def read(self, path: str) -> bytes:
        """See :class:`trajmake.engines.base.Container`."""
        return Path(path).read_bytes()

    def facts(self) -> ContainerFacts:
        """Nothing is known."""
        return ContainerFacts()

    def stop(self) -> None:
        """Nothing to stop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

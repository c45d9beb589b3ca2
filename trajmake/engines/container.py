"""The container that every engine with an open shell hands out."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from trajmake.engines.base import ContainerFacts, Result, Timeout
from trajmake.engines.shell import Shell
from trajmake.errors import ContainerLostError

_log = logging.getLogger(__name__)


class Body(Protocol):
    """What an engine keeps of a running container, besides its stream."""

    def facts(self, shell: Shell) -> ContainerFacts:
        """Memory use so far (the shell may be asked)."""
        ...

    def end(self) -> None:
        """Kill and remove it; safe to call twice."""
        ...


class ShellContainer:
    """See :class:`trajmake.engines.base.Container`."""

    def __init__(self, name: str, image_id: str, shell: Shell, body: Body) -> None:
        self.name = name
        self.image_id = image_id
        self._shell = shell
        self._body = body
        self._facts = ContainerFacts()
        self._alive = True
        self._stopped = False
        self._in_use = threading.Lock()

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
        """Run a command (see the protocol)."""
        with self._turn():
            result = self._shell.run(command, timeout=timeout, cwd=cwd, env=env, log=log, keep=keep)
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "%s$ %s\n[exit code %d, %.2f s]\n%s", cwd, command, result.exit_code, result.seconds, result.text
            )
        return result

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file inside (see the protocol)."""
        with self._turn():
            self._shell.write(path, data, mode)

    def read(self, path: str) -> bytes:
        """Read a file inside (see the protocol)."""
        with self._turn():
            return self._shell.read(path)

    def facts(self) -> ContainerFacts:
        """Memory use so far; while a command runs, and once the container has ended, what was last known."""
        if self._alive and self._in_use.acquire(blocking=False):
            try:
                self._facts = self._body.facts(self._shell)
            except ContainerLostError:
                self._alive = False
            finally:
                self._in_use.release()
        return self._facts

    def stop(self) -> None:
        """Kill everything in it and remove it; safe to call twice."""
        if self._stopped:
            return
        self.facts()
        self._stopped = True
        self._alive = False
        self._shell.close()
        self._body.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """The shell answers one request at a time; one that raises a loss is not asked again by :meth:`stop`."""
        with self._in_use:
            if self._stopped:
                raise ContainerLostError(f"Container {self.name} has been stopped.")
            try:
                yield
            except ContainerLostError:
                self._alive = False
                raise

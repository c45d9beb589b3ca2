"""The open shell: commands, files and timeouts over one stream to a container's first process.

A ``docker exec`` per command costs 60 ms and leaves the command running when
its client is killed; a line to a shell that is already there costs a few
milliseconds and has neither fault. What runs on the other side is explained in
:mod:`trajmake.engines.bootstrap`. A request is one line and bears a fresh
random nonce; the answer is a frame with that nonce, so nothing a command
prints can be taken for an answer, and what comes late is passed over.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trajmake.engines.base import Result, Timeout
from trajmake.engines.bootstrap import OUTPUT_LIMIT_KIB, program, request
from trajmake.engines.stream import Channel, EndOfStream, FrameReader, Output
from trajmake.engines.written import DiskWatch
from trajmake.errors import ContainerLostError, DiskFullError, EnvironmentBrokenError, TrajmakeError

GRACE = 20.0
"""Seconds the shell may take to answer. Longer than the 15 s for which bash retries a fork."""

_PATIENCE = 5.0  # seconds without an answer after which everything in the container is killed
_POLL = 1.0  # seconds between looks at a silent command: has somebody killed the process that reports its end?
_CHUNK = 8 * 1024 * 1024
_INLINE = 100_000  # bytes; one argument of a process may have 128 KiB at most (MAX_ARG_STRLEN)
_KILLED = 137
_TOO_MUCH = "\n[killed: the files written in this container take more than {} MiB]\n"


@dataclass(frozen=True)
class _End:
    """How a command ended.

    Attributes:
        code: Its exit code.
        reported: By the process that waited for it, which then sends the first bytes of output.
        marked: The end mark follows the output.
        timed_out: It was killed at its timeout.
        notice: Why else it was killed, for the end of its output.
    """

    code: int
    reported: bool = False
    marked: bool = False
    timed_out: bool = False
    notice: str = ""


class _Bytes(bytearray):
    write = bytearray.extend


class Shell:
    """One container's open shell. Used by one thread at a time.

    Args:
        channel: The stream to ``bash -p``, process 1 of the container.
        name: The container's name, for messages.
        lost: Makes the error to raise when the stream has ended (it may know why).
        watch: Says when a command is to be killed for what the container has written.

    Raises:
        EndOfStream: bash did not start; the engine knows why.
        EnvironmentBrokenError: the image lacks a tool that the shell needs.
    """

    def __init__(self, channel: Channel, name: str, lost: Callable[[], TrajmakeError], watch: DiskWatch) -> None:
        self._channel = channel
        self._reader = FrameReader(channel)
        self._name = name
        self._lost = lost
        self._watch = watch
        nonce = _nonce()
        try:
            channel.send(program(nonce), GRACE)
            answer = self._reader.frame((nonce,), 3 * GRACE)
        except OSError as error:
            raise EndOfStream from error
        if answer is None:
            raise self._silent("when it started")
        if answer[1] == "lacks":
            raise EnvironmentBrokenError(
                f"The image of container {name} has no {answer[2]}.", "Install bash and coreutils in the image."
            )

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
        """See :meth:`trajmake.engines.base.Container.run`.

        Raises:
            ContainerLostError: the container is gone or does not answer.
            DiskFullError: no room for the output, in the container or in ``log``.
        """
        variables = [f"{key}={value}" for key, value in (env or {}).items()]
        if "\0" in "".join([command, cwd, *variables]):
            return _refused(b"bash: a command cannot hold a NUL byte\n", log)
        script = ""
        if len(text := _encode(command)) > _INLINE:
            command = script = f"/.trajmake-{_nonce()}"  # gone before the command starts
            self.write(script, text, 0o600)
        start = time.monotonic()
        nonce = _nonce()
        if self._ask(nonce, "tm_run", nonce, cwd, command, script, *variables)[1] == "full":
            raise self._full("the output of a command")
        end = self._await_exit(nonce, timeout if callable(timeout) else lambda: start + timeout - time.monotonic())
        seconds = time.monotonic() - start
        with Output(nonce, log, keep) as output:
            if end.reported:
                self._take_first(nonce, output)
            self._collect(output, end.marked)
            output.add(end.notice.encode())
        return Result(end.code, output.kept, seconds, end.timed_out, output.truncated)

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """See :meth:`trajmake.engines.base.Container.write`.

        Raises:
            ContainerLostError: the container is gone or does not answer.
            DiskFullError: no room inside the container.
            EnvironmentBrokenError: the path cannot be written (a folder, read-only).
        """
        _check_absolute(path)
        nonce = _nonce()
        said = _Bytes()
        answer = self._ask(nonce, "tm_put", nonce, str(len(data)), f"{mode:o}", path, sink=said)
        if answer[1] == "ready":
            # The comment-like last line is where bash finds its way again if not all was taken.
            self._send(data + f"\n: {nonce}\n".encode())
            answer = self._frame(nonce, said)
        if answer[1:] == ["put", "0"]:
            return
        reason = said.decode(errors="replace").strip() or "the write was cut short"
        if "No space left" in reason or "quota exceeded" in reason:
            raise self._full(path)
        raise EnvironmentBrokenError(f"Cannot write {path} in container {self._name}: {reason}.")

    def read(self, path: str) -> bytes:
        """See :meth:`trajmake.engines.base.Container.read`.

        Raises:
            FileNotFoundError: no regular file there.
            ContainerLostError: the container is gone or does not answer.
        """
        _check_absolute(path)
        nonce = _nonce()
        if self._ask(nonce, "tm_get", nonce, path)[1] == "missing":
            raise FileNotFoundError(f"no file {path} in container {self._name}")
        data = _Bytes()
        self._frame(nonce, data)
        return bytes(data)

    def close(self) -> None:
        """Close the stream; the container ends by itself then."""
        self._channel.close()

    def _await_exit(self, nonce: str, left: Callable[[], float]) -> _End:
        while True:
            words = self._next(nonce, min(_POLL, left()))
            if words is not None and words[1] in ("exit", "dead"):
                return _ended(words)
            late = left() <= 0
            if not late and not self._watch.over():
                self._send(request("tm_poll", nonce))
                continue
            self._send(request("tm_kill", nonce))  # spares process 1; comes too late if the command has just ended
            words = self._frame(nonce)
            if words[1] == "exit":
                return _ended(words)
            return _End(_KILLED, timed_out=late, notice="" if late else _TOO_MUCH.format(self._watch.limit_mb))

    def _take_first(self, nonce: str, output: Output) -> None:
        """Take what comes with the exit code, unless the process that sends it was killed or cannot fork."""
        deadline = time.monotonic() + _PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            words = self._next(nonce, min(_POLL, left), output)
            if words is not None:  # "end", or "dead"
                return
            self._send(request("tm_poll", nonce))
        self._send(request("tm_kill", nonce))

    def _collect(self, output: Output, marked: bool) -> None:
        """Fetch the output so far, up to its end mark where there will be one."""
        deadline = time.monotonic() + GRACE
        pause = 0.001
        while not output.complete:
            nonce = _nonce()
            before = output.received
            self._ask(nonce, "tm_more", nonce, str(_CHUNK))
            self._frame(nonce, output)
            if output.complete or output.received - before >= _CHUNK:
                continue
            if not marked or output.received >= OUTPUT_LIMIT_KIB * 1024 or time.monotonic() > deadline:
                break
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        output.finish()

    def _ask(self, nonce: str, *words: str, sink: _Bytes | None = None) -> list[str]:
        """Send a request; the first frame of its answer.

        Where no process can be forked (left-over processes hold every slot) the
        shell gives up the request after a while: then the container is emptied
        and the request made once more.
        """
        self._send(request(*words))
        answer = self._next(nonce, _PATIENCE, sink)
        if answer is not None:
            return answer
        kill = _nonce()
        self._send(request("tm_kill", kill))
        answer = self._frame(nonce, sink, also=kill)
        if answer[0] == kill:
            self._send(request(*words))
            answer = self._frame(nonce, sink)
        return answer

    def _frame(self, nonce: str, sink: Output | _Bytes | None = None, also: str = "") -> list[str]:
        answer = self._next(nonce, GRACE, sink, also)
        if answer is None:
            raise self._silent(f"for {GRACE:.0f} s")
        return answer

    def _next(
        self, nonce: str, seconds: float, sink: Output | _Bytes | None = None, also: str = ""
    ) -> list[str] | None:
        try:
            return self._reader.frame((nonce, also) if also else (nonce,), seconds, sink)
        except (EndOfStream, OSError) as error:
            raise self._lost() from error

    def _send(self, data: bytes) -> None:
        try:
            self._channel.send(data, GRACE)
        except OSError as error:
            raise self._lost() from error

    def _silent(self, when: str) -> ContainerLostError:
        return ContainerLostError(f"The shell of container {self._name} did not answer {when}.")

    def _full(self, thing: str) -> DiskFullError:
        return DiskFullError(
            f"No space left in container {self._name} for {thing}.", "Free disk space where the engine keeps its data."
        )


def _ended(words: list[str]) -> _End:
    """From ``exit <code> <marked>``, or ``dead`` when what waited for the command was killed with it."""
    if words[1] == "dead":
        return _End(_KILLED)
    return _End(int(words[2]), reported=True, marked=words[3] == "1")


def _nonce() -> str:
    return secrets.token_hex(12)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")


def _check_absolute(path: str) -> None:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError(f"not an absolute path of a file: {path!r}")


def _refused(message: bytes, log: Path | None) -> Result:
    """What a shell says to a command that it cannot even be given."""
    with Output("", log, len(message)) as output:
        output.write(message)
        output.finish()
    return Result(126, message, 0.0)

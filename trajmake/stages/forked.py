"""Stages in processes of their own that start in milliseconds.

An interpreter, Snakemake's preamble and the imports cost more than most stages do themselves. So the process that
runs Snakemake keeps a server, which imports what a stage needs when it is first asked for, and each job is forked
off it: as alone as a script, in the same process group. The server ends with the process that started it; a job
that it left goes on.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)
_starting = threading.Lock()
_servers: list[tuple[subprocess.Popen[bytes], socket.socket]] = []
_JOB = b"j"
STAGES = {
    "fetch_image": "trajmake.stages.images",
    "load_image": "trajmake.stages.images",
    "release_image": "trajmake.stages.images",
    "generate": "trajmake.stages.generate",
    "run_tests": "trajmake.stages.run_tests",
}
"""Stage → module with a function of its name, and perhaps ``warm(config)``, which imports what jobs would later."""


def run(stage: str, config: Mapping[str, Any], **names: Any) -> None:
    """Run a stage and wait for it.

    Args:
        stage: A key of :data:`STAGES`.
        config: Snakemake's.
        names: Its other arguments, which are text.

    Raises:
        ChildProcessError: its process failed or was killed. What it had to say is in its log and on stderr.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            _hand_over(theirs)
        text = {name: str(value) for name, value in names.items()}  # Snakemake's own kinds of text need Snakemake
        ours.sendall(pickle.dumps((stage, dict(config), text)))
        ours.shutdown(socket.SHUT_WR)
        answer = ours.recv(1)
    if answer != b"\0":
        raise ChildProcessError(f"{stage} " + (f"ended with exit code {answer[0]}" if answer else "was killed"))


def _hand_over(job: socket.socket) -> None:
    with _starting:
        if _servers:
            with contextlib.suppress(OSError):  # it was killed
                socket.send_fds(_servers[-1][1], [_JOB], [job.fileno()])
                return
        ours, theirs = socket.socketpair()
        with theirs:
            server = subprocess.Popen([sys.executable, "-m", "trajmake.stages.forked"], stdin=theirs.fileno())
        atexit.register(_end, server, ours)
        _servers.append((server, ours))
        socket.send_fds(ours, [_JOB], [job.fileno()])


def _end(server: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    with contextlib.suppress(subprocess.TimeoutExpired):  # jobs that go on without us are none of our time
        server.wait(timeout=1)


def _serve(control: socket.socket) -> None:
    """Fork a job for each connection that comes, until the other side ends."""
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the jobs, unless it was ignored before
    warm: set[str] = set()
    while True:
        message, handles, _, _ = socket.recv_fds(control, 1, 1, socket.MSG_CMSG_CLOEXEC)
        _reap(0 if not message else os.WNOHANG)
        if not message:
            return
        with socket.socket(fileno=handles[0]) as connection:
            stage, config, names = _read(connection)
            if stage and stage not in warm:
                warm.add(stage)
                _warm(stage, config)
            if stage and os.fork() == 0:
                control.close()
                signal.signal(signal.SIGINT, interrupt)
                code = _work(STAGES[stage], stage, config, names)
                with contextlib.suppress(OSError):  # nobody waits any more
                    connection.sendall(bytes([code]))
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)


def _read(connection: socket.socket) -> tuple[str, dict[str, Any], dict[str, str]]:
    """The job that somebody wants; nothing where he is gone already."""
    try:
        with connection.makefile("rb") as stream:
            job: tuple[str, dict[str, Any], dict[str, str]] = pickle.load(stream)
    except (OSError, EOFError, pickle.UnpicklingError):
        return "", {}, {}
    return job


def _warm(stage: str, config: dict[str, Any]) -> None:
    """Import what the stage's jobs need; what cannot be imported is the job's to say."""
    gc.disable()  # of imports nothing is garbage, and looking for it takes a fifth of their time
    with contextlib.suppress(Exception):
        module = importlib.import_module(STAGES[stage])
        if prepare := getattr(module, "warm", None):
            prepare(config)
    gc.freeze()  # a job's collections need not walk through all that, nor copy its pages
    gc.enable()


def _reap(how: int) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, how)[0]:
            pass


def _work(module: str, stage: str, config: dict[str, Any], names: dict[str, str]) -> int:
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as name:  # what `top` shows
        name.write(stage)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    try:
        getattr(importlib.import_module(module), stage)(config, **names)
    except SystemExit as end:
        return end.code & 255 if isinstance(end.code, int) else 1
    except KeyboardInterrupt:  # whoever pressed Ctrl-C need not be told where
        return 128 + signal.SIGINT
    except BaseException as error:  # nothing may get back into the server's loop
        logger.error("%s", error, exc_info=error)
        return 1
    finally:
        atexit._run_exitfuncs()  # an engine's service ends with its job, as it does with a script
    return 0


if __name__ == "__main__":
    with socket.socket(fileno=os.dup(0)) as given:
        _serve(given)
    os._exit(0)  # what was imported takes a while to be taken down, and who waits for us counts our time

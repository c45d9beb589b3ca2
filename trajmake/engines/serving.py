"""Keeps podman's service for the process that holds the other end of its input: ``python -m ... FOLDER``.

The service ends with that process, also when that is killed, and its folder goes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys

from trajmake.engines.inside import default_signals


def main(folder: str) -> None:
    """Serve at ``FOLDER/sock`` until the end of the input."""
    default_signals()  # containers would inherit what is ignored here
    command = ["podman", "--log-level", "error", "system", "service", "--time", "0", f"unix://{folder}/sock"]
    # A group of its own: without root podman goes on in a child, which outlives it.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0) as service:
        sys.stdin.buffer.read()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""A signal is obeyed whatever its process is doing."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def test_a_handler_that_takes_a_lock_hangs_nobody_who_holds_it() -> None:
    """As Snakemake's of SIGTERM: the main thread holds the lock when it is interrupted, and gives it back later."""
    script = """
        import os, signal, threading
        from trajmake import signals
        lock, obeyed = threading.Lock(), threading.Event()
        def handler(*given):
            with lock:
                obeyed.set()
        signal.signal(signal.SIGTERM, handler)
        signals.in_a_thread(signal.SIGTERM)
        with lock:
            os.kill(os.getpid(), signal.SIGTERM)
        print(obeyed.wait(10))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=20).stdout == "True\n"


def test_what_has_no_handler_keeps_its_default() -> None:
    """The default of SIGTERM ends the process."""
    script = """
        import os, signal
        from trajmake import signals
        signals.in_a_thread(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=20).returncode == -15

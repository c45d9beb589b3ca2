"""Signals whose handlers take locks."""

from __future__ import annotations

import signal
import threading


def in_a_thread(number: signal.Signals) -> None:
    """Let the present handler of a signal run in a thread of its own from now on.

    A handler interrupts the main thread. One that takes a lock, as Snakemake 9's of SIGTERM does, would wait for
    ever where the main thread holds that lock: a large session's does for seconds, while it chooses jobs.
    """
    handler = signal.getsignal(number)
    if callable(handler):
        signal.signal(number, lambda *given: threading.Thread(target=handler, args=given, daemon=True).start())

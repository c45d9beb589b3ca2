"""What a provider can answer besides a completion and a fault.

Providers raise :class:`Transient` to the gateway alone; an agent meets
:class:`ContextExceeded` and, from the gateway itself, :class:`LimitReached`.
Faults of the machine are :class:`trajmake.errors.TrajmakeError`.
"""

from __future__ import annotations

from trajmake.outcomes import ExitStatus


class Transient(Exception):
    """No answer now, perhaps later: 429, 5xx, a time-out, a dropped connection, an unreadable answer.

    Args:
        message: What the provider said.
        status: The HTTP status, None when there was none.
        retry_after: Seconds that the provider asks to wait, None when it names none.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ContextExceeded(Exception):
    """The conversation no longer fits the model's context window: the agent's doing, not a fault."""


class LimitReached(Exception):
    """A limit of this run forbids another request: its end, and no fault.

    Args:
        exit_status: How the run ends.
        message: Which limit it was.
    """

    def __init__(self, exit_status: ExitStatus, message: str) -> None:
        super().__init__(message)
        self.exit_status = exit_status

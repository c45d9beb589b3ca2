"""What a provider can answer besides a completion and a fault.

Providers raise these to the gateway; of the two, only :class:`ContextExceeded`
reaches an agent. Faults of the machine are :class:`trajmake.errors.TrajmakeError`.
"""

from __future__ import annotations


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

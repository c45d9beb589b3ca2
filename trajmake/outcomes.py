"""Outcomes: what the *agent* did, as values from closed lists.

``SUCCESS`` means a trajectory that the model really produced, whatever its
verdict; ``FAILED`` means that the machine failed (a fault, see
:mod:`trajmake.errors`); ``TIMEOUT`` means that the instance's wall time ended
the run.
"""

from __future__ import annotations

from enum import StrEnum


class ExitStatus(StrEnum):
    """How an agent's run ended."""

    SUBMITTED = "submitted"
    GAVE_UP = "gave_up"
    STEP_LIMIT = "step_limit"
    COST_LIMIT = "cost_limit"
    TOKEN_LIMIT = "token_limit"
    TIME_LIMIT = "time_limit"
    CONTEXT_LIMIT = "context_limit"
    FORMAT_ERRORS = "format_errors"


class Status(StrEnum):
    """The first field of a status file."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"


def status_of(exit_status: ExitStatus) -> Status:
    """Status of a run that ended with ``exit_status`` (never ``FAILED``)."""
    return Status.TIMEOUT if exit_status is ExitStatus.TIME_LIMIT else Status.SUCCESS

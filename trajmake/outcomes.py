"""Outcomes: what the *agent* did, as values from closed lists.

``SUCCESS`` means a trajectory that the model really produced, whatever its
verdict; ``FAILED`` means that the machine failed (a fault, see
:mod:`trajmake.errors`); ``TIMEOUT`` means that the instance's wall time ended
the run; ``MISSING`` means that a file of predictions has none for the instance:
nobody's fault, no trajectory either, and it counts as not resolved.
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
    NO_PREDICTION = "no_prediction"


class Status(StrEnum):
    """The first field of a status file."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    MISSING = "MISSING"


def status_of(exit_status: ExitStatus) -> Status:
    """Status of a run that ended with ``exit_status`` (never ``FAILED``)."""
    special = {ExitStatus.TIME_LIMIT: Status.TIMEOUT, ExitStatus.NO_PREDICTION: Status.MISSING}
    return special.get(exit_status, Status.SUCCESS)

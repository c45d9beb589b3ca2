"""Faults: what the *machine* did wrong, as exceptions.

What the agent did (gave up, ran out of steps, broke the tests) is never an
exception; it is a value from :mod:`trajmake.outcomes`. One class per kind of
fault, each with the reason that is written to disk and the exit code of the
command line. The message says what happened and with which thing; the hint
says what to do about it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from enum import StrEnum


class Reason(StrEnum):
    """Why a stage could not do its work: the closed list found in fault records."""

    CONFIG = "config"
    DATASET = "dataset"
    IMAGE_MISSING = "image_missing"
    IMAGE_BROKEN = "image_broken"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    CONTAINER_LOST = "container_lost"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    ENVIRONMENT_BROKEN = "environment_broken"
    KEY_MISSING = "key_missing"
    KEY_REFUSED = "key_refused"
    PROVIDER_REFUSED = "provider_refused"
    PROVIDER_DOWN = "provider_down"
    BUDGET_SPENT = "budget_spent"
    CLAIMED = "claimed"
    INTERNAL = "internal"


class TrajmakeError(Exception):
    """A fault with a message, a hint, a reason and an exit code.

    Args:
        message: What happened, and with which thing (one sentence).
        hint: What the user can do about it; empty when there is nothing.
    """

    reason = Reason.INTERNAL
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nHint: {self.hint}" if self.hint else self.message


class ConfigError(TrajmakeError):
    """The configuration is wrong: unknown key, bad value, unknown model."""

    reason = Reason.CONFIG
    exit_code = 2


class DatasetError(TrajmakeError):
    """A dataset is missing, unreadable, or a row in it cannot be used."""

    reason = Reason.DATASET
    exit_code = 3


class ImageMissingError(TrajmakeError):
    """The image's source does not hold it."""

    reason = Reason.IMAGE_MISSING
    exit_code = 4


class ImageBrokenError(TrajmakeError):
    """The image is there but is not a usable image (truncated, wrong architecture)."""

    reason = Reason.IMAGE_BROKEN
    exit_code = 4


class EngineUnavailableError(TrajmakeError):
    """No engine can run containers here, or its daemon does not answer."""

    reason = Reason.ENGINE_UNAVAILABLE
    exit_code = 5


class EngineAwayError(EngineUnavailableError):
    """The engine's daemon does not answer now; it may be starting again."""


class ContainerLostError(TrajmakeError):
    """A running container went away, or stopped answering."""

    reason = Reason.CONTAINER_LOST
    exit_code = 5


class OutOfMemoryError(TrajmakeError):
    """The machine, not the agent's program, ran out of memory."""

    reason = Reason.OUT_OF_MEMORY
    exit_code = 5


class DiskFullError(TrajmakeError):
    """No space left where a file must be written."""

    reason = Reason.DISK_FULL
    exit_code = 6


class EnvironmentBrokenError(TrajmakeError):
    """The instance's image lacks what its tests need (repository, shell, runner)."""

    reason = Reason.ENVIRONMENT_BROKEN
    exit_code = 7


class KeyMissingError(TrajmakeError):
    """The environment variable that holds a model's key is not set."""

    reason = Reason.KEY_MISSING
    exit_code = 8


class KeyRefusedError(TrajmakeError):
    """The provider answered 401 or 403."""

    reason = Reason.KEY_REFUSED
    exit_code = 8


class ProviderRefusedError(TrajmakeError):
    """The provider refused the request for good: unknown model, invalid request."""

    reason = Reason.PROVIDER_REFUSED
    exit_code = 8


class ProviderDownError(TrajmakeError):
    """The provider did not answer usefully after all retries."""

    reason = Reason.PROVIDER_DOWN
    exit_code = 9


class CopyError(TrajmakeError):
    """A session's copy in S3 cannot be made or read."""


class ClaimedError(TrajmakeError):
    """Another living process works on this instance or drives this session."""

    reason = Reason.CLAIMED
    exit_code = 10


class BudgetSpentError(TrajmakeError):
    """The session's money is spent, or cannot be counted: no further request is made."""

    reason = Reason.BUDGET_SPENT
    exit_code = 11


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """End the process with a message and an exit code, without a traceback: a fault, or a file that cannot be used."""
    try:
        yield
    except TrajmakeError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        if error.filename is None:
            raise
        hint = "See that this path is what it should be, may be used by you, and lies on a disk with free space."
        print(f"Error: {error.filename}: {error.strerror}.\nHint: {hint}", file=sys.stderr)
        raise SystemExit(1) from None


def exit_code_of(reason: str) -> int:
    """The exit code that goes with a reason (1 for one that is not known)."""
    return next((kind.exit_code for kind in TrajmakeError.__subclasses__() if kind.reason == reason), 1)

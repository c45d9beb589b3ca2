"""How a conversation ended, in this project's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trajmake.agents.base import AgentLimits
from trajmake.engines.base import Result
from trajmake.errors import EnvironmentBrokenError
from trajmake.outcomes import ExitStatus

_SAID = 2000  # characters of the SDK's words in a message
# Exceptions and codes of the SDK that are the model's doing.
_BY_CODE = {
    "MaxIterationsReached": ExitStatus.STEP_LIMIT,
    "LLMContextWindowExceedError": ExitStatus.CONTEXT_LIMIT,
    "NoCondensationAvailableException": ExitStatus.CONTEXT_LIMIT,  # too long, and nothing to summarize
    "LLMContextWindowTooSmallError": ExitStatus.CONTEXT_LIMIT,
    "LLMMalformedActionError": ExitStatus.FORMAT_ERRORS,
    "LLMMalformedConversationHistoryError": ExitStatus.FORMAT_ERRORS,
    "LLMNoActionError": ExitStatus.FORMAT_ERRORS,
    "LLMResponseError": ExitStatus.FORMAT_ERRORS,
    "FunctionCallConversionError": ExitStatus.FORMAT_ERRORS,
    "FunctionCallNotExistsError": ExitStatus.FORMAT_ERRORS,
    "FunctionCallValidationError": ExitStatus.FORMAT_ERRORS,
}


@dataclass(frozen=True)
class Ending:
    """Exit status, and the reason in words."""

    status: ExitStatus
    message: str


def limit_of(error: Exception | None) -> Ending | None:
    """The limit that a gateway's exception tells of, by its ``exit_status``; None for every other."""
    status = getattr(error, "exit_status", None)
    return Ending(status, str(error)) if isinstance(status, ExitStatus) else None


def ending(result: Result, said: Mapping[str, Any], limits: AgentLimits, *, answered: bool) -> Ending:
    """From how the program ended and what it posted last.

    Args:
        result: Of the program in the container.
        said: ``status``, ``code`` and ``detail``; empty when it did not get that far.
        limits: For the message.
        answered: The model gave at least one answer.

    Raises:
        EnvironmentBrokenError: it failed by no doing of the model's.
    """
    if result.timed_out:
        return Ending(ExitStatus.TIME_LIMIT, f"The time limit of {limits.seconds:g} s was reached.")
    status, code, detail = (str(said.get(name) or "") for name in ("status", "code", "detail"))
    if status == "finished":
        return Ending(ExitStatus.SUBMITTED, str(said.get("message") or ""))
    if status == "stuck":
        return Ending(ExitStatus.GAVE_UP, "The agent went round in circles; OpenHands stopped it.")
    if status == "unfinished":
        return Ending(ExitStatus.GAVE_UP, "The agent stopped working, and did not call `finish` when reminded.")
    if code in _BY_CODE:
        return Ending(_BY_CODE[code], detail[:_SAID] or code)
    if not said and answered and result.exit_code >= 128:
        # Its own commands can do that, and its memory is the container's.
        return Ending(ExitStatus.GAVE_UP, f"The agent's process was killed (exit code {result.exit_code}).")
    reason = f"{code}: {detail}" if said else result.text.strip()
    raise EnvironmentBrokenError(
        f"OpenHands failed in the container (exit code {result.exit_code}): {reason[-_SAID:]}",
        "Its events are beside the trajectory.",
    )

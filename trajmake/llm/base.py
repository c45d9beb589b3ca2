"""What a model is, seen from an agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from trajmake.llm.clock import Clock


@dataclass(frozen=True)
class Usage:
    """Tokens of one completion."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True)
class Completion:
    """One answer of a model.

    Attributes:
        message: The assistant message in OpenAI chat form (``role``, ``content``, ``tool_calls``).
        finish_reason: ``stop``, ``tool_calls``, ``length``, ...
        model: The model's name as the response gives it.
        response_id: The provider's id of the response.
        usage: Tokens.
        cost: US dollars; None when no price is known (never 0 for unknown).
        latency: Seconds.
        timestamp: Unix time of the answer.
    """

    message: dict[str, Any]
    finish_reason: str
    model: str
    response_id: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    latency: float = 0.0
    timestamp: float = 0.0


class LLM(Protocol):
    """The one door to a model (see :mod:`trajmake.llm.gateway`)."""

    completions: list[Completion]
    clock: Clock  # the agent's time; against it an agent holds the wall time of its run

    def complete(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = ()) -> Completion:
        """Ask for the next message.

        Raises:
            KeyMissingError, KeyRefusedError, ProviderRefusedError, ProviderDownError, BudgetSpentError: see each.
            LimitReached: the run has used what it may; its end, not a fault.
            ContextExceeded: the conversation is too long for the model; the agent's limit, not a fault.
        """
        ...


class Provider(Protocol):
    """What answers: a scripted double, or a real provider through litellm."""

    def complete(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> Completion:
        """One request, one answer; no retries (the gateway's work).

        Raises:
            KeyMissingError, KeyRefusedError, ProviderRefusedError: trouble that stays.
            Transient: trouble that may pass.
            ContextExceeded: see :meth:`LLM.complete`.
        """
        ...

"""The limits of one run, held before each request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trajmake.llm.base import Completion
from trajmake.llm.errors import LimitReached
from trajmake.outcomes import ExitStatus

if TYPE_CHECKING:
    from trajmake.agents.base import AgentLimits


def check(limits: AgentLimits, completions: Sequence[Completion], *, cost_aside: float, seconds: float) -> None:
    """Whether another request may be made.

    Args:
        limits: What the run may use.
        completions: What was answered so far. A cost that is not known counts as nothing.
        cost_aside: US dollars of answers that were bought for this run and could not be used.
        seconds: The agent's time so far.

    Raises:
        LimitReached: with the exit status and the limit's name.
    """
    if 0 < limits.steps <= len(completions):
        raise LimitReached(ExitStatus.STEP_LIMIT, f"The limit of {limits.steps} model calls was reached.")
    cost = cost_aside + sum(answer.cost or 0.0 for answer in completions)
    if 0 < limits.cost_usd <= cost:
        raise LimitReached(
            ExitStatus.COST_LIMIT, f"The cost limit of {limits.cost_usd:g} USD was reached ({cost:.4f} USD)."
        )
    tokens = sum(answer.usage.prompt_tokens + answer.usage.completion_tokens for answer in completions)
    if 0 < limits.tokens <= tokens:
        raise LimitReached(
            ExitStatus.TOKEN_LIMIT, f"The limit of {limits.tokens} tokens was reached ({tokens} tokens)."
        )
    if 0 < limits.seconds <= seconds:
        raise LimitReached(ExitStatus.TIME_LIMIT, f"The time limit of {limits.seconds:g} s was reached.")

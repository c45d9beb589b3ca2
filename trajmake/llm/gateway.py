"""The only door to a model: each request is limited, paced, retried, priced and journalled here, or replayed."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajmake.errors import ProviderDownError
from trajmake.llm import journal, limits
from trajmake.llm.base import Completion, Provider, Usage
from trajmake.llm.clock import Clock
from trajmake.llm.errors import Transient
from trajmake.llm.journal import Journal
from trajmake.llm.pace import Pace
from trajmake.llm.redaction import clean, secrets
from trajmake.llm.replay import ExitCodes, Replay
from trajmake.llm.retry import Retry
from trajmake.llm.spending import Spending

if TYPE_CHECKING:
    from trajmake.agents.base import AgentLimits

logger = logging.getLogger(__name__)


class Gateway:
    """One model for one run of an agent. Requests must come one after the other.

    Args:
        provider: Who answers.
        folder: The journal's, see :class:`trajmake.llm.journal.Journal`. What lies there answers the
            first requests (:mod:`trajmake.llm.replay`); what cannot be used is set aside.
        model_name: The model asked for, for messages and the request digest.
        prices: US dollars per million prompt and completion tokens. They replace the
            provider's own calculation; cached tokens count as full ones, so that the
            cost is an upper bound. None: the provider's cost, which may be unknown (None).
        retry: How long a provider in trouble is waited for.
        key_variables: Environment variables whose values are masked in every text that
            is sent, journalled or returned.
        run_limits: What this run may use.
        spending: What the session has spent and may spend.
        pace: The model's rate limits.
        exit_codes: How the agent words exit codes to the model.
        before_request: Raises where this process may buy nothing any more.

    Attributes:
        completions: The answers so far, replayed ones too.
        clock: The agent's time.
    """

    def __init__(
        self,
        provider: Provider,
        folder: Path,
        *,
        model_name: str,
        prices: tuple[float, float] | None = None,
        retry: Retry | None = None,
        key_variables: Iterable[str] = (),
        run_limits: AgentLimits | None = None,
        spending: Spending | None = None,
        pace: Pace | None = None,
        exit_codes: ExitCodes | None = None,
        before_request: Callable[[], None] | None = None,
    ) -> None:
        self.completions: list[Completion] = []
        self.clock = Clock()
        self.model_name = model_name
        self._provider = provider
        self._prices = prices
        self._retry = retry or Retry()
        self._key_variables = tuple(key_variables)
        self._limits = run_limits
        self._spending = spending
        self._pace = pace or Pace(model_name)
        self._before_request = before_request or (lambda: None)
        self._journal = Journal(folder)
        recorded = self._journal.load()
        self._replay = Replay(recorded, exit_codes)
        self._unused = bool(recorded)
        self._live_requests = 0
        self._cost_aside = self._journal.cost_aside()

    def complete(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = ()) -> Completion:
        """Ask for the next message, until there is one or it is clear that there will be none.

        Raises:
            LimitReached: this run has used what it may.
            BudgetSpentError: so has the session.
            KeyMissingError, KeyRefusedError, ProviderRefusedError: at once, see each.
            ProviderDownError: no useful answer after all attempts.
            ContextExceeded: the conversation is too long for the model.
            DiskFullError: the answer cannot be journalled.
        """
        hidden = secrets(self._key_variables)
        made: list[dict[str, Any]] = clean(list(messages), hidden)
        offered: list[dict[str, Any]] = clean(list(tools), hidden)
        entry = self._replay.next(made, offered)
        return self._live(made, offered, hidden) if entry is None else self._replayed(entry)

    def check(self, *, stopped: bool = False) -> None:
        """Whether a run has anything to begin with: money, or journalled answers. Call it before the first request.

        Args:
            stopped: The session's budget ended this run before, so its answers do not suffice.

        Raises:
            BudgetSpentError: neither, or the price of an answer is not known.
        """
        if self._spending:
            for answer in self.bought:
                self._spending.check_price(answer.cost, self.model_name)
            if stopped or self._replay.over:
                self._spending.check()

    def finish(self) -> None:
        """The agent will ask no more: journalled answers that it did not ask for again are set aside."""
        self._replay.end()
        self._leave_unused()

    @property
    def bought(self) -> list[Completion]:
        """The answers so far, and those that the replay has yet to come to."""
        return [*self.completions, *map(journal.completion, self._replay.rest)]

    @property
    def stuck(self) -> bool:
        """Whether all answers were replayed and none was asked for: what went wrong after them will again."""
        return self._live_requests == 0 and self._replay.steps > 0 and self._replay.over

    def account(self) -> dict[str, Any]:
        """The replay, for the run's provenance.

        ``steps`` answers came from the journal; before those in ``diverged`` an output was not as recorded;
        ``ended_at`` is the request at which another exit code (or conversation) ended the replay early.
        """
        return {"steps": self._replay.steps, "diverged": self._replay.diverged, "ended_at": self._replay.ended_at}

    def _replayed(self, entry: dict[str, Any]) -> Completion:
        self.clock.set(entry.get("agent_seconds", 0.0))
        if self._replay.over:
            self.clock.start()
        self.completions.append(journal.completion(entry))
        return self.completions[-1]

    def _live(self, made: list[dict[str, Any]], offered: list[dict[str, Any]], hidden: Sequence[str]) -> Completion:
        self._leave_unused()
        self._live_requests += 1
        self.clock.start()
        sent = self._replay.as_seen(made)
        if self._limits:
            seconds = self.clock.elapsed()
            limits.check(self._limits, self.completions, cost_aside=self._cost_aside, seconds=seconds)
        with self.clock.paused():
            answer, attempt = self._ask(sent, offered)
        self.clock.advance(answer.latency)
        answer = replace(answer, message=clean(answer.message, hidden), cost=self._cost(answer))
        if self._spending:
            self._spending.add(answer.cost)
        entry = {
            "request_digest": digest(self.model_name, sent, offered),
            "model_asked": self.model_name,
            "attempt": attempt,
            "agent_seconds": round(self.clock.elapsed(), 3),
            "messages": sent,
            "tools": offered,
            **asdict(answer),
        }
        self._journal.append(len(self.completions) + 1, entry)
        self.completions.append(answer)
        logger.debug("%s answered: %s", answer.model, answer.message)
        if self._spending:
            self._spending.check_price(answer.cost, self.model_name)
        return answer

    def _leave_unused(self) -> None:
        """What the journal holds beyond the replay was bought for a conversation that did not come again."""
        if self._unused and self._replay.over:
            self._unused = False
            if self._replay.ended_at is not None:
                logger.warning("replay ends before request %d: another outcome, or prompts", self._replay.ended_at)
                self._journal.set_aside(self._replay.ended_at)
                self._cost_aside = self._journal.cost_aside()

    def _ask(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> tuple[Completion, int]:
        start, expected = time.monotonic(), len(json.dumps([messages, tools])) // 4
        for attempt in range(1, self._retry.attempts + 1):
            self._before_request()
            if self._spending:
                self._spending.check()
            start += self._pace.wait(expected)
            asked = time.monotonic()
            try:
                answer = self._provider.complete(messages, tools)
            except Transient as trouble:
                wait = max(self._retry.wait(attempt), trouble.retry_after or 0.0)
                spent = time.monotonic() - start
                if attempt == self._retry.attempts or spent + wait > self._retry.total_seconds:
                    raise self._down(trouble, attempt, spent) from trouble
                logger.warning("%s, request %d: %s; again in %.1f s", self.model_name, attempt, trouble, wait)
                time.sleep(wait)
            else:
                self._pace.settle(expected, answer.usage.prompt_tokens + answer.usage.completion_tokens)
                latency = answer.latency or time.monotonic() - asked  # a provider's own leaves its imports out
                return replace(answer, latency=latency, timestamp=time.time()), attempt
        raise AssertionError("a Retry has at least one attempt")

    def _down(self, trouble: Transient, attempt: int, spent: float) -> ProviderDownError:
        asked = f" It asks to wait {trouble.retry_after:.0f} s more." if trouble.retry_after else ""
        return ProviderDownError(
            f"{self.model_name} gave no answer to {attempt} request(s) in {spent:.0f} s: {trouble}{asked}",
            "Look at the provider's status and your rate limits, then run the same command again.",
        )

    def _cost(self, answer: Completion) -> float | None:
        if self._prices is None:
            return answer.cost
        if answer.usage == Usage() and any(self._prices):
            return None  # the answer names no tokens
        return price(answer.usage, self._prices)


def digest(model_name: str, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> str:
    """sha256 of a request in canonical JSON: what makes two requests the same one."""
    request = {"model": model_name, "messages": list(messages), "tools": list(tools)}
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def price(usage: Usage, prices: tuple[float, float]) -> float:
    """US dollars for ``usage`` at ``prices`` per million prompt and completion tokens."""
    return (usage.prompt_tokens * prices[0] + usage.completion_tokens * prices[1]) / 1_000_000

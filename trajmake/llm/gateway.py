"""The only door to a model: each request is journalled, priced and retried here."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.errors import ProviderDownError
from trajmake.llm.base import Completion, Provider, Usage
from trajmake.llm.errors import Transient
from trajmake.llm.redaction import clean, secrets

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retry:
    """How long a provider in trouble is waited for.

    Attributes:
        attempts: Requests in all.
        total_seconds: From the first request to the start of the last.
        first_wait: Seconds before the second request; doubled each time.
        longest_wait: Bound of that doubling. A ``Retry-After`` may ask for more.
    """

    attempts: int = 10
    total_seconds: float = 900
    first_wait: float = 1.0
    longest_wait: float = 60.0

    def wait(self, attempt: int) -> float:
        """Seconds to wait after failed request ``attempt`` (1 for the first): half fixed, half by chance.

        The chance keeps parallel jobs from coming back all at once; the fixed half makes
        the shortest sum of waits known (121 s with the defaults).
        """
        longest = min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)


class Gateway:
    """One model for one run of an agent.

    Args:
        provider: Who answers.
        journal: Folder for ``0001.json``, ``0002.json``, ... one file per completion, each
            written whole before the agent sees the answer. Files found there are bought
            completions of an earlier run: they stay, and numbering goes on after them.
        model_name: The model asked for, for messages and the request digest.
        prices: US dollars per million prompt and completion tokens. They replace the
            provider's own calculation; cached tokens count as full ones, so that the
            cost is an upper bound. None: the provider's cost, which may be unknown (None).
        retry: How long a provider in trouble is waited for.
        key_variables: Environment variables whose values are masked in every journalled
            and returned text.
    """

    def __init__(
        self,
        provider: Provider,
        journal: Path,
        *,
        model_name: str,
        prices: tuple[float, float] | None = None,
        retry: Retry | None = None,
        key_variables: Iterable[str] = (),
    ) -> None:
        self.completions: list[Completion] = []
        self.model_name = model_name
        self._provider = provider
        self._journal = Path(journal)
        self._prices = prices
        self._retry = retry or Retry()
        self._key_variables = tuple(key_variables)

    def complete(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] = ()) -> Completion:
        """Ask for the next message, until there is one or it is clear that there will be none.

        Raises:
            KeyMissingError, KeyRefusedError, ProviderRefusedError: at once, see each.
            ProviderDownError: no useful answer after all attempts.
            ContextExceeded: the conversation is too long for the model.
            DiskFullError: the answer cannot be journalled.
        """
        sent: list[dict[str, Any]] = clean(list(messages))
        offered: list[dict[str, Any]] = clean(list(tools))
        answer, attempt = self._ask(sent, offered)
        hidden = secrets(self._key_variables)
        answer = replace(answer, message=clean(answer.message, hidden), cost=self._cost(answer))
        entry = {
            "request_digest": digest(self.model_name, sent, offered),
            "model_asked": self.model_name,
            "attempt": attempt,
            "messages": clean(sent, hidden),
            "tools": offered,
            **asdict(answer),
        }
        files.write_json(self._journal / f"{self._next_number():04d}.json", entry)
        logger.debug("%s answered: %s", answer.model, answer.message)
        self.completions.append(answer)
        return answer

    def _ask(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> tuple[Completion, int]:
        start = time.monotonic()
        for attempt in range(1, self._retry.attempts + 1):
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
                return replace(answer, latency=time.monotonic() - asked, timestamp=time.time()), attempt
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
        return price(answer.usage, self._prices)

    def _next_number(self) -> int:
        taken = (int(path.stem) for path in self._journal.glob("*.json") if path.stem.isdigit())
        return max(taken, default=0) + 1


def digest(model_name: str, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> str:
    """sha256 of a request in canonical JSON: what makes two requests the same one."""
    request = {"model": model_name, "messages": list(messages), "tools": list(tools)}
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def price(usage: Usage, prices: tuple[float, float]) -> float:
    """US dollars for ``usage`` at ``prices`` per million prompt and completion tokens."""
    return (usage.prompt_tokens * prices[0] + usage.completion_tokens * prices[1]) / 1_000_000

"""How long a provider in trouble is waited for."""

from __future__ import annotations

import random
from dataclasses import dataclass


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

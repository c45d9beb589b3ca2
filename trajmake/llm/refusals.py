"""What a provider's trouble is in this project's terms, whoever made the request."""

from __future__ import annotations

import email.utils
import os
import time

from trajmake.errors import KeyMissingError, KeyRefusedError, ProviderRefusedError
from trajmake.llm.errors import Transient

LONGEST_MESSAGE = 2000  # some errors quote whole answers
NO_KEY = "none"  # clients insist on some key, also for a local server that wants none


def key_of(model: str, variable: str) -> str:
    """The key in the environment.

    Raises:
        KeyMissingError: the variable is not set.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise KeyMissingError(
            f"The key of {model} is missing: the environment variable {variable} is not set.",
            f"export {variable}=..., or choose other models (config key `models`).",
        )
    return key


def translated(
    model: str, text: str, *, status: int | None, codes: set[object], key_variable: str, retry_after: float | None
) -> Exception:
    """The error for an answer that is none.

    Args:
        model: As configured.
        text: The provider's words, without the key.
        status: HTTP status, None when there was none.
        codes: The error's codes in OpenAI's form.
        key_variable: Where the key is.
        retry_after: Seconds that the provider asks to wait.
    """
    if status in (401, 403):
        return KeyRefusedError(
            f"{model} refuses the key: {text}", f"Look at the key in {key_variable or 'the environment'}."
        )
    if "insufficient_quota" in codes:  # a 429 that no waiting mends
        return ProviderRefusedError(f"{model} has no quota left for this key: {text}", "Look at its billing.")
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 425, 429):
        return ProviderRefusedError(
            f"{model} refuses the request: {text}", "Look at `model`, `base_url` and `options` of this model."
        )
    return Transient(text, status=status, retry_after=retry_after)


def seconds_of(retry_after: str) -> float | None:
    """Seconds of a ``Retry-After`` header: a number or an HTTP date (RFC 9110, 10.2.3); None for neither."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None

"""Real providers, through litellm.

litellm is imported at the first request (seconds), with its price table taken
from the package, its telemetry off and no ``.env`` read. It makes one request
per call; repeating it is the gateway's work.
"""

from __future__ import annotations

import email.utils
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trajmake import borrowed
from trajmake.errors import KeyMissingError, KeyRefusedError, ProviderRefusedError
from trajmake.llm.base import Completion, Usage
from trajmake.llm.errors import ContextExceeded, Transient
from trajmake.llm.redaction import clean, secrets

_NO_KEY = "none"  # OpenAI's client insists on some key, also for a local server that wants none
_LONGEST_MESSAGE = 2000  # some errors of litellm quote whole answers


class LiteLLMProvider:
    """One model behind litellm.

    Args:
        model: Provider string, e.g. ``anthropic/claude-opus-4-6``.
        api_key_env: Name of the environment variable that holds the key; it is read at
            each request and kept nowhere. Empty: no key with ``base_url``, else whatever
            litellm finds by itself (cloud credentials).
        base_url: Endpoint, when it is not the provider's own.
        temperature: Sampling temperature; the provider's own when None.
        top_p: Nucleus sampling; the provider's own when None.
        max_output_tokens: Tokens of one answer; the provider's own when None.
        request_seconds: After these a request without an answer counts as failed.
        options: Further arguments of ``litellm.completion``.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key_env: str = "",
        base_url: str = "",
        temperature: float | None = None,
        top_p: float | None = None,
        max_output_tokens: int | None = None,
        request_seconds: float = 600,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self._api_key_env = api_key_env
        self._base_url = base_url
        self._arguments: dict[str, Any] = {
            "model": model,
            "temperature": temperature,
            "top_p": top_p,
            "max_tokens": max_output_tokens,
            "timeout": request_seconds,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,
            **_caching(model),
            **(options or {}),
        }

    def complete(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> Completion:
        """One request.

        Raises:
            KeyMissingError: the variable is not set.
            KeyRefusedError: 401 or 403.
            ProviderRefusedError: any other 4xx that will not pass (400, 404, 422, no quota).
            ContextExceeded: the conversation is too long for the model.
            Transient: 429, 5xx, a time-out, a dropped connection, an unreadable answer.
        """
        key = self._key()
        litellm = load()
        import openai

        arguments = {name: value for name, value in self._arguments.items() if value is not None}
        arguments |= {"messages": list(messages), "api_key": key, "base_url": self._base_url or None}
        if tools:
            arguments["tools"] = list(tools)
        asked = time.monotonic()
        try:
            response = litellm.completion(**arguments)
        except openai.OpenAIError as error:  # every exception of litellm's own is one of these
            raise self._translated(error, litellm) from error
        try:
            return replace(_completion(response, self.model, litellm), latency=time.monotonic() - asked)
        except (AttributeError, IndexError, TypeError) as error:
            raise Transient(f"The answer is no chat completion: {error}") from error

    def _key(self) -> str | None:
        if not self._api_key_env:
            return _NO_KEY if self._base_url else None
        key = os.environ.get(self._api_key_env, "").strip()
        if not key:
            raise KeyMissingError(
                f"The key of {self.model} is missing: the environment variable {self._api_key_env} is not set.",
                f"export {self._api_key_env}=..., or choose other models (config key `models`).",
            )
        return key

    def _translated(self, error: Exception, litellm: Any) -> Exception:
        """The same trouble in this project's terms, with the provider's message and without the key."""
        status = getattr(error, "status_code", None)
        codes = {getattr(cause, "code", None) for cause in _chain(error)}
        cause = next((cause for cause in _chain(error) if isinstance(cause, OSError)), None)
        said = str(error) if cause is None or str(cause) in str(error) else f"{error} ({cause})"
        text = str(clean(said, secrets([self._api_key_env])))[:_LONGEST_MESSAGE]
        if isinstance(error, litellm.ContextWindowExceededError) or "context_length_exceeded" in codes:
            return ContextExceeded(text)
        if missing := _import_error(error):  # litellm dresses its own defects up as dropped connections
            return ProviderRefusedError(
                f"litellm cannot make the request for {self.model}: {missing}.",
                "Install the versions of the lock file.",
            )
        if status in (401, 403):
            return KeyRefusedError(
                f"{self.model} refuses the key: {text}", f"Look at the key in {self._api_key_env or 'the environment'}."
            )
        if "insufficient_quota" in codes:  # a 429 that no waiting mends
            return ProviderRefusedError(f"{self.model} has no quota left for this key: {text}", "Look at its billing.")
        if isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 425, 429):
            return ProviderRefusedError(
                f"{self.model} refuses the request: {text}", "Look at `model`, `base_url` and `options` of this model."
            )
        return Transient(text, status=status, retry_after=_retry_after(error))


def load() -> Any:
    """litellm, imported so that it fetches nothing, reads no ``.env`` and prints no advice."""
    with borrowed.environment(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION"):
        import litellm
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    return litellm


def warm() -> None:
    """Import what litellm imports at its first request: 0.6 s beyond its own 5."""
    load()
    import httpcore  # noqa: F401
    import openai.resources  # noqa: F401


def is_listed(model: str) -> bool:
    """Whether litellm's table has a price for a model."""
    litellm = load()
    try:
        return bool(sum(litellm.cost_per_token(model=model, prompt_tokens=1000, completion_tokens=1000)) > 0)
    except Exception:  # noqa: BLE001 - it raises bare Exceptions for an unlisted model
        return False


def _caching(model: str) -> dict[str, Any]:
    """Anthropic caches a prompt only where it is asked to: mark the end of the conversation, as its agents do."""
    if "claude" not in model and "anthropic" not in model:
        return {}
    return {"cache_control_injection_points": [{"location": "message", "index": -1}]}


def _completion(response: Any, model: str, litellm: Any) -> Completion:
    choice = response.choices[0]
    message = choice.message.model_dump(exclude_none=True)
    message.pop("function_call", None)
    if not any((message.get("provider_specific_fields") or {}).values()):
        message.pop("provider_specific_fields", None)  # else they carry what must be sent back (thought signatures)
    message.setdefault("content", None)
    return Completion(
        message=message,
        finish_reason=choice.finish_reason or "",
        model=_named(response.model or "", model),
        response_id=response.id or "",
        usage=_usage(response),
        cost=_cost(response, model, litellm),
        timestamp=time.time(),
    )


def _named(answered: str, asked: str) -> str:
    """The model's name as the response gave it: litellm puts some providers' names before it."""
    provider, slash, _ = asked.partition("/")
    return answered.removeprefix(provider + slash) if slash else answered


def _usage(response: Any) -> Usage:
    usage = getattr(response, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(
        # Below 0 is no count: it would give back what the session has spent.
        prompt_tokens=max(0, getattr(usage, "prompt_tokens", 0) or 0),
        completion_tokens=max(0, getattr(usage, "completion_tokens", 0) or 0),
        cache_read_tokens=getattr(details, "cached_tokens", 0) or 0,
        cache_write_tokens=getattr(details, "cache_creation_tokens", 0) or 0,
    )


def _cost(response: Any, model: str, litellm: Any) -> float | None:
    """By litellm's table: of the model that answered, else (an unlisted snapshot) of the one asked for.

    None where the table has no price: it raises, or says 0 of a model listed without one.
    """
    calculations: tuple[Callable[[], float], ...] = (
        lambda: float(litellm.completion_cost(response, model=model)),
        lambda: float(sum(litellm.cost_per_token(model=model, usage_object=response.usage))),
    )
    for calculate in calculations:
        try:
            cost = calculate()
        except Exception:  # noqa: BLE001 - it raises bare Exceptions for an unlisted model, and no price may end a run
            continue
        if cost > 0:
            return cost
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _import_error(error: Exception) -> ImportError | None:
    return next((cause for cause in _chain(error) if isinstance(cause, ImportError)), None)


def _retry_after(error: Exception) -> float | None:
    """Seconds of the ``Retry-After`` header: a number or an HTTP date (RFC 9110, 10.2.3)."""
    for cause in _chain(error):
        headers = getattr(getattr(cause, "response", None), "headers", None) or {}
        if value := headers.get("retry-after"):
            try:
                return max(0.0, float(value))
            except ValueError:
                pass
            try:
                return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
            except ValueError:
                return None
    return None

"""Servers that speak OpenAI's chat completions, asked without litellm, whose import costs seconds of each job.

Only where litellm would add nothing: the endpoint is named, so are the prices, and no option is litellm's own.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trajmake.llm.base import Completion, Usage
from trajmake.llm.errors import ContextExceeded, Transient
from trajmake.llm.litellm_provider import caching, is_too_long
from trajmake.llm.redaction import clean, secrets
from trajmake.llm.refusals import LONGEST_MESSAGE, NO_KEY, key_of, seconds_of, translated

if TYPE_CHECKING:
    import httpx

    from trajmake.settings import ModelSettings

_PREFIX = "openai/"
_OWN_NAMES = re.compile(r"(o\d|gpt-5|chatgpt)", re.I)  # models whose arguments litellm renames


def suits(model: ModelSettings) -> bool:
    """Whether a model can be asked without litellm."""
    name = model.model.removeprefix(_PREFIX)
    plain = model.model.startswith(_PREFIX) and not _OWN_NAMES.match(name) and not caching(model.model)
    return bool(plain and model.base_url and model.prices and not model.options)


class OpenAIProvider:
    """One model behind an endpoint of OpenAI's form. The price is not its business.

    Args:
        model: Provider string, ``openai/NAME``.
        base_url: The endpoint, to which ``/chat/completions`` is added.
        api_key_env: Name of the environment variable that holds the key; it is read at
            each request and kept nowhere. Empty: the server wants no key.
        temperature, top_p, max_output_tokens: See :class:`ModelSettings`; not sent when None.
        request_seconds: After so many without a byte a request counts as failed.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key_env: str = "",
        temperature: float | None = None,
        top_p: float | None = None,
        max_output_tokens: int | None = None,
        request_seconds: float = 600,
    ) -> None:
        self.model = model
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._api_key_env = api_key_env
        self._request_seconds = request_seconds
        wanted = {"temperature": temperature, "top_p": top_p, "max_tokens": max_output_tokens}
        self._arguments = {name: value for name, value in wanted.items() if value is not None}
        self._client: httpx.Client | None = None

    def complete(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> Completion:
        """One request.

        Raises:
            KeyMissingError: the variable is not set.
            KeyRefusedError: 401 or 403.
            ProviderRefusedError: any other 4xx that will not pass (400, 404, 422, no quota).
            ContextExceeded: the conversation is too long for the model.
            Transient: 429, 5xx, a time-out, a dropped connection, an unreadable answer.
        """
        key = key_of(self.model, self._api_key_env) if self._api_key_env else NO_KEY
        import httpx

        if self._client is None:
            self._client = httpx.Client(timeout=self._request_seconds, follow_redirects=True)
        body = {"model": self.model.removeprefix(_PREFIX), "messages": list(messages), **self._arguments}
        if tools:
            body["tools"] = list(tools)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        asked = time.monotonic()
        try:
            response = self._client.post(self._url, content=json.dumps(body), headers=headers)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise Transient(self._clean(f"{type(error).__name__}: {error}")) from error
        if not response.is_success:
            raise self._translated(response)
        try:
            return _completion(response.json(), asked)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise Transient(f"The answer is no chat completion: {self._clean(repr(error))}") from error

    def _translated(self, response: httpx.Response) -> Exception:
        """The same trouble in this project's terms, with the provider's message and without the key."""
        said = _error(response)
        codes: set[object] = {said.get("code")} if isinstance(said.get("code"), str) else set()
        text = self._clean(f"Error code: {response.status_code} - {said.get('message') or response.text}")
        if "context_length_exceeded" in codes or (response.status_code in (400, 413, 422) and is_too_long(text)):
            return ContextExceeded(text)
        wait = response.headers.get("retry-after")
        return translated(
            self.model,
            text,
            status=response.status_code,
            codes=codes,
            key_variable=self._api_key_env,
            retry_after=seconds_of(wait) if wait else None,
        )

    def _clean(self, text: str) -> str:
        return str(clean(text, secrets([self._api_key_env] if self._api_key_env else [])))[:LONGEST_MESSAGE]


def _error(response: httpx.Response) -> Mapping[str, Any]:
    """The error in OpenAI's form, or as servers like vLLM give it; empty where the body is neither."""
    try:
        body = response.json()
    except ValueError:
        return {}
    if not isinstance(body, dict):
        return {}
    error = body.get("error", body)
    return error if isinstance(error, dict) else {"message": error}


def _completion(answer: Any, asked: float) -> Completion:
    choice = answer["choices"][0]
    # As litellm hands messages on: without empty fields, and with `content` in any case.
    message = {name: value for name, value in choice["message"].items() if value is not None}
    message.pop("function_call", None)
    if calls := message.pop("tool_calls", None):
        message["tool_calls"] = [_call(call) for call in calls]
    finished = choice.get("finish_reason") or ""
    usage = answer.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    return Completion(
        message={"content": None, **message, "role": "assistant"},
        finish_reason="tool_calls" if finished == "stop" and "tool_calls" in message else finished,
        model=str(answer.get("model") or ""),
        response_id=str(answer.get("id") or ""),
        usage=Usage(
            # Below 0 is no count: it would give back what the session has spent.
            prompt_tokens=max(0, int(usage.get("prompt_tokens") or 0)),
            completion_tokens=max(0, int(usage.get("completion_tokens") or 0)),
            cache_read_tokens=max(0, int(details.get("cached_tokens") or 0)),
        ),
        latency=time.monotonic() - asked,
        timestamp=time.time(),
    )


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call; some servers give the arguments as an object, or not at all."""
    function = dict(call["function"])
    arguments = function.get("arguments")
    function["arguments"] = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return {**call, "type": "function", "function": function}

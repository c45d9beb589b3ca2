"""An OpenAI-compatible server on loopback that answers, and misbehaves, as told.

``with OpenAIServer(answer(commands=["ls"]), fail(429, retry_after=1)) as server:``
serves one behaviour per request, in order; the last one goes on for ever.
``server.requests`` holds what arrived.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from trajmake.llm.base import Completion, Provider, Usage


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the next behaviour."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer's body waits 40 ms for the client to acknowledge its headers
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.next_behaviour(Request(self.path, dict(self.headers), body, time.monotonic()))(self, body)

    def send(self, status: int, payload: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(payload))}.items():
            self.send_header(name, value)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the test's standard error."""


Behaviour = Callable[[Handler, dict[str, Any]], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behaviours: Sequence[Behaviour], port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.behaviours = behaviours
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def next_behaviour(self, request: Request) -> Behaviour:
        with self._lock:
            self.requests.append(request)
            return self.behaviours[min(len(self.requests), len(self.behaviours)) - 1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up waiting is part of the tests."""


class OpenAIServer:
    """Serves ``behaviours`` while the block runs; ``port`` 0 is any that is free."""

    def __init__(self, *behaviours: Behaviour, port: int = 0) -> None:
        self._server = _Server(behaviours, port)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens, or did."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Base URL for OpenAI clients."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def requests(self) -> list[Request]:
        """What arrived so far."""
        return self._server.requests

    def behave(self, *behaviours: Behaviour) -> None:
        """From now on do this instead."""
        self._server.behaviours = behaviours

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()


def _body(completion: Completion) -> bytes:
    usage = completion.usage
    return json.dumps(
        {
            "id": completion.response_id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": completion.model,
            "choices": [{"index": 0, "finish_reason": completion.finish_reason, "message": completion.message}],
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
                "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
            },
        }
    ).encode()


def completion(
    content: str | None = "", commands: Sequence[str] = (), *, model: str = "loopback-1", usage: Usage | None = None
) -> Completion:
    """A well-formed answer; each command is a call of the tool ``bash``."""
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "bash", "arguments": json.dumps({"command": c})}}
        for n, c in enumerate(commands, 1)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {})
    return Completion(
        message=message,
        finish_reason="tool_calls" if calls else "stop",
        model=model,
        response_id="chatcmpl-1",
        usage=usage or Usage(prompt_tokens=100, completion_tokens=20),
    )


def answer(content: str | None = "", commands: Sequence[str] = (), **facts: Any) -> Behaviour:
    """200 with :func:`completion`."""
    payload = _body(completion(content, commands, **facts))
    return lambda handler, body: handler.send(200, payload)


def answer_as(provider: Provider) -> Behaviour:
    """200 with what a provider (a scripted one) says to this request."""
    return lambda handler, body: handler.send(200, _body(provider.complete(body["messages"], body.get("tools") or [])))


def fail(status: int, message: str = "out of order", *, code: str = "", retry_after: float | str = "") -> Behaviour:
    """An error in OpenAI's form, with ``Retry-After`` when given."""
    payload = json.dumps({"error": {"message": message, "type": "error", "code": code or None}}).encode()
    headers = {"Retry-After": str(retry_after)} if retry_after != "" else {}
    return lambda handler, body: handler.send(status, payload, headers)


def by_model(**behaviours: Behaviour) -> Behaviour:
    """What stands under the name of the model that is asked for."""
    return lambda handler, body: behaviours[body["model"]](handler, body)


def once(true: Callable[[], object], behaviour: Behaviour) -> Behaviour:
    """That behaviour, but not before this is so: what asks is at work until then."""

    def wait(handler: Handler, body: dict[str, Any]) -> None:
        while not true():
            if handler.server.closing.wait(0.05):
                handler.close_connection = True
                return
        behaviour(handler, body)

    return wait


def too_long() -> Behaviour:
    """What OpenAI answers to a conversation that exceeds the context window."""
    text = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
    return fail(400, text, code="context_length_exceeded")


def garbage(payload: bytes = b"<html>Bad gateway, but 200</html>") -> Behaviour:
    """200 with something that is no completion."""
    return lambda handler, body: handler.send(200, payload)


def hang() -> Behaviour:
    """No answer until the server closes."""

    def wait(handler: Handler, body: dict[str, Any]) -> None:
        handler.server.closing.wait()
        handler.close_connection = True

    return wait


def drop() -> Behaviour:
    """The connection closes without an answer."""

    def close(handler: Handler, body: dict[str, Any]) -> None:
        handler.close_connection = True

    return close


def half() -> Behaviour:
    """The connection closes in the middle of the answer."""

    def cut(handler: Handler, body: dict[str, Any]) -> None:
        payload = _body(completion("never whole"))
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(payload)))
        handler.end_headers()
        handler.wfile.write(payload[: len(payload) // 2])
        handler.close_connection = True

    return cut

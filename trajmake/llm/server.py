"""The door to a model for an agent in a container: OpenAI's HTTP interface on a unix socket.

Every request goes through the gateway, one at a time. Whatever ends the run (a fault, a limit) is kept
here for the job, while the agent is told no more than that it is over, in a way that is not retried.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trajmake.llm.base import LLM, Completion
from trajmake.llm.errors import ContextExceeded

logger = logging.getLogger(__name__)

LARGEST = 64 << 20
"""Bytes of a request that are read at most: the sender is a container."""

_OVER = "This run has ended: no further requests are answered."


class GatewayServer:
    """Serves while the block runs.

    Args:
        llm: Answers; used by one thread at a time.
        socket: Path of the unix socket (at most 107 bytes); made on entry, removed at the end.
        model: Name given out at ``/v1/models``.
        posts: Further paths: each is given the JSON value that is posted there.

    Attributes:
        error: What ended the run, to be raised by the job: the first exception of the gateway.
        requests: Requests for a completion so far.
    """

    def __init__(
        self,
        llm: LLM,
        socket: Path,
        *,
        model: str,
        posts: Mapping[str, Callable[[Any], None]] | None = None,
    ) -> None:
        self.error: Exception | None = None
        self.requests = 0
        self.model = model
        self._llm = llm
        self._posts = dict(posts or {})
        self._socket = socket
        self._turn = threading.Lock()
        self._over = False

    def __enter__(self) -> Self:
        self._listener = _Listener(str(self._socket), self)
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, name="gateway server", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Answer no more; a completion that is under way is awaited, because it is being paid for."""
        self._over = True
        self._listener.shutdown()
        self._listener.server_close()
        with self._turn:
            self._socket.unlink(missing_ok=True)

    def answer(self, request: Any) -> tuple[int, dict[str, Any] | Completion]:
        """HTTP status and body for a request for a completion."""
        messages = _objects(request, "messages")
        tools = _objects(request, "tools")
        if not messages or tools is None:
            return 400, problem("`messages` must be a list of messages, `tools` a list of tools.")
        with self._turn:
            if self._over:
                return 400, problem(_OVER)
            self.requests += 1
            try:
                return 200, self._llm.complete(messages, tools)
            except ContextExceeded as error:
                return 400, problem(f"context_length_exceeded: {error}", "context_length_exceeded")
            except Exception as error:  # noqa: BLE001 - raised again by the job, whatever it is
                logger.debug("the run ends: %s", error)
                self.error, self._over = error, True
        return 400, problem(_OVER)

    def take(self, path: str, value: Any) -> bool:
        """Hand over what was posted to one of ``posts``; False where there is no such path."""
        if path not in self._posts:
            return False
        with self._turn:
            if not self._over:
                self._posts[path](value)
        return True


class _Listener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: str, owner: GatewayServer) -> None:
        super().__init__(path, _Handler)
        self.owner = owner

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""
        logger.debug("a client of the gateway server went away", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_GET(self) -> None:
        if self.path.rstrip("/") != "/v1/models":
            return self._json(404, problem(f"There is no {self.path}."))
        model = {"id": self.server.owner.model, "object": "model", "created": 0, "owned_by": "trajmake"}
        self._json(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST:
            self.close_connection = True
            return self._json(413, problem(f"A request needs a Content-Length of at most {LARGEST}."))
        try:
            value = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            return self._json(400, problem(f"The request is no JSON: {error}"))
        if self.path != "/v1/chat/completions":
            known = self.server.owner.take(self.path, value)
            return self._json(200, {}) if known else self._json(404, problem(f"There is no {self.path}."))
        status, body = self.server.owner.answer(value)
        if isinstance(body, dict):
            self._json(status, body)
        elif value.get("stream"):
            self._stream(body, bool((value.get("stream_options") or {}).get("include_usage")))
        else:
            self._json(200, _completion(body))

    def _json(self, status: int, body: dict[str, Any]) -> None:
        payload = json.dumps(body).encode()
        self._head(status, "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _stream(self, answer: Completion, with_usage: bool) -> None:
        """The whole answer as one piece: it was journalled whole before."""
        self._head(200, "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for chunk in _chunks(answer, with_usage):
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)

    def address_string(self) -> str:
        return "container"

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()


def problem(message: str, code: str = "invalid_request") -> dict[str, Any]:
    """An error in OpenAI's form."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _objects(request: Any, key: str) -> list[dict[str, Any]] | None:
    """The list of objects under ``key``, empty where there is none; None where it is something else."""
    value = (request.get(key) or []) if isinstance(request, dict) else None
    return value if isinstance(value, list) and all(isinstance(item, dict) for item in value) else None


def _completion(answer: Completion) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": answer.finish_reason or "stop", "message": answer.message}
    return _common(answer, "chat.completion") | {"choices": [choice], "usage": _usage(answer)}


def _chunks(answer: Completion, with_usage: bool) -> list[dict[str, Any]]:
    common = _common(answer, "chat.completion.chunk")
    calls = [{"index": number, **call} for number, call in enumerate(answer.message.get("tool_calls") or [])]
    delta = answer.message | ({"tool_calls": calls} if calls else {})
    said = {"index": 0, "delta": delta, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": answer.finish_reason or "stop"}
    chunks = [common | {"choices": [said]}, common | {"choices": [end]}]
    return chunks + ([common | {"choices": [], "usage": _usage(answer)}] if with_usage else [])


def _common(answer: Completion, kind: str) -> dict[str, Any]:
    created = int(answer.timestamp or time.time())
    return {"id": answer.response_id, "object": kind, "created": created, "model": answer.model}


def _usage(answer: Completion) -> dict[str, Any]:
    usage = answer.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
    }

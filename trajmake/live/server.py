"""``trajmake serve``: the picture in the browser, live. Reads files only; asks no other host for anything."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import html
import ipaddress
import json
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from trajmake.errors import ConfigError
from trajmake.live import run_page
from trajmake.live.changes import changes, compact
from trajmake.live.reader import Reader
from trajmake.pages import asset, page

_SHARE = 25  # a look at a huge session costs more than its interval: it is slept this many times over
_ALIVE = 15.0  # seconds after which a viewer that has nothing to hear is told so: it may be gone
_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(reader: Reader, host: str, port: int, interval: float, announce: Callable[[str], None]) -> None:
    """Serve a session until the task is cancelled.

    Args:
        reader: Looks at the session; one for all viewers.
        host: Address to listen at.
        port: 0 for any that is free.
        interval: Seconds between two looks.
        announce: Told the address to open, token and all.

    Raises:
        ConfigError: the address cannot be had.
    """
    view = _View(reader, interval, host, secrets.token_urlsafe(32))
    await view.look()
    runner = web.AppRunner(view.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    poller = asyncio.create_task(view.poll())
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            said = error.strerror or str(error)
            raise ConfigError(f"Cannot listen at {host}:{port}: {said}.", "Choose another --port or --host.") from error
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        announce(f"http://{shown}:{runner.addresses[0][1]}/{view.token}/")
        await poller
    finally:
        poller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await poller
        await runner.cleanup()


class _View:
    def __init__(self, reader: Reader, interval: float, host: str, token: str) -> None:
        self.token = token
        self._reader, self._interval = reader, interval
        self._names = {"localhost", host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
        self._compact: dict[str, Any] = {}
        self._news = asyncio.Condition()
        self._viewers = 0
        self._over = False

    def application(self) -> web.Application:
        made = web.Application(middlewares=[self._guard])
        made.on_shutdown.append(self._end)
        made.router.add_get("/{token}/", self._index)
        made.router.add_get("/{token}/index.html", self._index)
        made.router.add_get("/{token}/events", self._events)
        made.router.add_get("/{token}/{model}/{instance}.html", self._run)
        made.router.add_get("/{token}/{model}/{instance}.events", self._run_events)
        return made

    async def _end(self, _: web.Application) -> None:
        """Let the viewers' requests end, which would wait for news for ever."""
        async with self._news:
            self._over = True
            self._news.notify_all()

    async def look(self) -> float:
        """Look at the session, for all viewers; what that cost, in seconds of processor time."""
        found, cost = await asyncio.to_thread(self._read)
        async with self._news:
            self._compact = found
            self._news.notify_all()
        return cost

    def _read(self) -> tuple[dict[str, Any], float]:
        began = time.thread_time()
        return compact(self._reader.picture()), time.thread_time() - began

    async def poll(self) -> None:
        """Look again and again, while anybody wants to know."""
        while True:
            cost = await self.look() if self._viewers else 0.0
            await asyncio.sleep(max(self._interval, _SHARE * cost))

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Names that resolve to this address are not enough (DNS rebinding), and no token is nobody."""
        if request.path == "/favicon.ico":  # browsers ask for it unasked
            return web.Response(status=204)
        if not self._is_ours(request.host):
            raise web.HTTPForbidden(text="Not by this name.\n", headers=_HEADERS)
        given = request.match_info.get("token", "")
        if not hmac.compare_digest(given.encode(errors="replace"), self.token.encode()):
            text = "The address needs the token that `trajmake serve` printed.\n"
            raise web.HTTPForbidden(text=text, headers=_HEADERS)
        try:
            return await handler(request)
        except ConnectionResetError:  # a viewer has gone
            return web.Response()
        except web.HTTPException as error:
            error.headers.update(_HEADERS)
            raise

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header is an address as such, or a name of this host: no page elsewhere has such an origin."""
        name = re.sub(r":\d+$", "", host).strip("[]").lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True

    async def _index(self, request: web.Request) -> web.StreamResponse:
        made = page(
            "live.html.j2",
            styles=[asset("live.css")],
            scripts=[asset("live.js")],
            policy={"connect-src": "'self'"},
            session=self._reader.session,
        )
        return _html(made)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """All of the picture first, then what changes in it."""
        response = await _stream(request)
        before: dict[str, Any] = {}
        self._viewers += 1
        try:
            while not self._over:
                now = self._compact
                if now and now is not before and (news := changes(before, now)):
                    await _tell(response, news)
                before = now
                if not await self._has_news(now):
                    await response.write(b": still here\n\n")
        finally:
            self._viewers -= 1
        return response

    async def _has_news(self, known: dict[str, Any]) -> bool:
        """Wait for a picture other than this one, or the end, but not too long; whether it came."""
        with contextlib.suppress(TimeoutError):
            # In this task: a condition whose waiting is cancelled in another one cannot be left.
            async with self._news, asyncio.timeout(_ALIVE):
                return await self._news.wait_for(lambda: self._over or self._compact is not known)
        return False

    async def _run(self, request: web.Request) -> web.StreamResponse:
        model, instance = self._names_of(request)
        root, session = self._reader.outputs.folder, self._reader.session
        return _html(await asyncio.to_thread(run_page.render, root, session, model, instance))

    async def _run_events(self, request: web.Request) -> web.StreamResponse:
        """A word whenever the files of a run have changed; the page then fetches itself anew."""
        model, instance = self._names_of(request)
        response = await _stream(request)
        before: tuple[int, ...] | None = None
        while not self._over:
            root, session = self._reader.outputs.folder, self._reader.session
            now = await asyncio.to_thread(run_page.version, root, session, model, instance)
            if now != before:
                await _tell(response, {"version": "-".join(map(str, now))})
                before = now
            else:
                await response.write(b": still here\n\n")
            await asyncio.sleep(self._interval)
        return response

    def _names_of(self, request: web.Request) -> tuple[str, str]:
        """Model and safe name of the instance.

        Raises:
            web.HTTPNotFound: there is no such run.
        """
        run = request.match_info["model"], request.match_info["instance"]
        if not self._reader.knows(run):
            raise web.HTTPNotFound(text="There is no such run.\n", headers=_HEADERS)
        return run


def _html(made: str) -> web.Response:
    """A page; the header has the policy that stands in it, which no element of it can come before."""
    stated = _POLICY.search(made)
    policy = html.unescape(stated.group(1)) if stated else "default-src 'none'"
    headers = _HEADERS | {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'"}
    return web.Response(body=made.encode(errors="replace"), content_type="text/html", charset="utf-8", headers=headers)


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


async def _tell(response: web.StreamResponse, news: dict[str, Any]) -> None:
    await response.write(f"data: {json.dumps(news)}\n\n".encode())

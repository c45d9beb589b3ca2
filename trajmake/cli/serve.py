"""``trajmake serve``: a session while it runs, in the browser."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from typing import Annotated

import typer

from trajmake.cli import screen


def serve(
    session: Annotated[str, typer.Option("--session-id", "--session", help="The session; the last driven.")] = "latest",
    host: Annotated[str, typer.Option(help="Address to listen at; another one than this lets others look.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
    configfile: screen.Config = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Show a session in the browser, live: what `trajmake watch` shows, and behind each cell the run's every step.

    Prints the address, which holds a token: who has the address may look. Only files are read, nothing can be changed,
    and no other host is asked for anything. Ctrl-C ends it.
    """
    from trajmake.live import server
    from trajmake.live.reader import Reader

    outputs = screen.outputs(configfile)
    name = outputs.session(session)

    def announce(address: str) -> None:
        typer.echo(json.dumps({"session": name, "url": address}) if as_json else f"Session {name}: {address}")
        if not _is_loopback(host):
            typer.echo("Warning: other hosts can reach this, and nothing is encrypted on the way.", err=True)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve(Reader(outputs, name), host, port, interval, announce))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

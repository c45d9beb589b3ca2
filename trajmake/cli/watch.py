"""``trajmake watch``: a session while it runs, in the terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from trajmake.cli import screen

if TYPE_CHECKING:
    from trajmake.live.picture import Picture
    from trajmake.live.reader import Reader

_SHARE = 25  # a look at a huge session costs more than its interval: it is slept this many times over


def watch(
    session: Annotated[str, typer.Option("--session-id", "--session", help="The session; the last driven.")] = "latest",
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
    configfile: screen.Config = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Watch a session: a cell for each model and instance, money, rate, time left, what runs and its last command.

    Only files are read, so any number may watch. In a terminal the view is renewed in its place; else there is a line
    for each run that ends and for each change, with --json an object per change. It ends with the session: with
    exit code 0 when that is complete, 1 when runs met faults or were left.
    """
    from trajmake.live.reader import Reader

    outputs = screen.outputs(configfile)
    reader = Reader(outputs, outputs.session(session))
    try:
        if as_json:
            last = _json(reader, interval, once)
        elif sys.stdout.isatty() and not once:
            last = _terminal(reader, interval)
        else:
            last = _lines(reader, interval, once)
    except KeyboardInterrupt:
        return
    if not once and last.phase != "complete":
        raise typer.Exit(1)


def _terminal(reader: Reader, interval: float) -> Picture:
    """In its place until the end; what was seen last stays."""
    from rich.console import Console
    from rich.live import Live

    from trajmake.live.terminal import view

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for picture in _pictures(reader, interval):
            live.update(view(picture, console.width, console.height), refresh=True)
    console.print(view(picture, console.width, 10_000))
    return picture


def _lines(reader: Reader, interval: float, once: bool) -> Picture:
    from trajmake.live import plain

    if once:
        picture = reader.picture()
        typer.echo(plain.page(picture), nl=False)
        return picture
    before = None
    for picture in _pictures(reader, interval):
        for line in plain.changes(before, picture):
            typer.echo(line)
        before = picture
    return picture


def _json(reader: Reader, interval: float, once: bool) -> Picture:
    before = ""
    for picture in _pictures(reader, interval):
        shown = picture.as_json()
        now = json.dumps({key: shown[key] for key in shown if key not in ("at", "runs_per_hour", "seconds_left")})
        if now != before:
            typer.echo(json.dumps(shown))
            before = now
        if once:
            break
    return picture


def _pictures(reader: Reader, interval: float) -> Iterator[Picture]:
    """One after the other, until the session is over."""
    while True:
        began = time.thread_time()
        picture = reader.picture()
        yield picture
        if not picture.driver:
            return
        time.sleep(max(interval, _SHARE * (time.thread_time() - began)))

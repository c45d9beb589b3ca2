"""``trajmake clean``: what killed runs left on this host; and old sessions, after a question."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trajmake.cli import screen
from trajmake.errors import ConfigError

if TYPE_CHECKING:
    from trajmake.sessions.cleaning import Session

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


def clean(
    older_than: Annotated[str, typer.Option(help="Sessions unused for so long: 90m, 12h, 7d, 2w.")] = "",
    session: Annotated[str, typer.Option(help="One session; with --older-than only if it is as old.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    configfile: screen.Config = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Remove what killed runs left on this host: containers, temporary folders, leases of images.

    With --older-than or --session old sessions too, for good: trajectories, results, logs. What somebody works
    on is never touched. Images and bundles stay; see `trajmake images prune`.
    """
    from trajmake import leftovers

    gone: list[Session] = []
    if older_than or session:
        gone = _sessions(screen.outputs(configfile).folder, older_than, session, yes, quiet=as_json)
    removed = leftovers.remove()
    if as_json:
        sessions = [{"id": one.name, "bytes": one.bytes, "cost_usd": one.usd} for one in gone]
        typer.echo(json.dumps({"sessions": sessions, "leftovers": [str(one) for one in removed]}, indent=2))
        return
    for one in removed:
        typer.echo(one)
    typer.echo(f"{len(removed)} leftovers of killed runs removed")


def _sessions(output_dir: Path, older_than: str, session: str, yes: bool, *, quiet: bool) -> list[Session]:
    """Those that were removed; with ``quiet`` what is said goes to standard error."""
    from trajmake.sessions import cleaning

    oldest = time.time() - _seconds(older_than) if older_than else time.time()
    known = [cleaning.look(output_dir, name) for name in ([session] if session else cleaning.names(output_dir))]
    chosen = []
    for one in known:
        if one.last_used > oldest and older_than:
            continue
        if (who := cleaning.user(output_dir, one)) and not session:
            typer.echo(f"{one.name} stays: it {who}", err=True)
            continue
        chosen.append(one)
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.last_used))
        typer.echo(
            f"{one.name}: last used {used}, {one.bytes / 1e9:.3f} GB, {one.trajectories} trajectories, "
            f"{one.usd:.2f} USD spent",
            err=quiet,
        )
    if not chosen:
        typer.echo("Nothing to remove.", err=quiet)
        return []
    number = f"{len(chosen)} session{'s' * (len(chosen) > 1)}"
    if not yes and not typer.confirm(f"Remove {number} from {output_dir} for good?", err=True):
        raise typer.Exit(1)
    for one in chosen:
        cleaning.remove(output_dir, one)
    typer.echo(f"{number} removed, {sum(one.bytes for one in chosen) / 1e9:.3f} GB freed", err=quiet)
    return chosen


def _seconds(age: str) -> int:
    parts = re.fullmatch(r"([0-9]+)([mhdw])", age)
    if not parts:
        raise ConfigError(f"--older-than {age} is no age.", "Write a number and m, h, d or w: 7d.")
    return int(parts[1]) * _SECONDS[parts[2]]

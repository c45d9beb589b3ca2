"""``trajmake push`` and ``trajmake pull``: a session's copy in S3."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from trajmake.cli import screen

Session = Annotated[str, typer.Option("--session-id", "--session", help="The session; default: the configuration's.")]
Uri = Annotated[str, typer.Option("--uri", help="s3://bucket/prefix, instead of the configuration's `results.uri`.")]
Folder = Annotated[str, typer.Option("--output-dir", help="Instead of the configuration's `output_dir`.")]


def push(
    session: Session = "",
    uri: Uri = "",
    output_dir: Folder = "",
    configfile: screen.Config = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Copy a session to S3, sending only what changed. A run does so at its end where `results.uri` is set."""
    _move("push", session, uri, output_dir, configfile, as_json)


def pull(
    session: Session = "",
    uri: Uri = "",
    output_dir: Folder = "",
    configfile: screen.Config = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Bring a session's copy back from S3, to read it here or to go on with it."""
    _move("pull", session, uri, output_dir, configfile, as_json)


def _move(which: str, session: str, uri: str, output_dir: str, configfile: Path, as_json: bool) -> None:
    from trajmake import settings
    from trajmake.sessions import mirror

    options = settings.from_file(configfile)
    wanted = options.results
    if uri:
        wanted = wanted.model_copy(update={"uri": uri})
    work = mirror.push if which == "push" else mirror.pull
    name = session or options.session
    done = work(Path(output_dir or options.output_dir), name, wanted)
    if as_json:
        typer.echo(json.dumps({"session": name, "uri": wanted.uri, **dataclasses.asdict(done)}))
    else:
        typer.echo(f"Session {name}: {done.moved} of {done.files} files moved, {done.bytes / 1e6:.1f} MB.")
    if not done.whole:
        print("Warning: the last push to there was interrupted; some files may be missing.", file=sys.stderr)

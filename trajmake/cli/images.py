"""``trajmake images list | prune``: what this project loaded into the engine, and freeing it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from trajmake.cli import screen

if TYPE_CHECKING:
    from trajmake.engines.base import Engine
    from trajmake.images.inventory import Entry

app = typer.Typer(help="Images that Trajmake loaded: see them, free them.", no_args_is_help=True)

_Config = Annotated[Path, typer.Option("--configfile", help="The session's configuration: it names engine and store.")]
_Engine = Annotated[
    Optional[str],  # noqa: UP045 - typer reads the annotation at run time
    typer.Option(help="docker, podman, namespace, apptainer or auto, whatever the configuration says."),
]


@app.command("list")
def list_(configfile: _Config = screen.DEFAULT, engine: _Engine = None, as_json: screen.Json = False) -> None:
    """Show the images that Trajmake loaded, the longest unused first; others are not its affair."""
    from trajmake.images import inventory

    chosen = _engine(configfile, engine)
    found = inventory.entries(chosen)
    if as_json:
        typer.echo(json.dumps([_plain(entry) for entry in found], indent=2))
        return
    _show(chosen.name, found)


@app.command("prune")
def prune(
    configfile: _Config = screen.DEFAULT,
    engine: _Engine = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: screen.Json = False,
) -> None:
    """Remove the images that Trajmake loaded and nobody uses. The next run that needs one loads it again."""
    from trajmake.images import inventory

    chosen = _engine(configfile, engine)
    idle = [entry for entry in inventory.entries(chosen) if not entry.user]
    size = sum(entry.image.size for entry in idle)
    question = f"Remove {len(idle)} images, {size / 1e9:.1f} GB, from {chosen.name}?"
    if idle and not yes and not typer.confirm(question, err=True):
        raise typer.Exit(1)
    done = list(inventory.prune(chosen))
    removed = [image for image, why in done if not why]
    if as_json:
        record = {
            "removed": [image.id for image in removed],
            "freed": sum(image.size for image in removed),
            "kept": {image.id: why for image, why in done if why},
        }
        typer.echo(json.dumps(record, indent=2))
        return
    for image, why in done:
        if why:
            typer.echo(f"{image.id[7:19]} stays: it {why}")
    typer.echo(f"{len(removed)} images removed, {sum(image.size for image in removed) / 1e9:.1f} GB freed")


def _engine(configfile: Path, name: str | None) -> Engine:
    from trajmake import engines, settings

    options = settings.from_file(configfile)
    return engines.configured(options.model_copy(update={"engine": name}) if name else options)


def _plain(entry: Entry) -> dict[str, object]:
    image = entry.image
    return {
        "id": image.id,
        "tags": list(image.tags),
        "size": image.size,
        "last_used": entry.last_used or None,
        "used_by": entry.user,
    }


def _show(engine: str, found: list[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    size = sum(entry.image.size for entry in found)
    title = f"{engine}: {len(found)} images that Trajmake loaded, {size / 1e9:.1f} GB"
    table = Table("id", "names", "GB", "last used", "used by", title=title, title_justify="left")
    table.columns[2].justify = "right"
    for entry in found:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.last_used)) if entry.last_used else ""
        names = Text("\n".join(entry.image.tags))
        table.add_row(entry.image.id[7:19], names, f"{entry.image.size / 1e9:.2f}", used, Text(entry.user))
    Console(width=None if sys.stdout.isatty() else 160).print(table)

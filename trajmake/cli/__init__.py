"""The command line ``trajmake``: reads what lies on disk; jobs are Snakemake's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from trajmake import __version__
from trajmake.cli import (
    analyze,
    check_host,
    clean,
    compare,
    dataset,
    export,
    grade,
    images,
    mirror,
    retry,
    screen,
    serve,
    sessions,
    show,
    watch,
)
from trajmake.errors import reported

app = typer.Typer(help="Make for agent trajectories.", no_args_is_help=True, add_completion=False)
config_app = typer.Typer(help="The configuration: check it, write what is derived from it.", no_args_is_help=True)
demo_app = typer.Typer(help="The demo's data: real bugs, built on this machine.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(demo_app, name="demo")
app.add_typer(dataset.app, name="dataset")
app.add_typer(images.app, name="images")
app.command("create-subset")(dataset.create_subset)
app.command("grade")(grade.grade)
app.command("export")(export.export)
app.command("push")(mirror.push)
app.command("pull")(mirror.pull)
app.command("check-host")(check_host.check_host)
app.command("clean")(clean.clean)
app.command("list-sessions")(sessions.list_sessions)
app.command("analyze")(analyze.analyze)
app.command("show")(show.show)
app.command("watch")(watch.watch)
app.command("serve")(serve.serve)
app.command("compare")(compare.compare)
app.command("retry", context_settings={"allow_extra_args": True})(retry.retry)


def main() -> None:
    """Entry point: a fault ends in its message and its exit code, not in a traceback."""
    with reported():
        app()


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"trajmake {__version__}")
        raise typer.Exit


@config_app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="Configuration file.")] = screen.DEFAULT, as_json: screen.Json = False
) -> None:
    """Say whether a configuration file is right, and every problem if not."""
    from trajmake import settings

    options = settings.from_file(file)
    if as_json:
        typer.echo(options.model_dump_json(indent=2))
        return
    typer.echo(f"{file}: session {options.session}, models {', '.join(options.models)}, dataset {options.dataset}")


@config_app.command("render")
def render(folder: Annotated[Path, typer.Option(help="The project's folder.")] = Path()) -> None:
    """Write config/schema.json and config/README.md from the settings' description."""
    from trajmake import files
    from trajmake.settings import render as rendering

    for name, text in ((rendering.SCHEMA, rendering.schema()), (rendering.TABLE, rendering.table())):
        files.write_text(folder / name, text)
        typer.echo(f"wrote {folder / name}")


@demo_app.command("prepare")
def prepare(
    destination: Annotated[Path, typer.Option(help="Folder for instances.jsonl and images/.")] = Path("demo/data"),
    engine: Annotated[str, typer.Option(help="docker, podman, namespace, apptainer or auto.")] = "auto",
    base_image: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="A Docker image to build on, instead of this machine's own interpreter and shell."),
    ] = None,
) -> None:
    """Build the demo's instances: repositories, patches, tests, images."""
    from trajmake import demo

    for path in demo.prepare(destination, engine, base_image):
        typer.echo(path)

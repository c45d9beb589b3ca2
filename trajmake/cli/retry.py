"""``trajmake retry``: the command of Snakemake that makes chosen runs again."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from trajmake.cli import screen

if TYPE_CHECKING:
    from trajmake.retry import Retry
    from trajmake.settings import Settings

_SHOWN = ("model", "instance_id", "status", "resolved", "exit_status", "fault_reason", "unfinished")


def retry(
    context: typer.Context,
    session: Annotated[str, typer.Option(help="The session; the configuration's when not given.")] = "",
    status: Annotated[
        str, typer.Option(help="Statuses, with commas: FAILED, TIMEOUT, STALE, PENDING, IN_PROGRESS, SUCCESS, MISSING.")
    ] = "",
    models: Annotated[str, typer.Option(help="Models, with commas; all of the configuration when not given.")] = "",
    unresolved: Annotated[
        bool, typer.Option("--unresolved", help="Only runs that are graded and not resolved.")
    ] = False,
    where: Annotated[
        str, typer.Option(help="A condition on the columns of results.csv, as pandas' query has it.")
    ] = "",
    create_dataset: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Write the rows of the instances chosen as canonical JSONL."),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write the command to this file, a shell script, instead of printing it."),
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Start it.")] = False,
    as_json: screen.Json = False,
    configfile: Annotated[Path, typer.Option(help="The session's configuration.")] = screen.DEFAULT,
) -> None:
    """Print the snakemake command that makes exactly the chosen runs again, each of its model on its instance.

    Without --status, --unresolved and --where: the runs with a fault or without a verdict. What stands after
    `--` is given to snakemake.
    """
    from trajmake import retry as retrying
    from trajmake.plan import Plan
    from trajmake.sessions import quality, survey

    options, given = _configured(configfile, session, _names(models))
    plan = Plan(options)
    runs = [(model, instance_id) for model in options.models for instance_id in plan.instances]
    states = quality.marked(survey.survey(options.output_dir, options.session, runs), options.quality)
    chosen = retrying.choose(states, statuses=_names(status), models=_names(models), unresolved=unresolved, where=where)
    made = retrying.make(plan, states, chosen)
    words = retrying.command(made, options, given, context.args) if chosen else []
    _say(made, len(states), options)
    if create_dataset and chosen:
        _write_rows(made, options, create_dataset)
    if as_json:
        shown = [{key: state.get(key) for key in _SHOWN} for state in chosen]
        typer.echo(json.dumps({"session": options.session, "runs": shown, "others": made.others, "command": words}))
    elif words and output is None:
        typer.echo(shlex.join(words))
    if words and output is not None:
        from trajmake import files

        files.write_text(output, f"#!/bin/sh\n{shlex.join(words)}\n")
        typer.echo(f"{output}: sh {output}", err=True)
    if words and run:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", *words])


def _configured(configfile: Path, session: str, models: list[str]) -> tuple[Settings, list[str]]:
    """The settings of the session meant, and the arguments that give them to snakemake."""
    from trajmake import settings

    options = settings.from_file(configfile)
    config = []
    if session and session != options.session:
        config.append(f"session={session}")
    more = [name for name in dict.fromkeys(models) if name not in options.models]
    if more:
        config.append(f"models=[{','.join([*options.models, *more])}]")
    known = settings.load(
        options.model_dump() | {"session": session or options.session, "models": [*options.models, *more]}
    )
    given = [] if configfile == Path("config/config.yaml") else ["--configfile", str(configfile)]
    return known, [*given, *(["--config", *config] if config else [])]


def _say(made: Retry, total: int, options: Settings) -> None:
    counts = Counter(f"{state['status']}" for state in made.chosen)
    said = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    typer.echo(
        f"Session {options.session}: {len(made.chosen)} of {total} runs chosen{': ' if said else ''}{said}", err=True
    )
    if made.forced:
        typer.echo(f"{len(made.forced)} finished trajectories are made anew", err=True)
    if made.chosen and made.others:
        typer.echo(
            f"{made.others} other runs are unfinished or met a fault: this command leaves them and the summaries "
            "alone; plain `snakemake` makes them too",
            err=True,
        )


def _write_rows(made: Retry, options: Settings, path: Path) -> None:
    from trajmake.datasets import writing

    ids = {state["instance_id"] for state in made.chosen}
    count = writing.create_subset(Path(options.dataset), path, instance_ids=[ids])
    typer.echo(f"{path}: {count} rows", err=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]

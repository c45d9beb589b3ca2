"""Runs to be made again: which ones, and the command of Snakemake that makes exactly them.

What has no verdict, or met a fault, is repeated by Snakemake anyway; a finished trajectory is bought again only by
``--forcerun`` and its name. Other runs that Snakemake would repeat too are left out by asking for files by name.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajmake import files
from trajmake.errors import ConfigError
from trajmake.outcomes import Status
from trajmake.plan import Plan
from trajmake.reports.tables import COLUMNS
from trajmake.sessions import layout, survey

if TYPE_CHECKING:
    import pandas as pd

    from trajmake.settings import Settings

State = Mapping[str, Any]
_LONGEST = 32_000  # characters of a command that still is one; Linux takes about two million


@dataclass(frozen=True)
class Retry:
    """What is to be made again.

    Attributes:
        chosen: The runs, as :func:`trajmake.sessions.survey.survey` shows them.
        forced: Trajectories that are finished and asked for again.
        targets: The files to ask for; none where the whole session may be asked for.
        others: How many other runs Snakemake would repeat, were it asked for the whole session.
    """

    chosen: list[State]
    forced: list[str]
    targets: list[str]
    others: int


def choose(
    states: Sequence[State],
    *,
    statuses: Sequence[str] = (),
    models: Sequence[str] = (),
    unresolved: bool = False,
    where: str = "",
) -> list[State]:
    """The runs that meet every condition given; without any, those with a fault or without a verdict.

    Args:
        states: All runs.
        statuses: Names of statuses, as shown.
        models: Names of models.
        unresolved: Graded and not resolved.
        where: An expression over the columns of ``results.csv``, as ``pandas.DataFrame.query`` takes it.

    Raises:
        ConfigError: an unknown status, or an expression that is none.
    """
    if unknown := [name for name in statuses if name not in survey.SHOWN]:
        raise ConfigError(f"There is no status {', '.join(unknown)}.", f"Known: {', '.join(survey.SHOWN)}.")
    chosen = [state for state, met in zip(states, _where(states, where), strict=True) if met] if where else [*states]
    if models:
        chosen = [state for state in chosen if state["model"] in models]
    if statuses:
        chosen = [state for state in chosen if state["status"] in statuses]
    if unresolved:
        chosen = [state for state in chosen if state["resolved"] is False]
    if not (statuses or unresolved or where):
        chosen = [state for state in chosen if _repeats_anyway(state)]
    return chosen


def make(plan: Plan, states: Sequence[State], chosen: Sequence[State]) -> Retry:
    """What it takes to make the runs ``chosen`` out of ``states`` again, and no others."""
    keys = {(state["model"], state["instance_id"]) for state in chosen}
    others = sum(
        (state["model"], state["instance_id"]) not in keys
        and (_repeats_anyway(state) or plan.due(state["model"], layout.safe_name(state["instance_id"])))
        for state in states
    )
    forced = [
        f"{folder}/output.jsonl"
        for state in chosen
        if _finished(state, folder := _place(plan.settings, layout.INSTANCE, state))
    ]
    targets = [f"{_place(plan.settings, layout.EVALUATION, state)}/outcome.json" for state in chosen]
    return Retry(list(chosen), forced, targets if others else [], others)


def command(retry: Retry, options: Settings, given: Sequence[str], extra: Sequence[str]) -> list[str]:
    """Snakemake's command line. Where names are too many for one, they go into two files of the session's results.

    Args:
        retry: What is to be made again.
        options: The session's settings.
        given: The first arguments, that name the configuration.
        extra: The last arguments, as the user gave them.

    Raises:
        ConfigError: names are too many, and ``extra`` has a profile, in whose place the file stands.
    """
    # Not at the end: `--forcerun` takes every word up to the next option.
    forced = ["--forcerun", *retry.forced] if retry.forced else []
    short = ["snakemake", *retry.targets, *forced, *given, *extra]
    if len(shlex.join(short)) <= _LONGEST:
        return short
    if any(word.split("=")[0] == "--profile" for word in extra):
        raise ConfigError(
            f"{len(retry.chosen)} runs are too many for a command line; their names need `--profile` for themselves.",
            "Set `mode` in the configuration instead, or choose fewer.",
        )
    profile = Path(_place(options, layout.RETRY, {})) / "profile.yaml"
    import yaml

    files.write_text(profile, yaml.safe_dump({"forcerun": retry.forced} if retry.forced else {}))
    files.write_text(profile.with_name("targets.txt"), "".join(f"{name}\n" for name in retry.targets))
    return ["snakemake", *(["retry"] if retry.targets else []), "--profile", str(profile.parent), *given, *extra]


def targets(output_dir: str, session: str) -> list[str]:
    """What rule ``retry`` asks for: the names that :func:`command` wrote.

    Raises:
        ConfigError: it wrote none.
    """
    path = Path(output_dir) / layout.RETRY.format(session=session) / "targets.txt"
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise ConfigError(f"There is no {path}.", "`trajmake retry` writes it and prints the command.") from error


def _place(options: Settings, pattern: str, state: State) -> str:
    names = {"model": state.get("model", ""), "instance_id": layout.safe_name(state.get("instance_id") or "-")}
    return f"{options.output_dir}/{pattern.format(session=options.session, **names)}"


def _repeats_anyway(state: State) -> bool:
    return "unfinished" in state or state["status"] == Status.FAILED


def _finished(state: State, folder: str) -> bool:
    """Whether Snakemake would not make the trajectory again of itself, or not anew."""
    if "unfinished" in state:
        return False
    if state["status"] != Status.FAILED:
        return True
    try:
        return bool(files.read_json(f"{folder}/metadata.json")["details"].get("stuck"))
    except (OSError, ValueError, KeyError):
        return False


def _where(states: Sequence[State], expression: str) -> Sequence[bool]:
    import pandas as pd

    frame = _frame(states)
    try:
        met = frame.eval(expression, engine="python", local_dict={}, global_dict={})
        if not isinstance(met, pd.Series) or met.dtype not in ("bool", "boolean"):
            raise TypeError("it is no condition")
    except Exception as error:  # pandas passes on whatever the expression raises
        raise ConfigError(
            f"--where {expression!r} cannot be used: {type(error).__name__}: {error}",
            f"Write a condition as pandas' query has it, e.g. \"Cost_USD > 1 and Status == 'SUCCESS'\". "
            f"Columns: {', '.join(COLUMNS)}.",
        ) from error
    return [bool(value) for value in met.fillna(False)]


def _frame(states: Sequence[State]) -> pd.DataFrame:
    import pandas as pd

    rows = [{column: state[key] for column, key in COLUMNS.items()} for state in states]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["Flags"] = [" ".join(flag["kind"] for flag in flags or ()) for flags in frame["Flags"]]
    frame["Resolved"] = frame["Resolved"].astype("boolean")
    return frame.convert_dtypes()

"""``trajmake show``: one run, as far as it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trajmake.cli import screen

if TYPE_CHECKING:
    from rich.text import Text

_MOST_LINES = 12  # of a step's output
_MOST_TESTS = 20
_FACTS = {
    "status": "status",
    "verdict": "verdict",
    "message": "because",
    "unfinished": "unfinished",
    "exit_status": "agent's end",
    "seconds": "seconds",
    "steps": "steps",
    "cost_usd": "USD",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
    "patch_bytes": "patch, bytes",
    "fault_reason": "fault",
    "fault_stage": "in stage",
    "fault_message": "it said",
    "fault_hint": "hint",
}


def show(
    model: Annotated[str, typer.Argument(help="The model's name in the catalog.")],
    instance: Annotated[str, typer.Argument(help="The instance's id.")],
    session: Annotated[str, typer.Option("--session", "--session-id", help="The session; the last driven.")] = "latest",
    last: Annotated[int, typer.Option("--steps", min=0, help="How many steps from the end.")] = 5,
    configfile: screen.Config = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Show one run: its outcome, its patch, the required tests that fail, its last steps, where its logs are.

    With --json outputs of steps and lists of tests are whole.
    """
    from trajmake.reports import one_run

    outputs = screen.outputs(configfile)
    name = outputs.session(session)
    run = one_run.read(outputs, name, model, instance, last=last)
    if as_json:
        typer.echo(json.dumps({"session": name, "model": model, "instance_id": instance, **run}, indent=2))
        return
    _facts(f"{model} on {instance}, session {name}", run["outcome"])
    _patch(run["patch"])
    _tests(run["failing"])
    for step in run["steps"]:
        _step(step)
    screen.show(_head("Files"), *(_text(path) for path in run["files"]))


def _facts(title: str, outcome: Mapping[str, Any]) -> None:
    from rich.table import Table

    screen.show(_text(title, "bold"))
    table = Table(show_header=False)
    for key, label in _FACTS.items():
        if (value := outcome.get(key)) not in (None, ""):
            table.add_row(label, _text(f"{value:,}" if isinstance(value, int | float) else value))
    for kind in ("fail_to_pass", "pass_to_pass"):
        if total := outcome.get(f"{kind}_total"):
            table.add_row(kind.upper(), _text(f"{outcome[f'{kind}_passed']} of {total} pass"))
    for label, notes in (("warning", outcome["warnings"]), ("flaky", outcome["flaky"])):
        for note in notes:
            table.add_row(label, _text(note))
    for flag in outcome["flags"]:
        table.add_row("flag", _text(f"{flag['kind']} ({flag['count']}): {'; '.join(flag['evidence'])}"))
    screen.show(table)


def _patch(patch: str) -> None:
    if not patch:
        screen.show(_text("No patch."))
        return
    styles = {"+": "green", "-": "red", "@": "cyan"}
    lines = patch.rstrip("\n").split("\n")
    screen.show(_head("Patch"), *(_text(line, styles.get(line[:1], "")) for line in lines))


def _tests(failing: Mapping[str, Sequence[str]]) -> None:
    for kind, names in failing.items():
        if names:
            shown = [_text(f"  {name}") for name in names[:_MOST_TESTS]]
            more = [_text(f"  and {len(names) - _MOST_TESTS} more (--json)")] if len(names) > _MOST_TESTS else []
            screen.show(_head(f"{kind}: {len(names)} fail"), *shown, *more)


def _step(step: Mapping[str, str]) -> None:
    screen.show(_head(f"Step {step['number']}: {step['action']}"))
    if thought := step["thought"].strip():
        screen.show(_text(thought, "italic"))
    if step["command"]:
        screen.show(_text(f"$ {step['command'].strip()}", "bold"))
    lines = step["output"].rstrip().split("\n") if step["output"].strip() else []
    if len(lines) > _MOST_LINES:
        screen.show(_text(f"({len(lines) - _MOST_LINES} lines before, --json has them)", "dim"))
    if lines:
        screen.show(_text("\n".join(lines[-_MOST_LINES:])))


def _head(words: str) -> Text:
    return _text(f"\n{words}", "bold underline")


def _text(words: Any, style: str = "") -> Text:
    return screen.text(words, style, lines=True)

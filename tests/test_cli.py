"""The command line in one style: what prints results prints JSON too, and every option says what it is for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from made_sessions import Made
from typer.testing import CliRunner

from trajmake.cli import app

WITHOUT_JSON = {"config render", "demo prepare", "grade"}  # the first two print paths; verdicts are JSON lines anyway


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} ")
        else:
            yield f"{prefix}{name}", command


ALL = dict(commands(typer.main.get_command(app)))


def test_there_are_commands():
    assert {"watch", "serve", "analyze", "dataset check", "create-subset"} <= ALL.keys()


@pytest.mark.parametrize("name", ALL)
def test_every_command_is_explained_and_speaks_json(name):
    command = ALL[name]
    options = {word for parameter in command.params for word in parameter.opts}
    assert ("--json" in options) == (name not in WITHOUT_JSON)
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name


def test_exports_are_told_as_json(tmp_path):
    made = Made(tmp_path)
    made.session("x")
    made.run("x", "any", "one")
    output = tmp_path / "preds.json"
    done = made.call("export", "--format", "swebench", "--output", str(output), "--json")
    assert json.loads(done.stdout) == {"rows": {str(output): 1}, "left_out": {}}


def test_what_clean_removes_is_told_as_json(tmp_path):
    made = Made(tmp_path)
    made.session("x", usd=1.5)
    made.run("x", "any", "one")
    done = made.call("clean", "--session", "x", "--yes", "--json")
    told = json.loads(done.stdout)
    assert [(one["id"], one["cost_usd"]) for one in told["sessions"]] == [("x", 1.5)] and "leftovers" in told
    assert not (made.root / "trajectories/x").exists()


def test_the_configuration_as_it_takes_effect(tmp_path):
    made = Made(tmp_path)
    done = CliRunner().invoke(app, ["config", "check", str(made.configfile), "--json"])
    told = json.loads(done.stdout)
    assert told["session"] == "x" and told["limits"]["instance_seconds"] == 7200


def test_a_subset_is_told_as_json(tmp_path):
    rows = Path(tmp_path / "rows.jsonl")
    row = {"instance_id": "a__b-1", "repo": "a/b", "base_commit": "0" * 40, "problem_statement": "p"}
    rows.write_text(json.dumps(row | {"FAIL_TO_PASS": ["t"], "PASS_TO_PASS": [], "patch": "", "test_patch": ""}) + "\n")
    output = tmp_path / "part.jsonl"
    arguments = ["create-subset", "--dataset", str(rows), "--output", str(output), "--repo", "a/b", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert json.loads(done.stdout) == {"output": str(output), "rows": 1}, done.output

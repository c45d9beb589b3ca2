"""`trajmake retry`: exactly the runs chosen, each of its model on its instance, by Snakemake's own command line."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from model_sessions import SUBMIT, Sessions
from project import Plan, Project
from typer.testing import CliRunner

from trajmake import retry
from trajmake.cli import app
from trajmake.errors import ConfigError
from trajmake.sessions import outcome, quality
from trajmake.settings.sections import QualitySettings


@pytest.fixture(scope="module")
def finished_small(tmp_path_factory, store) -> Sessions:
    """Models `served` (solves the first of three instances) and `gold`; the third instance's image is missing."""
    root = tmp_path_factory.mktemp("retry")
    made = Sessions.make(root, store, count=3, provider="scripted", replies=str(root / "replies"))
    (root / "replies").mkdir()
    for row, value in zip(made.rows, (1, 2, 1), strict=True):
        turns = [{"thought": "On.", "commands": [f"echo {value} > value; {SUBMIT}"]}]
        (root / "replies" / f"{row['instance_id']}.yaml").write_text(yaml.safe_dump(turns))
    made.configure(models=["served", "gold"])
    Path(made.rows[2]["image_storage_uri"]).unlink()
    done = made.project.snakemake("-j", "2", "--profile", "hybrid")
    assert done.returncode != 0 and "2 x image_missing" in done.stdout, done.stdout
    return made


@pytest.fixture
def project(finished_small, tmp_path) -> Project:
    return finished_small.project.copy(tmp_path / "copy")


@pytest.fixture
def ids(finished_small) -> list[str]:
    return [row["instance_id"] for row in finished_small.rows]


def asked(project: Project, *arguments: str) -> dict:
    """What the command says as JSON."""
    with contextlib.chdir(project.root):
        done = CliRunner().invoke(app, ["retry", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def planned(project: Project, command: list[str]) -> Plan:
    assert command[0] == "snakemake"
    return project.planned(*command[1:])


def test_without_conditions_what_has_no_verdict(project, ids):
    said = asked(project)
    assert [(run["model"], run["instance_id"], run["fault_reason"]) for run in said["runs"]] == [
        ("served", ids[2], "image_missing"),
        ("gold", ids[2], "image_missing"),
    ]
    assert said["command"] == ["snakemake"]  # which repeats exactly them


def test_a_finished_run_is_forced_and_what_others_failed_is_left_alone(project, ids):
    """`served` did not solve the second instance, `gold` did; both lack the third, which nobody asked for here."""
    said = asked(project, "--unresolved")
    assert [(run["model"], run["instance_id"]) for run in said["runs"]] == [("served", ids[1])]
    assert said["others"] == 2
    plan = planned(project, said["command"])
    assert plan.generated == plan.graded == [("served", ids[1])] and "summarize" not in plan.jobs


def test_a_fault_of_one_model_alone(project, ids):
    said = asked(project, "--status", "FAILED", "--models", "gold")
    plan = planned(project, said["command"])
    assert plan.generated == plan.graded == [("gold", ids[2])] and "--forcerun" not in said["command"]


def test_where_nothing_else_is_due_the_summaries_are_made_too(project, ids):
    project.configure(instances=ids[:2])
    said = asked(project, "--where", "Resolved == False and Steps >= 1 and Model.str.startswith('s')")
    assert said["others"] == 0 and said["command"][:2] == ["snakemake", "--forcerun"]
    plan = planned(project, said["command"])
    assert plan.generated == [("served", ids[1])] and plan.jobs["summarize"] == plan.jobs["verify"] == 1


def test_names_too_many_for_a_command_line_go_into_files(project, ids, monkeypatch):
    monkeypatch.setattr(retry, "_LONGEST", 100)
    for others, instances in (2, ids), (0, ids[:2]):
        project.configure(instances=instances)
        said = asked(project, "--unresolved")
        assert said["others"] == others and len(said["command"]) <= 4
        plan = planned(project, said["command"])
        assert plan.generated == plan.graded == [("served", ids[1])]
        assert ("summarize" in plan.jobs) is (others == 0)
    with contextlib.chdir(project.root):
        done = CliRunner().invoke(app, ["retry", "--unresolved", "--", "--profile", "hybrid"])
    assert isinstance(done.exception, ConfigError) and "too many" in str(done.exception)


def test_another_session_and_configuration_are_named_in_the_command(project):
    (project.root / "config/config.yaml").rename(project.root / "mine.yaml")
    said = asked(project, "--configfile", "mine.yaml", "--session", "other", "--models", "empty", "--", "-j", "3")
    assert [run["status"] for run in said["runs"]] == ["PENDING"] * 3
    end = ["--configfile", "mine.yaml", "--config", "session=other", "models=[served,gold,empty]", "-j", "3"]
    assert said["command"][-len(end) :] == end and len(said["command"]) == 1 + 3 + len(end)


def test_it_runs_what_it_prints_and_writes_the_rows(project, ids):
    """As a user types it: the command into a file, the instances as a dataset, then the run itself."""
    project.configure(instances=ids[:2])
    before = project.outcome("gold", ids[1])
    arguments = ["--unresolved", "--output", "again.sh", "--create-dataset", "rows.jsonl", "--run", "--", "-j", "2"]
    done = subprocess.run(
        [sys.executable, "-c", "from trajmake.cli import main; main()", "retry", *arguments],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and "1 finished trajectories are made anew" in done.stdout, done.stdout
    assert project.outcome("served", ids[1])["started"] > before["ended"]
    assert project.outcome("gold", ids[1]) == before
    (row,) = (project.root / "rows.jsonl").read_text().splitlines()
    assert json.loads(row)["instance_id"] == ids[1]
    script = (project.root / "again.sh").read_text().splitlines()
    assert script[0] == "#!/bin/sh" and shlex.split(script[1])[:2] == ["snakemake", "--forcerun"]


GOOD = {
    "patch_bytes": 500,
    "history_entries": 30,
    "tests_executed": 4,
    "fail_to_pass_total": 1,
    "pass_to_pass_total": 9,
}
DONE = [
    {**outcome.unfinished("s", "a", "2", "SUCCESS", "", ""), "resolved": False, "cost_usd": 2.5, **GOOD},
    {**outcome.unfinished("s", "b", "2", "TIMEOUT", "", ""), "resolved": True, "cost_usd": 0.5},
]
for state in DONE:
    del state["unfinished"]
STATES = quality.marked([outcome.unfinished("s", "a", "1", "STALE", "generate", "gone"), *DONE], QualitySettings())


@pytest.mark.parametrize(
    ("expression", "met"),
    [
        ("Cost_USD > 1", ["2"]),
        ("Resolved", ["2"]),
        ("Status in ['STALE', 'TIMEOUT']", ["1", "2"]),
        ("Cost_USD < 0", []),
        ("not Quality_OK and Model == 'b'", ["2"]),
        ("Quality_OK", ["2"]),
    ],
)
def test_a_condition_on_the_table(expression, met):
    assert [state["instance_id"] for state in retry.choose(STATES, where=expression)] == met


@pytest.mark.parametrize("expression", ["Cost > 1", "Cost_USD >", "Cost_USD + 1", "@exit()", "1"])
def test_what_is_no_condition_is_said_with_the_columns(expression):
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        retry.choose(STATES, where=expression)
    assert "Cost_USD" in caught.value.hint


def test_an_unknown_status_is_said_with_the_known_ones():
    with pytest.raises(ConfigError, match="no status DEAD"):
        retry.choose(STATES, statuses=["DEAD"])

"""A forced rerun that meets a fault keeps the earlier good result, trajectory and verdict."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from model_sessions import SUBMIT, Sessions
from project import Project
from typer.testing import CliRunner

from trajmake import files
from trajmake.cli import app
from trajmake.llm.journal import Journal, attempt
from trajmake.sessions import kept
from trajmake.sessions.faults import Fault
from trajmake.sessions.kept import Kept

TURNS = [f"echo {value} > value" for value in (2, 3)] + [f"echo 1 > value; {SUBMIT}"]


@pytest.fixture(scope="module")
def solved(tmp_path_factory, store) -> Sessions:
    """One instance, solved in three turns."""
    root = tmp_path_factory.mktemp("kept")
    made = Sessions.make(root, store, provider="scripted", replies="replies")
    folder = made.project.root / "replies"
    folder.mkdir()
    turns = [{"thought": "On.", "commands": [command]} for command in TURNS]
    (folder / f"{made.rows[0]['instance_id']}.yaml").write_text(yaml.safe_dump(turns))
    done = made.project.snakemake("-j", "2", "--profile", "hybrid")
    assert done.returncode == 0, done.stdout
    return made


@pytest.fixture
def sessions(solved, tmp_path) -> Sessions:
    return Sessions(solved.project.copy(tmp_path / "project"), solved.rows)


def results(project: Project, folder: Path) -> dict[str, str]:
    """Digests of trajectory, tests, verdict and table."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "llm_completions" not in path.parts]
    paths = [path for path in paths if path.suffix != ".log" and not path.name.startswith(".claim")]
    paths += [project.root / "outputs/results/demo" / name for name in ("results.csv", "served.preds.json")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_forced_run_that_faults_changes_no_result_and_repeats_nothing_by_itself(sessions):
    """The session's money is spent after one answer; the fault is named, and forced again, the rerun goes on."""
    project, folder = sessions.project, sessions.folder("demo")
    name = sessions.rows[0]["instance_id"]
    before, first = results(project, folder), sessions.spent("demo")
    sessions.configure(limits={"session_usd": first.usd + 1e-6})
    target = str((folder / "output.jsonl").relative_to(project.root))
    forced = project.snakemake("-j", "2", "--forcerun", target)
    assert forced.returncode != 0
    assert "1 forced reruns met a fault of the machine; the earlier results stand" in forced.stdout, forced.stdout
    assert f"served/{name}: budget_spent in generate" in forced.stdout
    assert results(project, folder) == before and not (folder / "faults").exists()
    status = (project.root / f"outputs/progress/demo/served_{name}.status").read_text()
    assert status.startswith("SUCCESS|")
    spent = sessions.spent("demo").completions
    assert spent == first.completions + 1

    exported = CliRunner().invoke(
        app,
        ["export", "--format", "messages", "--output-dir", f"{project.root}/outputs", "--output", f"{folder}/m.jsonl"],
    )
    assert exported.exit_code == 0, exported.output  # the journal of the trajectory that stands
    assert len(json.loads((folder / "m.jsonl").read_text())["messages"]) > len(TURNS)
    (folder / "m.jsonl").unlink()

    plan = project.planned()
    assert plan.generated == [] and "run_tests" not in plan.jobs and plan.jobs["verify"] == 1
    plain = project.snakemake("-j", "2")
    assert plain.returncode == 0, plain.stdout
    assert results(project, folder).items() >= before.items()

    sessions.configure(limits={})
    again = project.snakemake("-j", "2", "--forcerun", target)
    assert again.returncode == 0, again.stdout
    assert sessions.spent("demo").completions == spent + len(TURNS) - 1  # its first answer was there
    assert not (folder / ".kept").exists() and project.outcome("served", name)["resolved"]
    assert "replaces" not in attempt(sessions.journal("demo"))


def test_forced_tests_that_fault_keep_the_verdict(sessions):
    """The engine is not there."""
    project, folder = sessions.project, sessions.folder("demo")
    before = results(project, folder)
    project.configure(engine="docker")
    forced = project.snakemake("-j", "2", "--forcerun", "run_tests", DOCKER_HOST="unix:///nowhere.sock")
    assert forced.returncode != 0 and "engine_unavailable in run_tests" in forced.stdout, forced.stdout
    assert results(project, folder) == before and not (folder / ".kept").exists()
    assert project.outcome("served", sessions.rows[0]["instance_id"])["resolved"]
    plan = project.planned()
    assert "run_tests" not in plan.jobs and plan.jobs["verify"] == 1


def test_a_new_row_is_no_earlier_result(sessions):
    """What is kept for another row never comes back."""
    project, folder = sessions.project, sessions.folder("demo")
    rows = project.rows
    rows[0]["problem_statement"] += " Still."
    project.dataset.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (project.root / "replies" / f"{rows[0]['instance_id']}.yaml").unlink()
    target = str((folder / "output.jsonl").relative_to(project.root))
    done = project.snakemake("-j", "2", "--forcerun", target)
    assert done.returncode != 0 and "earlier results stand" not in done.stdout
    assert json.loads((folder / "output.jsonl").read_text())["fault"]


FAULT = Fault("generate", "provider_down", "It is down.", "Wait.", 9, 1)


@pytest.fixture
def run(tmp_path) -> Path:
    """A finished run's folder."""
    folder = tmp_path / "trajectories/s/m/instance_i"
    files.write_json(folder / "metadata.json", {"details": {"exit_status": "submitted", "row_digest": "r"}})
    files.write_text(folder / "output.jsonl", "trajectory")
    tests = folder / "eval_outputs/i"
    files.write_json(tests / "test_run.json", {"fault": None, "made_for": {"row_digest": "r", "evaluation": "e"}})
    for name in ("test_output.txt", "test_output.2.txt", "patch.diff", "eval.sh"):
        files.write_text(tests / name, name)
    return folder


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_kept_results_come_back_as_they_were(tmp_path, run, monkeypatch, links):
    if not links:  # as some network file systems

        def refuse(*_):
            raise OSError("Operation not supported")

        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(files, "_nameless", lambda folder: None)  # they get their names by links
    before = {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    times = {path: (run / path).stat().st_mtime_ns for path in before}
    kept.keep(str(tmp_path), "s", ["generate"], [("m", "i")])
    one = Kept(str(tmp_path), "s", "m", "i")
    for path in before:
        (run / path).unlink()
    assert not one.put_back_trajectory(FAULT, {"row_digest": "other"}) and not one.put_back_trajectory(FAULT, {})
    assert one.put_back_trajectory(FAULT, {"row_digest": "r"}) and one.stands
    assert not one.put_back_tests({"row_digest": "r", "evaluation": "other"})
    assert one.put_back_tests({"row_digest": "r", "evaluation": "e"})
    assert {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert {path: (run / path).stat().st_mtime_ns for path in before} == times
    told = kept.rerun_faults(tmp_path / "results/s/rerun_faults.jsonl")
    assert told == ["m/i: provider_down in generate: It is down.\n    Hint: Wait."]
    kept.keep(str(tmp_path), "s", [], [("m", "i")])
    assert kept.rerun_faults(tmp_path / "results/s/rerun_faults.jsonl") == []


def test_tests_of_another_trajectory_do_not_come_back(tmp_path, run):
    kept.keep(str(tmp_path), "s", [str(run / "output.jsonl")], [("m", "i")])
    files.write_text(run / "output.jsonl", "another")
    one = Kept(str(tmp_path), "s", "m", "i")
    assert not one.stands and not one.put_back_tests({"row_digest": "r", "evaluation": "e"}, FAULT)


@pytest.mark.parametrize("forced", ["grade", "other/file"])
def test_nothing_is_kept_of_what_is_not_made_again(tmp_path, run, forced):
    kept.keep(str(tmp_path), "s", [forced], [("m", "i")])
    assert not (run / ".kept").exists()


def test_faults_are_not_kept(tmp_path, run):
    shutil.rmtree(run / "eval_outputs")
    files.write_json(run / "metadata.json", {"details": {"exit_status": None}})
    kept.keep(str(tmp_path), "s", ["*"], [("m", "i")])
    assert not (run / ".kept").exists()


def test_an_attempt_that_replaces_another_says_so_until_it_has_a_trajectory(tmp_path):
    journal = Journal(tmp_path / "i")
    journal.open({"row_digest": "r"})
    first = attempt(journal.folder)["id"]
    files.write_json(journal.folder / "0001.json", {})
    journal.open({"row_digest": "r"}, renew=first)
    assert attempt(journal.folder)["replaces"] == first and journal.of_trajectory() == tmp_path / "i.1"
    second = attempt(journal.folder)["id"]
    files.write_json(journal.folder / "0001.json", {})
    journal.open({"row_digest": "r"}, renew=second)  # it led to a fault again and again
    assert attempt(journal.folder)["replaces"] == first and journal.of_trajectory() == tmp_path / "i.1"
    journal.conclude()
    assert journal.of_trajectory() == journal.folder

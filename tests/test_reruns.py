"""What repeats what. The dear stage reruns for its row, its model, a fault or on request: nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from project import Project


@pytest.fixture
def done(finished, tmp_path) -> Project:
    """A finished session of our own."""
    return finished.copy(tmp_path / "project")


def nothing(project: Project, *arguments: str) -> bool:
    return "Nothing to be done" in project.planned(*arguments).text


def comment(path: Path) -> None:
    path.write_text(path.read_text() + "\n# a remark\n")


@pytest.mark.parametrize("profile", [[], ["--profile", "hybrid"]], ids=["bare", "hybrid"])
def test_a_comment_in_any_library_file_rule_or_script_repeats_no_generate(done, profile):
    for folder, pattern in (("trajmake", "*.py"), ("workflow", "*.smk"), ("workflow/scripts", "*.py")):
        for path in (done.root / folder).rglob(pattern):
            comment(path)
    comment(done.root / "Snakefile")
    plan = done.planned(*profile)
    assert plan.generated == []
    assert "run_tests" not in plan.jobs and "load_image" not in plan.jobs


def test_changed_grading_code_grades_every_row_again_and_nothing_else(done):
    comment(done.root / "trajmake" / "grading" / "verdict.py")
    plan = done.planned()
    count = 2 * len(done.ids)
    expected = {"grade": count, "summarize_model": 2, "trajectory_pages": 2, "session_page": 1}
    expected |= {"summarize": 1, "verify": 1, "all": 1}
    assert {name: jobs for name, jobs in plan.jobs.items() if name != "gate"} == expected
    result = done.snakemake("-j", "4")
    assert result.returncode == 0, result.stdout
    assert nothing(done)


def test_a_changed_template_makes_the_pages_again_and_nothing_else(done):
    template = done.root / "trajmake" / "pages" / "templates" / "trajectory.html.j2"
    template.write_text(template.read_text().replace("<h2>Patch", "<h2>The patch"))
    plan = done.planned()
    assert plan.jobs == {"trajectory_pages": 2, "session_page": 1, "all": 1}
    result = done.snakemake("-j", "2")
    assert result.returncode == 0, result.stdout
    page = done.root / "outputs/results/demo/html/fixer" / f"{done.ids[0]}.html"
    assert "<h2>The patch" in page.read_text(encoding="utf-8")
    assert nothing(done)


def test_a_changed_row_repeats_exactly_that_instance(done):
    rows = done.rows
    rows[1]["problem_statement"] += "\nIt matters to me."
    done.dataset.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = done.planned()
    assert plan.generated == [(model, rows[1]["instance_id"]) for model in ("fixer", "stumbler")]
    assert plan.graded == plan.generated


@pytest.mark.parametrize("change", ["order", "column", "path", "time"])
def test_a_dataset_that_says_the_same_repeats_nothing(done, change):
    rows = done.rows
    if change == "order":
        rows.reverse()
    elif change == "column":
        rows = [row | {"created_at": "today"} for row in rows]
    done.dataset.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if change == "path":
        shutil.copytree(done.root / "demo/data", done.root / "other", symlinks=True)
        done.configure(dataset="other/instances.jsonl")
    plan = done.planned()
    assert plan.generated == [] and "run_tests" not in plan.jobs


def test_a_changed_models_settings_repeat_exactly_that_model(done):
    import yaml

    catalog = yaml.safe_load((done.root / "config/config.yaml").read_text())["catalog"]
    catalog["stumbler"]["steps"] = 11
    catalog["fixer"]["display_name"] = "Another name"
    done.configure(catalog=catalog)
    assert done.planned().generated == [("stumbler", instance_id) for instance_id in sorted(done.ids)]


@pytest.mark.parametrize(
    "environ",
    [{"INSTANCE_TIMEOUT": "99"}, {"DEBUG": "1"}, {"MAX_PARALLEL_INSTANCES": "1"}],
    ids=lambda e: next(iter(e)),
)
def test_limits_of_time_and_tracing_repeat_nothing(done, environ):
    assert "Nothing to be done" in done.planned(**environ).text


@pytest.mark.parametrize("mode", ["parallel", "sequential"])
def test_another_mode_repeats_no_generate(done, mode):
    assert done.planned("--profile", mode).generated == []


def test_a_lost_marker_of_an_image_buys_nothing(done):
    for marker in (done.root / "outputs/images").glob("*.loaded.json"):
        marker.unlink()
    assert done.planned().generated == []


def test_another_model_leaves_the_finished_ones_alone(done):
    plan = done.planned("--config", "models=[fixer,stumbler,gold]")
    assert plan.generated == [("gold", instance_id) for instance_id in sorted(done.ids)]


def test_forcerun_of_one_trajectory_repeats_its_chain_and_the_summary(done):
    """`snakemake --forcerun FILE`, as the user types it: no other target, no profile, no -j."""
    wanted = done.ids[0]
    others = {
        path: path.stat().st_mtime_ns
        for path in (done.root / "outputs/trajectories").rglob("*")
        if path.is_file() and not path.is_relative_to(done.folder("fixer", wanted))
    }
    target = str((done.folder("fixer", wanted) / "output.jsonl").relative_to(done.root))
    plan = done.planned("--forcerun", target)
    assert plan.generated == plan.graded == [("fixer", wanted)]
    expected = {
        "generate",
        "run_tests",
        "grade",
        "release_image",
        "summarize",
        "summarize_model",
        "trajectory_pages",
        "session_page",
        "verify",
        "gate",
        "all",
    }
    assert set(plan.jobs) <= expected and plan.jobs["generate"] == plan.jobs["run_tests"] == plan.jobs["grade"] == 1

    before = done.outcome("fixer", wanted)
    result = done.snakemake("--forcerun", target)
    assert result.returncode == 0, result.stdout
    after = done.outcome("fixer", wanted)
    assert after["started"] > before["ended"] and after["verdict"] == before["verdict"]
    assert {path: path.stat().st_mtime_ns for path in others} == others
    journals = {
        p.name: len(list(p.glob("*.json"))) for p in (done.folder("fixer", wanted) / "llm_completions").iterdir()
    }
    assert journals == {wanted: after["steps"], f"{wanted}.1": before["steps"]}
    assert nothing(done)


def test_forcerun_of_a_rule(done):
    plan = done.planned("--forcerun", "grade")
    assert plan.jobs["grade"] == 2 * len(done.ids) and "generate" not in plan.jobs

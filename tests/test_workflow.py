"""Whole sessions on the demo's real bugs, run as a user runs them."""

from __future__ import annotations

import csv
import json
import re
import time
from collections import Counter

import pytest
import yaml
from project import ROOT, Project

from trajmake import engines
from trajmake.errors import TrajmakeError
from trajmake.sessions import status

MODELS = ("fixer", "stumbler")


def engine_or_skip(name: str) -> None:
    try:
        engines.select(name).version()
    except TrajmakeError as error:
        pytest.skip(f"engine {name}: {error.message}")


def spans(project: Project, model: str) -> list[tuple[float, float]]:
    """When a model's runs began and ended, from their own records."""
    outcomes = [project.outcome(model, instance_id) for instance_id in project.ids]
    return [(outcome["started"], outcome["ended"]) for outcome in outcomes]


def overlaps(runs: list[tuple[float, float]]) -> int:
    return sum(a[0] < b[1] and b[0] < a[1] for i, a in enumerate(runs) for b in runs[i + 1 :])


def test_a_session_ends_with_one_true_row_per_model_and_instance(finished):
    """`fixer` solves all bugs but one, `stumbler` none: verdicts of really run tests."""
    results = finished.results()
    assert sorted(results) == sorted((model, i) for model in MODELS for i in finished.ids)
    assert {row["Status"] for row in results.values()} == {"SUCCESS"}
    resolved = {key for key, row in results.items() if row["Resolved"] == "true"}
    assert {model for model, _ in resolved} == {"fixer"}
    assert len(resolved) == len(finished.ids) - 1 >= 2
    stumbled = [row for (model, _), row in results.items() if model == "stumbler"]
    assert {"step_limit", "submitted"} <= {row["Agent_Exit"] for row in stumbled}
    assert {"empty_patch", "unresolved"} == {row["Verdict"] for row in stumbled}
    assert all(int(row["Steps"]) > 1 and float(row["Cost_USD"]) > 0 for row in results.values())


def test_every_run_leaves_the_documented_files(finished):
    for model in MODELS:
        for instance_id in finished.ids:
            folder = finished.folder(model, instance_id)
            evaluation = folder / "eval_outputs" / instance_id
            record = json.loads((folder / "output.jsonl").read_text())
            verdict = json.loads((folder / "eval_output.jsonl").read_text())
            report = json.loads((folder / "eval_outputs" / "report.json").read_text())
            assert (
                record["error"] is None
                and record["history"]
                and record["metadata"] == json.loads((folder / "metadata.json").read_text())
            )
            assert verdict["resolved"] is report[instance_id]["resolved"]
            assert (evaluation / "patch.diff").read_text() == record["test_result"]["git_patch"]
            for name in ("test_output.txt", "eval.sh", "run_instance.log", "report.json", "outcome.json"):
                assert (evaluation / name).exists(), name
            completions = sorted((folder / "llm_completions" / instance_id).glob("*.json"))
            assert len(completions) == record["metadata"]["details"]["steps"]
            line = status.read(finished.root / f"outputs/progress/demo/{model}_{instance_id}.status")
            assert line.status == "SUCCESS"


def test_every_trajectory_says_what_produced_it(finished):
    for model in MODELS:
        for instance_id in finished.ids:
            details = json.loads((finished.folder(model, instance_id) / "metadata.json").read_text())["details"]
            for name in ("row_digest", "model_digest", "config_digest", "prompt_digest"):
                assert re.fullmatch("[0-9a-f]{64}", details[name]), name
            assert details["image_id"].startswith("sha256:") and details["engine"].split()[0] in ("docker", "namespace")
            assert details["models_answered"] and details["host"]["name"] and details["agent_version"]
            assert {"trajmake", "python", "litellm", "mini-swe-agent", "docker", "snakemake"} <= set(
                details["versions"]
            )
            assert "checkout" in details and details["history"] and details["replay"]["steps"] == 0


def test_no_instance_of_the_second_model_starts_before_the_first_models_last_has_ended(finished):
    first, second = (spans(finished, model) for model in MODELS)
    assert min(started for started, _ in second) >= max(ended for _, ended in first)
    assert overlaps(first) > 0  # side by side within a model


def test_the_final_report_says_what_it_counted(finished):
    text = (finished.root / "outputs/results/demo/final_report.txt").read_text()
    count = len(finished.ids)
    assert f"Total Runs: {2 * count}" in text and "Model: Fixer (scripted)" in text
    assert "Success Rate: 100.00%" in text and f"Resolved: {count - 1} of {count}" in text
    assert (finished.root / "outputs/results/demo/fixer_summary.txt").read_text() in text
    predictions = json.loads((finished.root / "outputs/results/demo/fixer.preds.json").read_text())
    assert [p["instance_id"] for p in predictions] == finished.ids
    report = json.loads((finished.root / "outputs/results/demo/stumbler.run_report.json").read_text())
    assert report["empty_patch_instances"] >= 1 and report["resolved_instances"] == 0
    assert report["completed_instances"] + report["empty_patch_instances"] == report["total_instances"] == count


def test_the_summary_says_for_programs_what_the_final_report_says(finished):
    summary = json.loads((finished.root / "outputs/results/demo/summary.json").read_text())
    count = len(finished.ids)
    fixer, stumbler = summary["models"]
    assert (summary["session"], summary["totals"]["total_instances"]) == ("demo", 2 * count)
    assert (fixer["display_name"], fixer["resolved"], fixer["judged"]) == ("Fixer (scripted)", count - 1, count)
    assert stumbler["resolved_rate"] == 0 and summary["failures"] == []
    costs = fixer["cost_usd"] + stumbler["cost_usd"]
    assert summary["spent"]["usd"] == pytest.approx(costs) and summary["spent"]["budget_usd"] is None


def test_a_run_is_as_it_should_be_by_the_configurations_own_bounds(finished, tmp_path):
    """Other bounds make the summaries again, and nothing else."""
    again = finished.copy(tmp_path / "again")
    table = again.root / "outputs/results/demo/results.csv"
    assert {row["History_OK"] for row in csv.DictReader(table.open())} != {"true"}  # the demo's runs are short
    config = yaml.safe_load((again.root / "config/config.yaml").read_text()) | {"quality": {"history_min": 1}}
    (again.root / "wider.yaml").write_text(yaml.safe_dump(config))
    done = again.snakemake("-j", "2", "--profile", "hybrid", "--configfile", "wider.yaml")
    assert done.returncode == 0, done.stdout
    assert {row["History_OK"] for row in csv.DictReader(table.open())} == {"true"}
    assert "rule generate" not in done.stdout and "rule grade" not in done.stdout


def test_the_run_says_which_engine_it_took_and_why(finished):
    log = (finished.root / "run.log").read_text()
    assert "Engine docker" in log or "Engine namespace" in log
    assert "daemon" in log


def test_a_second_run_does_nothing(finished, tmp_path):
    again = finished.copy(tmp_path / "again")
    done = again.snakemake("-j", "4", "--profile", "hybrid")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout


def test_a_summary_has_the_same_bytes_whenever_it_is_made(finished, tmp_path):
    again = finished.copy(tmp_path / "again")
    names = ["results.csv", "final_report.txt", "summary.json"]
    names += ["fixer_summary.txt", "fixer.preds.json", "fixer.run_report.json"]
    folder = again.root / "outputs/results/demo"
    before = {name: (folder / name).read_bytes() for name in names}
    done = again.snakemake("-j", "2", "--forcerun", "summarize", "summarize_model")
    assert done.returncode == 0, done.stdout
    assert {name: (folder / name).read_bytes() for name in names} == before


@pytest.mark.parametrize("engine", ["docker", "namespace"])
def test_every_gold_patch_resolves_and_no_empty_one_does(project, engine):
    """What calibrates a dataset, on each engine that is here."""
    engine_or_skip(engine)
    project.configure(models=["gold", "empty"], session="calibration", engine=engine)
    done = project.snakemake("-j", "4", "--profile", "parallel")
    assert done.returncode == 0, done.stdout
    results = project.results("calibration")
    assert len(results) == 2 * len(project.ids)
    for (model, instance_id), row in results.items():
        assert (model, instance_id, row["Resolved"]) == (model, instance_id, "true" if model == "gold" else "false")
        # The empty patch is really tested: it is unresolved because the required tests failed.
        assert int(row["F2P_Total"]) > 0 and (int(row["F2P_Passed"]) > 0) is (model == "gold")


def test_sequential_is_one_at_a_time_whatever_j_says(project):
    project.configure(models=["gold", "empty"])
    done = project.snakemake("-j", "4", "--profile", "sequential")
    assert done.returncode == 0, done.stdout
    gold, empty = spans(project, "gold"), spans(project, "empty")
    assert overlaps(gold + empty) == 0
    assert min(started for started, _ in empty) >= max(ended for _, ended in gold)


def test_max_parallel_instances_holds_whatever_j_says(project):
    project.configure(models=["gold"])
    done = project.snakemake("-j", "4", "--profile", "parallel", MAX_PARALLEL_INSTANCES="1")
    assert done.returncode == 0, done.stdout
    assert overlaps(spans(project, "gold")) == 0


def test_a_second_driver_is_refused_and_a_killed_one_leaves_no_lock(project):
    """`kill -9` of snakemake, then the same command: no --unlock, nothing for a human to do."""
    lock = project.root / "outputs/results/demo/.driver.lock"
    with project.started(project.command("-j", "2", "--profile", "hybrid")) as first:
        deadline = time.monotonic() + 60
        while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        refused = project.snakemake("-j", "2", "--profile", "hybrid")
        assert refused.returncode != 0 and f"process {first.pid}" in refused.stdout and "Hint:" in refused.stdout
    done = project.snakemake("-j", "4", "--profile", "hybrid")
    assert done.returncode == 0, done.stdout
    assert len(project.results()) == 2 * len(project.ids)


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--config", "dataset=none.jsonl"], "There is no dataset none.jsonl.", 3),
        (["--config", "models=[opsu]"], "There is no model `opsu` in the catalog.", 2),
        (["--config", "sesion=x"], "sesion: unknown key; did you mean `session`?", 2),
        (["--config", "instances=[none]"], "does not hold none", 3),
        (["--config", "engine=dokcer"], "dokcer", 2),
        (["--config", "session=" + "x" * 300], "session: ", 2),
    ],
)
def test_a_mistake_ends_in_one_message_with_a_hint(finished, arguments, said, code):
    done = finished.snakemake("-n", *arguments)
    assert done.returncode == code, done.stdout
    assert said in done.stdout and "Hint:" in done.stdout and "Traceback" not in done.stdout


def test_no_job_stands_between_many_and_many(project):
    """Snakemake looks through a producer's inputs for each consumer: the graph would grow by the square of the runs."""
    said = project.snakemake("-n", "--dag", "--profile", "hybrid").stdout
    names = dict(re.findall(r"(\d+)\[label = \"(\w+)", said))
    edges = [(int(before), int(after)) for before, after in re.findall(r"(\d+) -> (\d+)", said)]
    needs, serves = (Counter(edge[end] for edge in edges) for end in (1, 0))
    assert Counter(names.values())["generate"] == 2 * len(project.ids) > 6 and max(needs.values()) > 6
    assert [names[str(job)] for job in needs if min(needs[job], serves[job]) > 3] == []


def test_what_a_rule_lists_at_each_start_does_not_grow_with_the_instances(project):
    """What an input function names is listed for who asks for it; a list in the rule, file by file, at every start."""
    with (project.root / "Snakefile").open("a") as snakefile:
        snakefile.write('\n\nprint("lists", {found.name: len(found.input) for found in workflow.rules})\n')

    def lists(instances):
        project.configure(instances=instances)
        return re.findall("^lists .*", project.snakemake("-n").stdout, re.MULTILINE)

    assert lists(project.ids) == lists(project.ids[:1]) != []


def test_the_modes_are_found_by_name_from_a_fresh_clone():
    for mode in ("sequential", "hybrid", "parallel"):
        assert (ROOT / mode).readlink().as_posix() == f"profiles/{mode}"


def test_a_profiles_mode_survives_config_and_configfile_on_the_command_line(finished):
    """Both take the place of a profile's own; so the profile says its mode as a resource."""
    both = ["--config", "debug=true", "--configfile", "config/config.yaml"]
    for arguments in ([], both[:2], both[2:], both):
        # Only where models run in turn does the second model's gate wait for the first one's summary.
        forced = ["--forcerun", "generate", *arguments]
        assert "gate" not in finished.planned("--profile", "parallel", *forced).jobs
        assert finished.planned("--profile", "hybrid", *forced).jobs["gate"] == 1


def test_a_file_of_another_session_is_not_made_under_this_one(finished):
    """It would be bought with this session's settings and reported nowhere."""
    other = finished.folder("fixer", finished.ids[0], session="other") / "output.jsonl"
    done = finished.snakemake("-n", str(other.relative_to(finished.root)))
    assert done.returncode != 0 and "MissingRule" in done.stdout


def test_one_file_of_the_second_model_waits_for_no_other_model(project):
    target = project.folder("stumbler", project.ids[0]) / "output.jsonl"
    plan = project.planned("--profile", "hybrid", str(target.relative_to(project.root)))
    assert plan.generated == [("stumbler", project.ids[0])]


def test_debug_logs_every_command_and_answer(project):
    project.configure(models=["fixer"], instances=project.ids[:1])
    done = project.snakemake("-j", "2", DEBUG="1")
    assert done.returncode == 0, done.stdout
    log = (project.root / f"outputs/logs/demo/fixer/instance_{project.ids[0]}.log").read_text()
    steps = project.outcome("fixer", project.ids[0])["steps"]
    assert log.count(" answered: ") == steps and log.count("[exit code 0,") >= steps

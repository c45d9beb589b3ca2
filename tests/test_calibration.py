"""`snakemake calibrate` on the demo's real bugs, one of them broken; and what `only_valid` makes of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from project import Project

from trajmake.sessions import calibration
from trajmake.sessions.calibration import Calibrated

BROKEN, SHIFTED, SOUND = "mahmoud__boltons-24.1.0", "andialbrecht__sqlparse-0.5.1", "Python-Markdown__markdown-3.6"
MISSING = "tests/test_typeutils.py::test_that_is_not_there"


def change(project: Project, instance_id: str, **fields) -> None:
    """Change a row of the dataset."""
    rows = [row | fields if row["instance_id"] == instance_id else row for row in project.rows]
    project.dataset.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, demo_data, store) -> Project:
    """Calibrated with two test runs each, one row asking for a test that is not there, one for another commit."""
    project = Project.make(tmp_path_factory.mktemp("calibrated") / "project", demo_data, store)
    change(project, BROKEN, FAIL_TO_PASS=["tests/test_typeutils.py::test_sentinel_copy", MISSING])
    change(project, SHIFTED, base_commit="f" * 40)
    project.configure(instances=[BROKEN, SHIFTED, SOUND], evaluation={"repeats": 2}, models=["fixer"])
    done = project.snakemake("-j", "4", "calibrate")
    assert done.returncode == 0, done.stdout
    assert "3 instances: 2 valid, 1 broken" in done.stdout and MISSING in done.stdout
    return project


def table(project: Project) -> dict[str, dict[str, str]]:
    path = project.root / "outputs/results/demo/calibration.csv"
    with path.open(newline="") as stream:
        return {row["Instance_ID"]: row for row in csv.DictReader(stream)}


def test_calibration_names_what_disagrees(calibrated):
    """Gold and empty ran although `models` names neither; the broken instance says which id is wrong."""
    rows = table(calibrated)
    assert {name: row["State"] for name, row in rows.items()} == {BROKEN: "broken", SHIFTED: "valid", SOUND: "valid"}
    assert json.loads(rows[BROKEN]["Disagreeing"]) == [MISSING]
    assert (rows[SOUND]["Gold"], rows[SOUND]["Empty"]) == ("resolved", "empty_patch")
    assert not (calibrated.root / "outputs/trajectories/demo/fixer").exists()


def test_every_repeat_leaves_its_log_and_its_facts(calibrated):
    folder = calibrated.folder("gold", SOUND) / "eval_outputs" / SOUND
    assert "OK" in (folder / "test_output.txt").read_text() and "OK" in (folder / "test_output.2.txt").read_text()
    run = json.loads((folder / "test_run.json").read_text())
    assert [again["exit_code"] for again in run["repeats"]] == [0]
    assert run["peak_memory"] is None or run["peak_memory"] > 1_000_000
    assert run["forged"] == [] and "made to fail" in (folder / "test_output.control.txt").read_text()


def test_only_valid_instances_run_and_warnings_reach_the_report(calibrated, tmp_path):
    """The broken instance is no part of the session; the strange base commit is said for who reads the report."""
    again = calibrated.copy(tmp_path / "again")
    again.configure(only_valid=True, models=["gold"])
    done = again.snakemake("-j", "4")
    assert done.returncode == 0, done.stdout
    assert "1 models on 2 instances" in done.stdout
    assert sorted(again.results()) == sorted([("gold", SHIFTED), ("gold", SOUND)])
    report = (again.root / "outputs/results/demo/final_report.txt").read_text()
    assert f"{SHIFTED}: The base commit {'f' * 40} is not in the repository" in report
    assert "is not in the repository" in again.outcome("gold", SHIFTED)["warnings"][0]
    planned = again.planned("--config", "models=[fixer]")
    assert planned.generated == [("fixer", SOUND), ("fixer", SHIFTED)]


def test_only_valid_needs_a_calibration_of_the_rows_as_they_are(calibrated, tmp_path):
    """None at all, and one made before a row was changed: one message that says what to do."""
    again = calibrated.copy(tmp_path / "again")
    again.configure(only_valid=True)
    path = again.root / "outputs/results/demo/calibration.csv"
    path.rename(path.with_suffix(".away"))
    refused = again.snakemake("-n")
    assert refused.returncode != 0 and "there is no calibration" in refused.stdout
    assert "Hint: Run `snakemake -j 4 calibrate` first" in refused.stdout and "Traceback" not in refused.stdout
    assert "calibration" in again.planned("calibrate").jobs
    path.with_suffix(".away").rename(path)
    change(again, SOUND, problem_statement="something else")
    stale = again.snakemake("-n")
    assert stale.returncode != 0 and f"1 of 3 instances as they are now: {SOUND}" in stale.stdout


def outcome(verdict: str, **more) -> dict:
    return {"instance_id": "i", "verdict": verdict, "message": "", "fault_message": "", "fault_reason": None} | more


def reported(f2p=((), ()), p2p=((), ())) -> dict:
    kinds = zip(("FAIL_TO_PASS", "PASS_TO_PASS"), (f2p, p2p), strict=True)
    return {"i": {"tests_status": {k: {"success": list(good), "failure": list(bad)} for k, (good, bad) in kinds}}}


@pytest.mark.parametrize(
    ("gold", "empty", "reports", "state", "disagreeing"),
    [
        (outcome("resolved"), outcome("empty_patch"), (reported((["a"], [])), reported(([], ["a"]))), "valid", ()),
        (outcome("resolved"), outcome("empty_patch"), (reported((["a"], [])), reported((["a"], []))), "broken", ("a",)),
        (outcome("unresolved"), outcome("empty_patch"), (reported(([], ["a"])), reported()), "broken", ("a",)),
        (outcome("infra_failure"), outcome("empty_patch"), ({"i": {}}, reported()), "unknown", ()),
        (
            outcome("resolved"),
            outcome("infra_failure", fault_reason="container_lost"),
            (reported(), {"i": {}}),
            "unknown",
            (),
        ),
        (
            outcome("resolved"),
            outcome("infra_failure", fault_reason="environment_broken"),
            (reported((["a"], [])), {"i": {}}),
            "valid",
            (),
        ),
        (
            outcome("resolved", flaky=["a", "z"]),
            outcome("empty_patch"),
            (reported((["a"], [])), reported(([], ["a"]))),
            "flaky",
            (),
        ),
    ],
)
def test_states(gold, empty, reports, state, disagreeing):
    """Flaky counts only where the row needs the test; a test that cannot start without the fix is no fault."""
    judged = calibration.judge(gold, empty, reports, "d")
    assert (judged.state, judged.disagreeing) == (Calibrated(state), disagreeing)
    assert judged.flaky == (("a",) if state == "flaky" else ())


def test_the_file_is_read_back(tmp_path: Path):
    rows = [calibration.judge(outcome("resolved"), outcome("empty_patch"), (reported(), reported()), "d")]
    path = tmp_path / "calibration.csv"
    path.write_text(calibration.to_csv(rows))
    assert calibration.read(path) == {"i": (Calibrated.VALID, "d")}

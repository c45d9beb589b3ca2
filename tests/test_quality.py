"""The quality checks: what a run should look like, by thresholds of the configuration, apart from every verdict."""

from __future__ import annotations

import csv
import io

import pytest
from made_sessions import Made

from trajmake.reports import tables
from trajmake.sessions import quality
from trajmake.sessions.found import Outputs
from trajmake.settings.sections import QualitySettings

SAME = {
    "patch_bytes": 500,
    "history_entries": 30,
    "tests_executed": 4,
    "fail_to_pass_total": 1,
    "pass_to_pass_total": 9,
}
GOOD = SAME | {"fault_reason": None}


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({}, set()),
        ({"patch_bytes": 99}, {"quality_patch_size"}),
        ({"patch_bytes": 100}, set()),
        ({"patch_bytes": 100_000}, set()),
        ({"patch_bytes": 100_001}, {"quality_patch_size"}),
        ({"history_entries": 19}, {"quality_history"}),
        ({"history_entries": 200}, set()),
        ({"history_entries": 201}, {"quality_history"}),
        ({"tests_executed": 0}, {"quality_tests_executed"}),
        ({"fail_to_pass_total": 0}, {"quality_required_tests"}),
        ({"pass_to_pass_total": 0}, {"quality_required_tests"}),
        ({"fault_reason": "provider_down"}, {"quality_no_error"}),
        ({"patch_bytes": None, "history_entries": None}, {"quality_patch_size", "quality_history"}),
    ],
)
def test_each_check_has_its_own_bounds(change, failed):
    (marked,) = quality.marked([GOOD | change], QualitySettings())
    assert {key for key in quality.CHECKS if not marked[key]} == failed
    assert marked["quality"] is not failed and marked["quality"] == (not failed)


def test_bounds_are_the_configurations():
    """An instance without PASS_TO_PASS is nothing odd where the dataset has many."""
    wanted = QualitySettings(pass_to_pass_min=0, history_max=0, history_min=0)
    first, second = quality.marked([GOOD | {"pass_to_pass_total": 0, "history_entries": 0}, GOOD], wanted)
    assert first["quality"] is True and second["quality"] is False


def test_the_table_has_them_and_a_run_without_a_verdict_has_none(tmp_path):
    made = Made(tmp_path)
    made.session("x")
    made.run("x", "any", "one", commands=[("ls", "README")] * 10, patch="x" * 200)
    made.run("x", "any", "two", judged=False)
    made.fault("x", "any", "three")
    states = Outputs(made.root).states("x", ["any"])
    rows = {row["Instance_ID"]: row for row in csv.DictReader(io.StringIO(tables.results_csv(states)))}
    names = ["Quality_OK", "Patch_Size_OK", "History_OK", "Tests_Executed_OK", "Required_Tests_OK", "No_Error"]
    # The made verdict names no test of the log, and none that failed before.
    assert [rows["one"][name] for name in names] == ["false", "true", "true", "false", "false", "true"]
    assert (rows["one"]["History_Entries"], rows["one"]["Tests_Executed"]) == ("20", "0")
    assert [rows["two"][name] for name in names] == [""] * 6
    assert rows["three"]["No_Error"] == "false"
    said = quality.summary(states)
    assert said == (
        "0 of 2 runs pass every check (failed: history 1, no error 1, patch size 1, required tests 2, tests executed 2)"
    )


def test_an_outcome_of_an_earlier_version_is_shown_all_the_same(tmp_path):
    """It says nothing of what was not yet counted."""
    import json

    from trajmake.sessions import layout

    made = Made(tmp_path)
    made.session("x")
    made.run("x", "any", "one")
    path = made.place(layout.EVALUATION, "x", "any", "one") / "outcome.json"
    old = json.loads(path.read_text())
    path.write_text(json.dumps({key: old[key] for key in old if key not in ("history_entries", "tests_executed")}))
    done = made.call("analyze", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["models"][0]["quality_ok"] == 0

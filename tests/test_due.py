"""What the graph of a session is made of: which runs are going to be made, and what they wait for."""

from __future__ import annotations

import json
from pathlib import Path

from trajmake import files, settings
from trajmake.due import Needs
from trajmake.plan import Plan

ROW = {
    "repo": "a/b",
    "base_commit": "0" * 40,
    "problem_statement": "Wrong.",
    "patch": "",
    "test_patch": "",
    "FAIL_TO_PASS": ["t.py::t"],
    "PASS_TO_PASS": [],
    "language": "python",
    "test_command": "pytest",
    "test_output_parser": "python/parse_log_pytest",
}


def plan_of(folder: Path, number: int) -> Plan:
    """A session of that many instances of one model, with an image each."""
    rows = [ROW | {"instance_id": f"i-{n}", "image_storage_uri": f"s3://b/i-{n}.tar"} for n in range(number)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    catalog = {name: {"agent": name} for name in ("gold", "empty")}
    config = {"session": "s", "dataset": str(folder / "rows.jsonl"), "models": ["gold"], "catalog": catalog}
    return Plan(settings.load(config | {"output_dir": str(folder / "outputs")}, {}))


def finish(folder: Path, plan: Plan, instance_id: str, **details: object) -> None:
    """Write a trajectory and what it was made for."""
    made_for = {"row_digest": plan.row_digest(instance_id), "model_digest": plan.model_digest("gold", instance_id)}
    place = folder / f"outputs/trajectories/s/gold/instance_{instance_id}"
    files.write_json(place / "metadata.json", {"details": {"exit_status": "submitted"} | made_for | details})
    files.write_text(place / "output.jsonl", "{}\n")


def test_a_finished_run_waits_for_nothing(tmp_path: Path) -> None:
    """Its inputs would make Snakemake buy it again; a fault, another row or no trajectory have them."""
    before = plan_of(tmp_path, 4)
    finish(tmp_path, before, "i-0")
    finish(tmp_path, before, "i-1", exit_status=None)
    finish(tmp_path, before, "i-2", row_digest="of another row")
    plan = plan_of(tmp_path, 4)
    assert plan.needs("gold", "i-0") == Needs()
    for name in ("i-1", "i-2", "i-3"):
        assert plan.needs("gold", name) == Needs(["gold"], [name], [])


def test_many_due_runs_open_the_gate_anew(tmp_path: Path) -> None:
    """11,500 forced names kept a dry run busy for ten minutes: Snakemake walked all later turns once for each."""
    assert plan_of(tmp_path, 101).opening > 0
    finish(tmp_path, plan_of(tmp_path, 101), "i-7")
    assert plan_of(tmp_path, 101).opening == 0

"""Patches tested and graded: ``swebench eval`` 5 against our ``run_tests`` and ``grade``, in Docker.

    python bench/evaluation.py [--instances 6] [--workers 2] [--seconds 20] [--pairs 5] [--quick] [--json FILE]

The demo's instances, several times over, with their own fixes as predictions; the images are in the
daemon before, on both sides. Ours is measured twice: the same work (no control run, trajectories there), and what
a user types, from the predictions to the pages, with the control run, which tests each resolved patch a second time.
Both sides must say the same of each instance, and of each required test. Needs root, dockerd and ``make swebench``.

The price beyond the tests themselves: the same with test commands of SECONDS more, against their own time alone.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import made_projects as projects
import pairs
import theirs

SCRIPT = """#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git apply -v - <<'EOF_OF_TESTS'
{test_patch}EOF_OF_TESTS
: '>>>>> Start Test Output'
{test_command}
: '>>>>> End Test Output'
git checkout -q {base_commit}
"""
RUN = "bench"
_STAMP = re.compile(r"^(\S+ \S+) - INFO - (Attempting to stop|Container .* stopped)", re.M)


class Their:
    """``swebench eval`` in a folder of its own."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]], images: Any, workers: int) -> None:
        self.folder = folder
        folder.mkdir()
        with (folder / "rows.jsonl").open("w") as stream:
            for row in rows:
                more = {
                    "image": images[row["image_storage_uri"]],
                    "eval_script": SCRIPT.format(**row),
                    "log_parser": "parse_log_pytest",
                    "eval_type": "pass_and_fail",
                }
                stream.write(json.dumps(row | more) + "\n")
        command = [str(theirs.PYTHON.with_name("swebench")), "eval", "rows.jsonl", "--gold", "-j", str(workers)]
        self.side = pairs.Side(
            "swebench eval",
            [*command, "--run-id", RUN],
            cwd=folder,
            env={"HF_HUB_OFFLINE": "1"},
            before=lambda: shutil.rmtree(folder / "logs", ignore_errors=True),
            product=self.verdicts,
        )
        self.stopping: list[float] = []

    def verdicts(self) -> dict[str, Any]:
        """What it said of each instance; also notes how long it waited for its containers to stop."""
        found, waited = {}, 0.0
        for path in (self.folder / "logs/run_evaluation" / RUN / "gold").glob("*/report.json"):
            for identity, report in json.loads(path.read_text()).items():
                found[identity] = (report["resolved"], report["tests_status"])
            stamps = _STAMP.findall(path.with_name("run_instance.log").read_text())
            began, ended = (datetime.fromisoformat(stamp.replace(",", ".")) for stamp, _ in stamps)
            waited += (ended - began).total_seconds()
        self.stopping.append(waited)
        return found


def template(folder: Path, rows: list[dict[str, Any]], workers: int, control: bool) -> Path:
    """A project whose trajectories are there, and nothing more."""
    catalog = {"gold": {"agent": "gold"}}
    evaluation = {"control": control}
    projects.make(folder, rows, models=["gold"], catalog=catalog, engine="docker", evaluation=evaluation)
    trajectories = [f"outputs/trajectories/bench/gold/instance_{row['instance_id']}/output.jsonl" for row in rows]
    pairs.run(pairs.Side("trajectories", projects.snakemake(folder, workers, "--", *trajectories)))
    return folder


def renew(folder: Path, from_: Path) -> None:
    """The state from which a round starts."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(from_, folder)


def our_verdicts(folder: Path, model: str = "gold") -> dict[str, Any]:
    """What we said of each instance."""
    found = {}
    for path in folder.glob(f"outputs/trajectories/bench/{model}/*/eval_outputs/*/report.json"):
        for identity, report in json.loads(path.read_text()).items():
            found[identity] = (report["resolved"], report["tests_status"])
    return found


def own_time(folder: Path) -> float:
    """Seconds of the test commands alone, one after the other."""
    runs = folder.glob("outputs/trajectories/bench/*/*/eval_outputs/*/test_run.json")
    return float(sum(json.loads(path.read_text())["seconds"] for path in runs))


def ours(folder: Path, from_: Path, workers: int) -> pairs.Side:
    """``run_tests`` and ``grade`` of all instances, and the summaries."""
    results = [f"outputs/results/bench/{name}" for name in ("results.csv", "gold_summary.txt")]
    return pairs.Side(
        "run_tests and grade",
        projects.snakemake(folder, workers, "--", *results),
        before=partial(renew, folder, from_),
        product=partial(our_verdicts, folder),
    )


def whole(folder: Path, rows: list[dict[str, Any]], workers: int) -> pairs.Side:
    """Everything a session is, as shipped."""
    catalog = {"preds": {"agent": "predictions", "predictions": "preds.jsonl"}}
    from_ = projects.make(folder.with_name("whole"), rows, models=["preds"], catalog=catalog, engine="docker")
    with (from_ / "preds.jsonl").open("w") as stream:
        for row in rows:
            line = {"instance_id": row["instance_id"], "model_patch": row["patch"], "model_name_or_path": "gold"}
            stream.write(json.dumps(line) + "\n")
    return pairs.Side(
        "a whole session",
        projects.snakemake(folder, workers),
        before=partial(renew, folder, from_),
        product=partial(our_verdicts, folder, "preds"),
    )


def main() -> None:
    """Measure and print."""
    parser = pairs.options(__doc__)
    parser.add_argument("--instances", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=20, help="by which test commands are longer in the second part")
    chosen = parser.parse_args()
    swebench = theirs.need_swebench()
    result = pairs.Result("evaluation", chosen)
    result.content["versions"]["swebench"] = swebench
    rows = projects.rows(chosen.instances)
    with tempfile.TemporaryDirectory(prefix="bench-evaluation-") as scratch, projects.loaded(rows) as images:
        folder = Path(scratch)
        their = Their(folder / "theirs", rows, images, chosen.workers)
        plain = template(folder / "template", rows, chosen.workers, control=False)
        same = ours(folder / "ours", plain, chosen.workers)
        all_ = whole(folder / "session", rows, chosen.workers)
        costs = pairs.compare([their.side, same, all_], result.pairs, result.warm_up)
        assert len(our_verdicts(folder / "ours")) == len(rows)
        report(result, costs, their, chosen.workers, len(rows))
        longer(result, folder, rows, chosen)
    result.close()


def report(result: pairs.Result, costs: dict[str, list[pairs.Cost]], their: Their, workers: int, number: int) -> None:
    """The lines of the comparison."""
    first, second, third = costs.values()
    figures = {"wall": 0.8, "cpu": None, "machine": None, "together": None}
    result.add(*pairs.rows(f"{number} instances, {workers} workers, the same work", first, second, figures))
    stopping = [waited / workers for waited in their.stopping[-len(first) :]]
    without = [cost.wall - waited for cost, waited in zip(first, stopping, strict=True)]
    line = "the same work, their waiting for `docker stop` taken off: wall"
    result.add(pairs.row(line, without, [cost.wall for cost in second]))
    result.add(*pairs.rows("a whole session, with control runs and pages", first, third, {"wall": None, "cpu": None}))


def longer(result: pairs.Result, folder: Path, rows: list[dict[str, Any]], chosen: Any) -> None:
    """Test commands of real length: what we add to them."""
    long = [row | {"test_command": f"sleep {chosen.seconds}; {row['test_command']}"} for row in rows]
    from_ = template(folder / "long", long, chosen.workers, control=False)
    side = ours(folder / "ours", from_, chosen.workers)
    walls, alone = [], []
    for _ in range(min(3, result.pairs)):
        walls.append(pairs.run(side).wall)
        alone.append(own_time(folder / "ours") / chosen.workers)
    line = f"tests of {chosen.seconds} s and more: wall, against their own time by {chosen.workers} workers"
    result.add(pairs.row(line, alone, walls, 1.15))


if __name__ == "__main__":
    main()

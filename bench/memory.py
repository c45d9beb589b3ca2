"""Peak memory of each stage's process: a trajectory of 3 MB, logs of 1 MB, 100 MB and 1 GB.

    python bench/memory.py [--megabytes 1 100 1000] [--quick] [--json FILE]

One instance of the demo, with its fix, in the engine `namespace`; its test command prints so much before the tests.
Each stage is run in a process of its own, in the order of the chain, as its rule runs it. Those that
read neither a trajectory nor a log (`build_bundle`, the two of the calibration) are left out. What must be
flat: the peak for the longest log against that for the one before it. Every run must be resolved.
"""

from __future__ import annotations

import importlib
import inspect
import json
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_projects as projects
import pairs
import yaml

from trajmake.stages import forked

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
LINE = "a line as a talkative test suite prints them, again and again"
LOOK = 240  # commands of the agent; of an output of 50 kB the history keeps 13: 3 MB


def places(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each rule gives its script, by the names that the script reads."""
    name, uri = row["instance_id"], row["image_storage_uri"]
    run, results = f"outputs/trajectories/bench/m/instance_{name}", "outputs/results/bench"
    tests = f"{run}/eval_outputs/{name}"
    own = {"model": "m", "instance_id": name, "session": "bench", "image": Path(uri).stem}
    tarball, trajectory = f"outputs/images/{own['image']}.tar", f"{run}/output.jsonl"
    outcomes = [f"{tests}/outcome.json"]
    log, test_run, patch = f"{tests}/test_output.txt", f"{tests}/test_run.json", f"{tests}/patch.diff"
    found: dict[str, dict[str, Any]] = {
        "fetch_image": {"output": {"tarball": tarball}},
        "load_image": {"input": {"tarball": tarball}, "output": {"record": "outputs/images/x.loaded.json"}},
        "generate": {"output": {"trajectory": trajectory, "metadata": f"{run}/metadata.json"}},
        "run_tests": {
            "input": {"trajectory": trajectory},
            "output": {"test_output": log, "test_run": test_run, "patch": patch, "script": f"{tests}/eval.sh"},
        },
        "grade": {
            "trajectory": trajectory, "test_output": log, "test_run": test_run, "verdict": f"{run}/eval_output.jsonl",
            "report": f"{run}/eval_outputs/report.json", "official": f"{tests}/report.json", "outcome": outcomes[0],
            "session": "bench", "model": "m", "instance_id": name, "log": "outputs/grade.log",
        },
        "release_image": {"output": {"record": f"{results}/released.json"}},
        "summarize_model": {
            "input": {"outcomes": outcomes, "trajectories": [trajectory]},
            "output": {
                "summary": f"{results}/m_summary.txt", "predictions": f"{results}/m.preds.json",
                "run_report": f"{results}/m.run_report.json",
            },
        },
        "summarize": {
            "input": {"outcomes": outcomes},
            "output": {
                "table": f"{results}/results.csv", "report": f"{results}/final_report.txt",
                "summary": f"{results}/summary.json", "faults": f"{results}/faults.txt",
            },
        },
        "verify": {"input": {"faults": f"{results}/faults.txt"}, "output": {"complete": f"{results}/complete.json"}},
        "trajectory_pages": {"input": {"outcomes": outcomes}, "output": {"folder": f"{results}/html/m"}},
        "session_page": {
            "input": {"outcomes": outcomes, "pages": [f"{results}/html/m"]},
            "output": {"page": f"{results}/html/index.html", "single": f"{results}/html/session.html"},
        },
    }  # fmt: skip
    for stage, given in found.items():
        if stage != "grade":
            given |= {"wildcards": own, "params": {"uri": uri}, "log": [f"outputs/{stage}.log"], "threads": 1}
    return found


def work(stage: str, folder: Path) -> None:
    """In a process of its own: one script, with what Snakemake would give it."""
    given = json.loads((folder / "places.json").read_text())[stage]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    _make_folders(given)
    if stage == "grade":
        from trajmake.stages.grade import grade

        grade(config, **given)
        return
    if module := forked.STAGES.get(stage):  # forked off a server by its rule: the same function
        function = getattr(importlib.import_module(module), stage)
        known = {**given["wildcards"], **given["params"], **given.get("input", {}), **given["output"]}
        wanted = inspect.signature(function).parameters
        function(config, log=given["log"][0], **{name: value for name, value in known.items() if name in wanted})
        return
    script = SCRIPTS / f"{stage}.py"
    named = {name: SimpleNamespace(**part) if isinstance(part, dict) else part for name, part in given.items()}
    href = SimpleNamespace(child_path=lambda name: "x")
    snakemake = SimpleNamespace(config=config, report_href=lambda path: href, **named)
    exec(compile(script.read_text(), str(script), "exec"), {"snakemake": snakemake})


def _make_folders(given: Any) -> None:
    """As Snakemake does for outputs and logs; folders of others are not harmed by it."""
    if isinstance(given, dict):
        given = list(given.values())
    for part in given if isinstance(given, list) else []:
        _make_folders(part)
    if isinstance(given, str) and given.startswith("outputs/"):
        Path(given).parent.mkdir(parents=True, exist_ok=True)


def chain(folder: Path, row: dict[str, Any], megabytes: int, store: Path) -> dict[str, pairs.Cost]:
    """Every stage's cost, with a log of this size."""
    noise = f"yes '{LINE}' | head -c {megabytes * 10**6}"
    row = row | {"test_command": f"{noise}; {row['test_command']}"}
    fix = f"git apply - <<'END_OF_FIX'\n{row['patch']}END_OF_FIX"
    model = {"agent": "scripted", "commands": [fix, *["seq 1000000 | head -c 50000"] * LOOK]}
    limits = {"test_seconds": 3600}
    projects.make(
        folder, [row], models=["m"], catalog={"m": model}, engine="namespace", limits=limits,
        images={"keep": True, "store": str(store)},
    )  # fmt: skip
    (folder / "places.json").write_text(json.dumps(places(row)))
    costs = {}
    for stage in places(row):
        command = [sys.executable, str(Path(__file__).resolve()), "--stage", stage, str(folder)]
        costs[stage] = pairs.run(pairs.Side(stage, command, cwd=folder))
        print(f"{megabytes} MB: {stage}: {costs[stage].largest / 1e6:.0f} MB, {costs[stage].wall:.1f} s", flush=True)
    outcome = json.loads((folder / places(row)["grade"]["outcome"]).read_text())
    assert outcome["resolved"] is True, outcome
    size = (folder / places(row)["generate"]["output"]["trajectory"]).stat().st_size
    assert size > 3e6, f"a trajectory of {size} bytes"
    assert (folder / places(row)["run_tests"]["output"]["test_output"]).stat().st_size > megabytes * 10**6
    return costs


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--stage"]:
        work(sys.argv[2], Path(sys.argv[3]))
        return
    parser = pairs.options(__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 100, 1000], help="sizes of logs, ascending")
    chosen = parser.parse_args()
    result = pairs.Result("memory", chosen)
    row = projects.rows(1)[0]
    found: list[dict[str, pairs.Cost]] = []
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as scratch:
        for megabytes in chosen.megabytes:
            folder = Path(scratch) / str(megabytes)
            found.append(chain(folder, row, megabytes, Path(scratch) / "store"))
            shutil.rmtree(folder)
    for stage in found[0]:
        peaks = [costs[stage].largest * 1e-6 for costs in found]
        steps = ", ".join(f"{size} MB: {peak:.0f}" for size, peak in zip(chosen.megabytes, peaks, strict=True))
        what = f"{stage}: largest process, by the log's size ({steps})"
        result.add(pairs.row(what, peaks[-2:-1], peaks[-1:], 1.1, "MB"))
    result.note(
        "theirs and ours: the last two sizes of the log, one run each. 64 MB of a log are read; up to there peaks grow."
    )
    result.close()


if __name__ == "__main__":
    main()

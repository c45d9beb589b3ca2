"""What the pages and the report of a session of many runs cost.

    python bench/report.py [RUN] [INSTANCES] [TIMES] [FOLDER] [--quick] [--json FILE]

RUN is a project folder whose session ``demo`` is finished (``make demo``). A session of INSTANCES
for each model is made of its runs in a scratch folder (or in FOLDER, where it stays), each history TIMES as long;
its pages are made by Snakemake, then the reports, without a network where ``unshare`` may take it away.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pairs

from trajmake.datasets import Dataset

ROOT = Path(__file__).resolve().parents[1]
PARTS = ["Snakefile", "workflow", "profiles", "config", "trajmake", "environment.yml", "demo/replies"]
MODELS = ("fixer", "stumbler")
RUNS = Path("outputs/trajectories/demo")


def multiply(run: Path, target: Path, number: int, times: int) -> int:
    """Rows and runs of ``number`` instances, out of those that ``run`` has; the size of their trajectories."""
    data = Path("demo/data")
    rows = [json.loads(line) for line in (run / data / "instances.jsonl").read_text().splitlines()]
    (target / data).mkdir(parents=True)
    names = [(rows[index % len(rows)], f"{rows[index % len(rows)]['instance_id']}-{index}") for index in range(number)]
    lines = [json.dumps(row | {"instance_id": name}) + "\n" for row, name in names]
    (target / data / "instances.jsonl").write_text("".join(lines))
    (target / data / "images").symlink_to((run / data / "images").resolve())
    dataset = Dataset(target / data / "instances.jsonl")
    for model in MODELS:
        for row, name in names:
            old, new = run / RUNS / model / f"instance_{row['instance_id']}", target / RUNS / model / f"instance_{name}"
            _copy(old, new, row["instance_id"], name, dataset.digest(name), times)
    return sum(path.stat().st_size for path in (target / RUNS).rglob("output.jsonl"))


def _copy(old: Path, new: Path, was: str, name: str, digest: str, times: int) -> None:
    record = json.loads((old / "output.jsonl").read_text()) | {"instance_id": name}
    record["metadata"]["details"]["row_digest"] = digest
    record["history"] = _longer(record["history"], times)
    shutil.copytree(old / "eval_outputs" / was, new / "eval_outputs" / name)
    (new / "metadata.json").write_text(json.dumps(record["metadata"]))
    (new / "output.jsonl").write_text(json.dumps(record) + "\n")
    time.sleep(0.002)
    for path in sorted((new / "eval_outputs" / name).iterdir(), key=lambda path: path.name == "outcome.json"):
        text = path.read_text()
        if path.name in ("outcome.json", "report.json"):
            text = text.replace(json.dumps(was), json.dumps(name))
        path.write_text(text)


def _longer(history: list[dict[str, Any]], times: int) -> list[dict[str, Any]]:
    size = max(event["id"] for event in history) + 1
    moved = []
    for turn in range(times):
        for event in history:
            ids = {key: event[key] + turn * size for key in ("id", "cause") if isinstance(event.get(key), int)}
            moved.append(event | ids)
    return moved


def snakemake(target: Path, *arguments: str, offline: bool = False) -> float:
    """Run it and print what it cost; seconds of CPU."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    if offline and subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0:
        command = ["unshare", "-rn", *command]
    environ = os.environ | {"PYTHONPATH": str(target), "XDG_CACHE_HOME": str(target / ".cache")}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    streams: dict[str, Any] = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=target, env=environ, check=False, **streams)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "works on" not in done.stdout and "Testing" not in done.stdout, done.stdout[-3000:]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    network = ", no network" if command[0] == "unshare" else ""
    print(f"snakemake {' '.join(arguments)}: {seconds:.1f} s, of CPU {cpu:.1f} s{network}")
    return cpu


def main() -> None:
    """Measure and print."""
    parser = pairs.options(__doc__, pairs=1)
    parser.add_argument("run", nargs="?", type=Path, default=ROOT)
    parser.add_argument("instances", nargs="?", type=int, default=150)
    parser.add_argument("times", nargs="?", type=int, default=1)
    parser.add_argument("folder", nargs="?", type=Path)
    chosen = parser.parse_args()
    number = min(chosen.instances, 20) if chosen.quick else chosen.instances
    result = pairs.Result("report", chosen)
    with tempfile.TemporaryDirectory() as scratch:
        target = (chosen.folder or Path(scratch)).absolute()
        for part in PARTS:
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
            copy(ROOT / part, target / part)
        size = multiply(chosen.run, target, number, chosen.times)
        runs = f"{number * len(MODELS)} runs"
        print(f"{runs}, trajectories of {size / 1e6:.1f} MB")
        summaries = [f"outputs/results/demo/{name}_summary.txt" for name in MODELS]
        pages = Path("outputs/results/demo/html")
        targets = [str(pages / "index.html"), "outputs/results/demo/complete.json", *summaries]
        cpu = snakemake(target, "-j", "2", "--", *targets)
        result.add(pairs.figure(f"all pages and summaries of {runs}: CPU", cpu, "s"))
        sizes = {path.name: path.stat().st_size for path in (target / pages).glob("*.html")}
        sizes["pages of runs"] = sum(path.stat().st_size for path in (target / pages).glob("*/*.html"))
        for report in ("report.html", "report.zip"):
            cpu = snakemake(target, "--report", report, offline=True)
            sizes[report] = (target / report).stat().st_size
            result.add(pairs.figure(f"`--report {report}` of {runs}: CPU", cpu, "s"))
        result.add(*(pairs.figure(f"{name}: size", size / 1e6, "MB") for name, size in sizes.items()))
    result.close()


if __name__ == "__main__":
    main()

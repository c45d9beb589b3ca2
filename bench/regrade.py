"""How long it takes to grade a session again through Snakemake, without a container.

    python bench/regrade.py RUN [INSTANCES] [JOBS]

RUN is a project folder whose session ``demo`` has tested the model ``gold`` (for example
by ``snakemake calibrate``). A session of many instances is made of its saved logs in a
scratch folder; then its grading is forced, with no engine that could start a container.
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

from trajmake.datasets import Dataset

ROOT = Path(__file__).resolve().parents[1]
PARTS = ["Snakefile", "workflow", "profiles", "config", "trajmake", "environment.yml"]


def multiply(run: Path, target: Path, number: int) -> None:
    """Rows and trajectories of ``number`` instances, out of those that ``run`` has."""
    rows = [json.loads(line) for line in (run / "demo/data/instances.jsonl").read_text().splitlines()]
    folder = target / "demo/data"
    folder.mkdir(parents=True)
    names = [(rows[index % len(rows)], f"{rows[index % len(rows)]['instance_id']}-{index}") for index in range(number)]
    lines = [json.dumps(row | {"instance_id": name}) + "\n" for row, name in names]
    (folder / "instances.jsonl").write_text("".join(lines))
    shutil.copytree(run / "demo/data/images", folder / "images", symlinks=True)
    dataset = Dataset(folder / "instances.jsonl")
    gold = Path("outputs/trajectories/demo/gold")
    for row, name in names:
        old, new = run / gold / f"instance_{row['instance_id']}", target / gold / f"instance_{name}"
        shutil.copytree(old / "eval_outputs" / row["instance_id"], new / "eval_outputs" / name)
        record = json.loads((old / "output.jsonl").read_text()) | {"instance_id": name}
        record["metadata"]["details"]["row_digest"] = dataset.digest(name)
        (new / "metadata.json").write_text(json.dumps(record["metadata"]))
        (new / "output.jsonl").write_text(json.dumps(record) + "\n")
        time.sleep(0.002)
    for log in (target / gold).rglob("eval_outputs/*/*"):
        log.touch()


def main() -> None:
    run, number = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300
    jobs = sys.argv[3] if len(sys.argv) > 3 else str(os.cpu_count())
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch)
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
            copy(ROOT / part, target / part)
        multiply(run, target, number)
        # PATH without a container engine's client, and a daemon's address that does not answer.
        environ = os.environ | {"PYTHONPATH": str(target), "DOCKER_HOST": "unix:///nonexistent.sock"}
        results = [f"outputs/results/demo/{name}" for name in ("results.csv", "gold_summary.txt")]
        command = [sys.executable, "-m", "snakemake", "-j", jobs, "--config", "models=[gold]", "engine=docker"]
        spent = 0.0
        for what in ("first grading", "grading again"):
            started = time.perf_counter()
            done = subprocess.run(
                [*command, "--forcerun", "grade", "--", *results],
                cwd=target,
                env=environ,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            seconds = time.perf_counter() - started
            total = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu, spent = total.ru_utime + total.ru_stime - spent, total.ru_utime + total.ru_stime
            assert done.returncode == 0, done.stdout[-3000:]
            graded = done.stdout.count("Grading gold on")
            assert "works on" not in done.stdout and "Testing" not in done.stdout, done.stdout[-3000:]
            print(f"{what}: {graded} instances, -j {jobs}: {seconds:.1f} s, of CPU {cpu:.1f} s")


if __name__ == "__main__":
    main()

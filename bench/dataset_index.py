"""What a large dataset costs: 20,000 rows and 2 GB, ten of them planned.

Generates the dataset in a temporary folder, indexes it once, then runs
``snakemake -n`` for ten of its instances against the same ten rows alone, in
turns, and looks one row up as each job does. Prints times and peak memory.

    python bench/dataset_index.py [--rows 20000] [--gigabytes 2] [--folder DIR] [--quick] [--json FILE]
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pairs

ROOT = Path(__file__).resolve().parents[1]
LOOK_UP = """
import resource, sys, time
from trajmake.datasets import Dataset
empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
dataset = Dataset(sys.argv[1], sys.argv[2])
dataset.instance(sys.argv[3])
seconds = time.perf_counter() - start
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - empty) / 1024)
"""


def main() -> None:
    """Measure and print."""
    parser = pairs.options(__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", help="where the dataset is generated (default: the temporary folder)")
    arguments = parser.parse_args()
    result = pairs.Result("dataset_index", arguments)
    with tempfile.TemporaryDirectory(prefix="trajmake-bench-", dir=arguments.folder) as folder:
        measure(Path(folder), arguments.rows, int(arguments.gigabytes * 1e9), result)
    result.close()


def measure(folder: Path, count: int, size: int, result: pairs.Result) -> None:
    """Generate, index, plan, look up."""
    whole, few = folder / "whole.jsonl", folder / "few.jsonl"
    chosen = [f"owner__repo-{number}" for number in range(0, count, max(1, count // 10))][:10]
    generate(whole, few, count, size // count, set(chosen))
    print(f"dataset: {count} rows, {whole.stat().st_size / 1e9:.2f} GB")

    seconds, _, memory = look_up(whole, folder / "out" / "index", chosen[-1])
    (index,) = (folder / "out" / "index").glob("*.sqlite")
    print(f"first look (the index is made, {index.stat().st_size / 1e6:.1f} MB): {seconds:.1f} s, +{memory:.0f} MB")
    _, seconds, memory = look_up(whole, folder / "out" / "index", chosen[-1])
    print(f"one row from the index, as in each job: {1000 * seconds:.1f} ms, +{memory:.1f} MB")

    result.add(pairs.figure("one row from the index, as in each job", seconds, "s"))

    plans: dict[Path, list[tuple[float, float]]] = {whole: [], few: []}
    for path in [whole, few] * (result.pairs + result.warm_up):
        plans[path].append(dry_run(folder, path, chosen))
    large, small = (list(zip(*runs[result.warm_up :], strict=True)) for runs in plans.values())
    what = f"`snakemake -n` for ten rows of {count}, against the ten alone"
    result.add(pairs.row(f"{what}: wall", small[0], large[0]))
    result.add(pairs.row(f"{what}: peak of a process", small[1], large[1], unit="MB"))


def generate(whole: Path, few: Path, count: int, size: int, chosen: set[str]) -> None:
    """Rows as exports have them: long lists of tests, patches of many hunks, statements on one line."""
    random.seed(1)
    words = [f"w{random.getrandbits(24):x}" for _ in range(2000)]
    hunk = "@@ -1,3 +1,3 @@\n {}\n-{}\n+{}\n {}\n"
    with whole.open("w") as everything, few.open("w") as some:
        for number in range(count):
            commit = hashlib.sha1(str(number).encode()).hexdigest()
            head = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n"
            hunks = [hunk.format(*(" ".join(random.choices(words, k=6)) for _ in range(4))) for _ in range(size // 900)]
            ids = [f"tests/test_{words[i % 2000]}.py::test_{i}" for i in range(size // 80)]
            row = {
                "instance_id": f"owner__repo-{number}",
                "repo": "owner/repo",
                "base_commit": commit,
                "problem_statement": "\\n".join(" ".join(random.choices(words, k=10)) for _ in range(size // 3000)),
                "patch": head + "".join(hunks[: len(hunks) // 2]),
                "test_patch": head + "".join(hunks[len(hunks) // 2 :]),
                "FAIL_TO_PASS": json.dumps(ids[:3]),
                "PASS_TO_PASS": json.dumps(ids[3:]),
                "language": "python",
                "test_command": "pytest --no-header -rA --tb=no -p no:cacheprovider",
                "test_output_parser": "python/parse_log_pytest",
                "image_storage_uri": f"s3://bucket/owner_repo-{commit}.tar",
            }
            row["hints_text"] = "x" * max(0, size - len(json.dumps(row)) - 17)
            line = json.dumps(row) + "\n"
            everything.write(line)
            if row["instance_id"] in chosen:
                some.write(line)


def look_up(dataset: Path, index: Path, instance_id: str) -> tuple[float, float, float]:
    """Seconds with and without Python's start, and MB more than the imports, of one row in a process of its own."""
    start = time.perf_counter()
    command = [sys.executable, "-c", LOOK_UP, str(dataset), str(index), instance_id]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    seconds, memory = map(float, done.stdout.split())
    return time.perf_counter() - start, seconds, memory


def dry_run(folder: Path, dataset: Path, chosen: list[str]) -> tuple[float, float]:
    """Seconds and peak MB of ``snakemake -n``."""
    command = [sys.executable, "-m", "snakemake", "-n", "-q", "-s", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(ROOT / "config" / "config.yaml"), "--config", f"dataset={dataset}"]
    command += [f"output_dir={folder / 'out'}", "models=[gold]", f"instances=[{','.join(chosen)}]"]
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{said}")
    return seconds, usage.ru_maxrss / 1024


def environment() -> dict[str, str]:
    """This checkout's library."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    main()

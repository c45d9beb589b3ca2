"""What the workflow's graph costs against a bare Snakefile of the same shape (bench/bare.smk).

    python bench/graph.py [--pairs 5] [--sizes 300,3000] [--cases finished,fresh] [--folder DIR] [--json FILE]

A size is a number of runs: three models on a third of it. Files are made directly (bench/made_graphs.py); both sides
use the project's own profiles, so the same triggers and the same scheduler. Cases: a finished session (a dry run; a
real run that has nothing to do; one instance asked for by name; one forced), a session of which nothing is there
(a dry run), and every trajectory forced, by names in a profile.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import made_graphs
import pairs
import yaml

GOAL = 1.25
RUN = f"outputs/trajectories/{made_graphs.SESSION}/model-b/instance_some-owner__repository-00001"
ONE = f"{RUN}/eval_outputs/some-owner__repository-00001/outcome.json"
CASES = {
    "finished": ["-n"],
    "nothing to do": ["-j", "2"],
    "one by name": ["-n", ONE],
    "one forced": ["-n", "--forcerun", f"{RUN}/output.jsonl", "--"],
    "all forced": ["-n", "--profile", "forced"],
    "fresh": ["-n"],
}
DONE = ("finished", "nothing to do", "one by name")  # cases in which nothing may be left to do


def main() -> None:
    """Measure, print."""
    parser = pairs.options(__doc__)
    parser.add_argument("--sizes", help="numbers of runs (default: 300,3000; --quick: 300)")
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--folder", type=Path, help="keep what is made there, and take it from there the next time")
    chosen = parser.parse_args()
    result = pairs.Result("graph", chosen)
    sizes = [int(size) for size in (chosen.sizes or ("300" if chosen.quick else "300,3000")).split(",")]
    with tempfile.TemporaryDirectory(prefix="bench-graph-") as scratch:
        for size in sizes:
            for case in chosen.cases.split(","):
                sides = [side(kind, chosen.folder or Path(scratch), size, case) for kind in ("bare", "ours")]
                costs = pairs.compare(sides, result.pairs, result.warm_up)
                goals: dict[str, float | None] = {"wall": GOAL, "cpu": None, "largest": GOAL}
                result.add(*pairs.rows(f"{size:,} runs, {case}", costs["bare"], costs["ours"], goals))
    result.note("theirs: a bare Snakefile of the same rules and files, `shell: touch`, no functions, no parameters")
    result.close()


def side(kind: str, place: Path, size: int, case: str) -> pairs.Side:
    """One side of a comparison, made where it is not there yet."""
    finished = case != "fresh"
    folder = place / f"{kind}-{size}{'' if finished else '-fresh'}"
    if not folder.exists():
        print(f"making {folder.name}", flush=True)
        make: dict[str, Callable[[Path, int, bool], None]] = {"ours": made_graphs.ours, "bare": made_graphs.bare}
        make[kind](folder, size // len(made_graphs.MODELS), finished)
    elif kind == "ours":
        made_graphs.project(folder, again=True)
    forced = sorted(str(path.relative_to(folder)) for path in outputs(folder))
    (folder / "forced").mkdir(exist_ok=True)
    (folder / "forced/profile.yaml").write_text(yaml.safe_dump({"forcerun": forced, "resources": {"models": 1}}))
    profile = [] if "--profile" in CASES[case] else ["--profile", "hybrid"]
    command = [sys.executable, "-m", "snakemake", "--quiet", "progress", *profile, *CASES[case]]
    log = folder / "bench.log"

    def jobs() -> str:
        text = log.read_text()
        done = "Nothing to be done" in text
        assert done == (case in DONE), text[-2000:]
        return "nothing" if done else "jobs"

    return pairs.Side(kind, command, folder, made_graphs.environment(folder), product=jobs, log=log)


def outputs(folder: Path) -> list[Path]:
    """The trajectories of a finished session."""
    return list((folder / "outputs").glob(f"trajectories/{made_graphs.SESSION}/*/*/output.jsonl"))


if __name__ == "__main__":
    main()

"""What a run costs beside the model and the tests: the whole chain for an agent and tests that do nothing.

    python bench/overhead.py [--instances 100] [--engine namespace] [--against CHECKOUT] [--json FILE]

Each instance has an image of its own. Processor seconds of the whole tree of processes, by instance; the part that
does not grow with the instances (Snakemake's start, the summaries) is told by a session of a few. Every run must be
graded and none may be a fault.
"""

from __future__ import annotations

import csv
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import made_graphs
import pairs
import yaml

sys.path.insert(0, str(pairs.ROOT / "tests"))
FEW = 4  # instances of the session that shows what does not grow


def main() -> None:
    """Measure, print."""
    parser = pairs.options(__doc__, pairs=1)
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--engine", default="namespace")
    parser.add_argument("--against", type=Path, help="an earlier checkout, for a comparison in pairs")
    chosen = parser.parse_args()
    result = pairs.Result("overhead", chosen)
    number = 10 if chosen.quick else chosen.instances
    sides = {"ours": pairs.ROOT} | ({"theirs": chosen.against} if chosen.against else {})
    found: dict[str, list[tuple[float, pairs.Cost]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory(prefix="bench-overhead-") as folder:
        import small_instances

        rows = small_instances.make(Path(folder) / "images", number)
        for turn in range(result.pairs):
            for side in sides if turn % 2 else reversed(sides):
                few, all_of_them = (
                    measure(Path(folder) / "session", sides[side], rows[:count], chosen.engine)
                    for count in (FEW, number)
                )
                found[side].append(((all_of_them.cpu - few.cpu) / (number - FEW), all_of_them))
    what = f"CPU by instance, {number} instances, {chosen.engine}"
    each = {side: [cpu for cpu, _ in costs] for side, costs in found.items()}
    wall = {side: [cost.wall for _, cost in costs] for side, costs in found.items()}
    if chosen.against:
        result.add(
            pairs.row(what, each["theirs"], each["ours"], 0.5),
            pairs.row("wall of the session", wall["theirs"], wall["ours"]),
        )
        result.note(f"theirs: ours as it was at {chosen.against.name}")
    else:
        result.add(
            pairs.figure(what, statistics.median(each["ours"]), "s"),
            pairs.figure("wall of the session", statistics.median(wall["ours"]), "s"),
        )
    result.close()


def measure(place: Path, library: Path, rows: list[dict[str, Any]], engine: str) -> pairs.Cost:
    """Run a session of these rows with a checkout's workflow, and see that each is judged."""
    made_graphs.project(place, library)
    import small_instances

    small_instances.write(rows, place / "rows.jsonl")
    catalog = {name: {"agent": name} for name in ("gold", "empty")}
    config = {"session": "s", "dataset": "rows.jsonl", "models": ["empty"], "catalog": catalog, "engine": engine}
    config["images"] = {"store": str(place / "store")}
    (place / "config/config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "-j", "2", "--profile", "hybrid"]
    log = Path(tempfile.gettempdir()) / f"bench-overhead-{len(rows)}.log"
    cost = pairs.run(pairs.Side(f"{len(rows)} instances", command, place, made_graphs.environment(place), log=log))
    with (place / "outputs/results/s/results.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    states = {(row["Status"], row["Resolved"]) for row in table}
    assert len(table) == len(rows) and len(states) == 1, states
    shutil.rmtree(place)
    print(f"{library.name}: {len(rows)} instances: {cost.wall:.1f} s, of CPU {cost.cpu:.1f} s, {states}", flush=True)
    return cost


if __name__ == "__main__":
    main()

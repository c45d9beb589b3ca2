"""The benches' frame: what it compares, what it refuses, and that one failure leaves the other results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import pairs

BENCH = Path(pairs.__file__).parent
WORKS = """
import pairs
chosen = pairs.options("A bench.").parse_args()
result = pairs.Result("works", chosen)
result.add(pairs.row("thing: wall", [2.0], [1.0], 0.8))
result.close()
"""


def python(name: str, script: str, **facts) -> pairs.Side:
    return pairs.Side(name, [sys.executable, "-c", script], **facts)


def test_what_a_command_costs() -> None:
    """Its children's time and memory are in it; those of the process that measures are not."""
    child = "import time; x = bytearray(200_000_000); sum(range(10_000_000)); time.sleep(0.3)"
    cost = pairs.run(python("s", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"))
    small = pairs.run(python("s", "pass"))
    assert cost.largest > 200e6 and cost.together >= cost.largest and cost.cpu > small.cpu
    assert small.largest < 40e6 and small.wall > 0 and cost.wall > 0.3


def test_sides_take_turns_and_must_make_the_same(tmp_path: Path) -> None:
    """A faster wrong answer is no result."""
    made = tmp_path / "made"
    sides = [
        python(name, f"open({str(made)!r}, 'a').write({name!r})", product=lambda value=value: value)
        for name, value in (("a", 1), ("b", 1))
    ]
    costs = pairs.compare(sides, 2)
    assert made.read_text() == "baabba" and [len(found) for found in costs.values()] == [2, 2]
    with pytest.raises(AssertionError, match="did not produce the same"):
        pairs.compare([sides[0], python("c", "pass", product=lambda: 2)], 1, warm_up=False)
    with pytest.raises(RuntimeError, match="exit code 3"):
        pairs.compare([python("d", "raise SystemExit(3)")], 1)


def test_ratios_are_of_pairs() -> None:
    """Not of the two medians: a slow moment of the machine hits both of a pair."""
    line = pairs.row("x", [1.0, 10.0, 2.0], [0.5, 6.0, 1.8], 0.8)
    assert (line["ratio_min"], line["ratio_median"], line["ratio_max"]) == (0.5, 0.6, 0.9)
    assert pairs.met(line) and pairs.met(line | {"goal": 0.5}) is False and pairs.met(line | {"goal": None}) is None
    table = "\n".join(pairs.table([{"name": "n", "rows": [line | {"goal": 0.5}], "notes": ["why"]}]))
    assert "**0.600** (0.500 to 0.900) | 0.5: **missed**" in table and table.endswith("- n: why")


def test_one_bench_that_fails_leaves_the_others(tmp_path: Path) -> None:
    """The table names it, the page's prose stays, and the exit code says it."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "docs").mkdir()
    for name in ("all.py", "pairs.py", "measured.py"):
        (tmp_path / "bench" / name).write_text((BENCH / name).read_text())
    (tmp_path / "bench/grading.py").write_text("raise SystemExit('broken')")
    (tmp_path / "bench/memory.py").write_text(WORKS)
    page = tmp_path / "docs/performance.md"
    page.write_text("before\n<!-- make bench: begin -->\nold\n<!-- make bench: end -->\nafter\n")
    command = [sys.executable, str(tmp_path / "bench/all.py"), "--quick", "grading", "memory"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "failed: grading" in done.stderr, done.stderr
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| grading, quick | **failed**: exit code 1 |" in text and "0.8: met" in text
    results = json.loads((tmp_path / "bench/results.json").read_text())
    assert results["memory"]["rows"][0]["ratio_median"] == 0.5 and results["grading"]["error"]

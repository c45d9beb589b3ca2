"""Every bench, one after the other: ``bench/results.json``, and the table in ``docs/performance.md``.

    python bench/all.py [--quick] [--pairs N] [NAME...]

A bench that fails is told in the table, and the others' results stay; so does the last result of a bench that is
not run. The exit code is 1 where one failed. A goal that is missed is no failure: the table says it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pairs

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
# Names are files'; each with what it takes besides --json and --quick.
BENCHES: dict[str, list[list[str]]] = {
    "trajectories": [[]],
    "evaluation": [[]],
    "grading": [[]],
    "images": [[], ["--mbit", "1000"]],
    "graph": [
        ["--sizes", "300"],
        ["--sizes", "3000", "--cases", "finished,fresh", "--pairs", "2"],  # a pair: 3 minutes
        ["--sizes", "30000", "--cases", "one by name"],  # 2 minutes, after 20 to make the files
        ["--sizes", "30000", "--cases", "finished,nothing to do", "--quick"],  # a pair of each: 12 minutes, after 20
        ["--sizes", "30000", "--cases", "fresh", "--quick"],  # a pair: 15 minutes
    ],
    "overhead": [[]],
    "memory": [[]],
    "report": [[]],
    "watch": [[]],
    "dataset_index": [[]],
}
SECONDS = 7200  # of one bench


def measure(name: str, arguments: list[str], chosen: argparse.Namespace) -> dict[str, Any]:
    """The result of one bench, or how it failed."""
    title = " ".join([name, *arguments])
    print(f"\n=== {title}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-all-") as folder:
        file = Path(folder) / "result.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(file), *arguments]
        command += ["--pairs", str(chosen.pairs)] if chosen.pairs else []
        command += ["--quick"] if chosen.quick else []
        try:
            done = subprocess.run(command, timeout=SECONDS, check=False)
            why = f"exit code {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            why = f"not done after {SECONDS} s"
        result: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"rows": []}
    if why or not result["rows"]:
        result["error"] = why or "it wrote no result"
    if chosen.quick:
        result["quick"] = True
    return result | {"name": result.get("name", title), "at": time.strftime("%Y-%m-%d", time.gmtime())}


def publish(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write both files; the page's prose around the table stays."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"{PAGE} lacks the marks {BEGIN} and {END}")
    lines = pairs.table(list(results.values()))
    PAGE.write_text("\n".join([before + BEGIN, *_about(results), "", *lines, END]) + after)


def _about(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Versions and commands, once for all."""
    measured: dict[str, set[str]] = {}
    for result in results.values():
        for package, version in result.get("versions", {}).items():
            if version:
                measured.setdefault(package, set()).add(version)
    told = ", ".join(f"{package} {' and '.join(sorted(found))}" for package, found in measured.items())
    days = sorted({result["at"] for result in results.values()})
    commands = [f"`{command}`" for result in results.values() for command in result.get("commands", [])]
    return ["", f"Measured {' and '.join(days)} with {told}.", "", f"By {', '.join(dict.fromkeys(commands))}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="one pair of each, without a warm-up; not 30,000 runs")
    parser.add_argument("--pairs", type=int, help="so many pairs, instead of each bench's own number")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - BENCHES.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    failed = []
    for name in chosen.names or BENCHES:
        for arguments in BENCHES[name]:
            if chosen.quick and "30000" in arguments:  # an hour, even so
                continue
            title = " ".join([name, *arguments])
            results[title] = measure(name, arguments, chosen)
            publish(results)
            if "error" in results[title]:
                failed.append(title)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()

"""Two ways to do the same work, measured in turn (A B A B …) after a warm-up of each, and compared pair by pair.

Ratios are of one pair, so what a noisy machine does to both sides cancels; medians of absolute figures stand
beside them for orientation only. What is counted of a command: see :class:`Cost`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MEASURED = Path(__file__).with_name("measured.py")
SCALES = {"wall": (1, "s"), "cpu": (1, "s"), "machine": (1, "s"), "largest": (1e-6, "MB"), "together": (1e-6, "MB")}


@dataclass(frozen=True)
class Cost:
    """What one run of a command took.

    Attributes:
        wall: Seconds.
        cpu: Seconds in user and system mode of the process and its descendants, as far as somebody waited for
            them. The processes of containers are children of a daemon and not in it.
        machine: Processor seconds of the whole machine meanwhile: daemons and containers too, and other people's work.
        largest: Bytes of the largest process (peak resident size).
        together: Bytes of all its processes at once (proportional size, looked at five times a second).
        code: Exit code.
    """

    wall: float
    cpu: float
    machine: float
    largest: float
    together: float
    code: int


@dataclass(frozen=True)
class Side:
    """One way to do the work.

    Attributes:
        name: For people.
        command: What is measured.
        cwd: Where it runs.
        env: Changes of the environment.
        before: Not measured: makes the state that the command starts from.
        product: Not measured: what it made, which must be the same on all sides.
        log: Where its output goes.
    """

    name: str
    command: Sequence[str]
    cwd: Path = ROOT
    env: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], object] = lambda: None
    product: Callable[[], object] = lambda: None
    log: Path | None = None


def run(side: Side) -> Cost:
    """Run one side once.

    Raises:
        RuntimeError: its command failed.
    """
    side.before()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        report, log = Path(folder) / "cost.json", side.log or Path(folder) / "log"
        command = [sys.executable, "-I", "-S", str(MEASURED), str(report), *side.command]
        with log.open("wb") as stream:
            subprocess.run(
                command,
                cwd=side.cwd,
                env=environment() | side.env,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=True,
            )
        cost = Cost(**json.loads(report.read_text()))
        if cost.code:
            end = log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{side.name}: exit code {cost.code} of {' '.join(side.command)}\n{end}")
    return cost


def environment() -> dict[str, str]:
    """This process's, but for what would make every start compile its modules anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def compare(sides: Sequence[Side], pairs: int, warm_up: bool = True) -> dict[str, list[Cost]]:
    """Costs of each side by name, a round for each pair; the sides' order is turned around from round to round.

    Raises:
        AssertionError: two sides did not produce the same.
        RuntimeError: a command failed.
    """
    costs: dict[str, list[Cost]] = {side.name: [] for side in sides}
    for number in range(-1 if warm_up else 0, pairs):
        products = {}
        for side in sides if number % 2 == 0 else list(reversed(sides)):
            cost = run(side)
            products[side.name] = side.product()
            if number >= 0:
                costs[side.name].append(cost)
            turn = f"pair {number + 1}" if number >= 0 else "warm-up"
            print(f"{turn}: {side.name}: {cost.wall:.2f} s, of CPU {cost.cpu:.2f} s", flush=True)
        first = products[sides[0].name]
        for name, product in products.items():
            assert product == first, f"{name} and {sides[0].name} did not produce the same: {_unlike(product, first)}"
    return costs


def _unlike(one: object, other: object) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
        return "\n".join(f"{key}: {one.get(key)!s:.1500}\n  and {other.get(key)!s:.1500}" for key in keys[:3])
    return f"{one!s:.1500}\n  and {other!s:.1500}"


def rows(
    what: str, theirs: Sequence[Cost], ours: Sequence[Cost], goals: Mapping[str, float | None]
) -> list[dict[str, Any]]:
    """A row for each of ``goals``: names of :class:`Cost`'s figures and the most that ours may be of theirs."""
    made = []
    for figure, goal in goals.items():
        scale, unit = SCALES[figure]
        first, second = ([getattr(cost, figure) * scale for cost in side] for side in (theirs, ours))
        names = {"cpu": "CPU", "machine": "CPU of the machine", "largest": "peak of a process", "together": "peak"}
        made.append(row(f"{what}: {names.get(figure, figure)}", first, second, goal, unit))
    return made


def row(
    what: str, theirs: Sequence[float], ours: Sequence[float], goal: float | None = None, unit: str = "s"
) -> dict[str, Any]:
    """One line of the table: medians, and the ratio of ours to theirs pair by pair."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    return {
        "what": what,
        "theirs": statistics.median(theirs),
        "ours": statistics.median(ours),
        "unit": unit,
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "pairs": len(ratios),
        "goal": goal,
    }


def figure(what: str, ours: float, unit: str, goal: float | None = None) -> dict[str, Any]:
    """One line of the table that is compared with nothing; ``goal`` is the most that it may be, in its unit."""
    return {"what": what, "ours": ours, "unit": unit, "goal": goal}


def met(line: Mapping[str, Any]) -> bool | None:
    """Whether a line's goal is met; None without one."""
    value, goal = line.get("ratio_median", line["ours"]), line.get("goal")
    return None if goal is None else value <= goal


def versions(*packages: str) -> dict[str, str]:
    """What was measured: the checkout, the interpreter, the system, the packages named."""

    def said(*command: str) -> str:
        try:
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
        except FileNotFoundError:
            return ""

    found = {
        "trajmake": said("git", "describe", "--always", "--dirty", "--abbrev=10"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": str(os.cpu_count()),
        "docker": said("docker", "version", "--format", "{{.Server.Version}}"),
    }
    return found | {package: metadata.version(package) for package in ("snakemake", *packages)}


def options(description: str, pairs: int = 5) -> argparse.ArgumentParser:
    """What every bench understands."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=pairs, help=f"pairs after the warm-up (default: {pairs})")
    parser.add_argument("--quick", action="store_true", help="one pair, without a warm-up")
    parser.add_argument("--json", type=Path, help="file for the result")
    return parser


def _command(words: Sequence[str]) -> str:
    """As one would type it; where the result goes is left out."""
    given = list(words[1:])
    if "--json" in given:
        place = given.index("--json")
        del given[place : place + 2]
    return " ".join(["python", f"bench/{Path(words[0]).name}", *given])


class Result:
    """What a bench found, gathered from its start on."""

    def __init__(self, name: str, chosen: argparse.Namespace, *packages: str) -> None:
        self._chosen = chosen
        self._began = time.time()
        self.content: dict[str, Any] = {
            "name": name,
            "rows": [],
            "notes": [],
            "commands": [_command(sys.argv)],
            "versions": versions(*packages),
            "load": [round(os.getloadavg()[0], 1)],
        }

    @property
    def pairs(self) -> int:
        """How many to measure."""
        return 1 if self._chosen.quick else int(self._chosen.pairs)

    @property
    def warm_up(self) -> bool:
        """Whether a round goes ahead that does not count."""
        return not self._chosen.quick

    def add(self, *lines: dict[str, Any]) -> None:
        """Lines of the table."""
        self.content["rows"] += lines

    def note(self, text: str) -> None:
        """A sentence that belongs to the figures."""
        self.content["notes"].append(text)

    def close(self) -> None:
        """Print the table, and write the file that was asked for."""
        self.content["load"].append(round(os.getloadavg()[0], 1))
        self.content["seconds"] = round(time.time() - self._began)
        print("\n" + "\n".join(table([self.content])))
        if self._chosen.json:
            self._chosen.json.write_text(json.dumps(self.content, indent=1) + "\n")


def table(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Results as a Markdown table, notes beneath."""
    lines = ["| bench | what | theirs | ours | ours of theirs (least to most) | goal | pairs | load average |"]
    lines.append("|---" * lines[0].count(" |") + "|")
    notes = []
    for result in results:
        load = " to ".join(str(value) for value in result.get("load", []))
        name = f"{result['name']}, quick" if result.get("quick") else result["name"]
        if error := result.get("error"):
            lines.append(f"| {name} | **failed**: {error} |" + " |" * 6)
        for line in result.get("rows", []):
            lines.append(f"| {name} | {line['what']} | {' | '.join(_cells(line))} | {load} |")
        notes += [f"- {name}: {note}" for note in result.get("notes", [])]
    return [*lines, "", *notes] if notes else lines


def _cells(line: Mapping[str, Any]) -> list[str]:
    verdict = {True: ": met", False: ": **missed**", None: ""}[met(line)]
    goal = "" if line.get("goal") is None else f"{line['goal']:g}{verdict}"
    ours = f"{_short(line['ours'])} {line['unit']}"
    if "ratio_median" not in line:
        return ["", ours, "", goal, ""]
    ratio = f"**{line['ratio_median']:.3f}** ({line['ratio_min']:.3f} to {line['ratio_max']:.3f})"
    return [f"{_short(line['theirs'])} {line['unit']}", ours, ratio, goal, str(line.get("pairs", ""))]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"

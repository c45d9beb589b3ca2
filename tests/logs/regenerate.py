"""Run the small suites of this folder and record their logs: ``python tests/logs/regenerate.py [FRAMEWORK...]``.

Each folder holds a suite (``suite/``), by hand ``expected.json`` (commands, and
the statuses that follow from the suite's sources), and what this script writes:
``<run>.log`` and ``recorded.json`` (command and version behind each log).

The suites run in copies under ``--work``, a folder whose name tells nothing. The
JavaScript runners are looked for in ``<work>/node_modules``, the Python ones in
``<work>/python`` (a virtual environment); other tools are those on PATH. What is
not there is left as it was recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajmake.grading.log import clean

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """A command that runs a suite, and what its log must say.

    Attributes:
        framework: The folder's name.
        name: The log's name.
        needs: Commands, or files under the work folder, without which it cannot run.
        build: What comes before, unrecorded.
        command: The recorded command.
        version: The command that tells the version.
        parser: The name of the parser.
        statuses: Test id → status.
        live: The suite is fast enough to run in every test session.
    """

    framework: str
    name: str
    needs: tuple[str, ...]
    build: str
    command: str
    version: str
    parser: str
    statuses: dict[str, str]
    live: bool

    @property
    def log(self) -> Path:
        """The recorded log."""
        return HERE / self.framework / f"{self.name}.log"

    def missing(self, work: Path) -> list[str]:
        """What is needed and not there."""
        return [need for need in self.needs if not shutil.which(need) and not (work / need).exists()]

    def run(self, work: Path) -> str:
        """The output of the command in a copy of the suite."""
        folder = work / self.framework
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(HERE / self.framework / "suite", folder)
        if self.build:
            _bash(self.build, folder, check=True)
        return _bash(self.command, folder)


def runs() -> list[Run]:
    """Every run of every suite."""
    return [run for path in sorted(HERE.glob("*/expected.json")) for run in _runs_of(path)]


def _runs_of(path: Path) -> list[Run]:
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return [
        Run(
            path.parent.name,
            name,
            tuple(run.get("needs", table["needs"])),
            run.get("build", table.get("build", "")),
            run["command"],
            run.get("version", table["version"]),
            run["parser"],
            run["statuses"] if "statuses" in run else _differing(table["statuses"], run.get("but", {})),
            run.get("live", True),
        )
        for name, run in table["runs"].items()
    ]


def _differing(statuses: dict[str, str], but: dict[str, str | None]) -> dict[str, str]:
    """The suite's statuses where a run tells others; None is a test that it does not name."""
    return {name: status for name, status in (statuses | but).items() if status is not None}


def _bash(command: str, folder: Path, *, check: bool = False) -> str:
    path = os.pathsep.join([str(folder.parent / "node_modules" / ".bin"), str(folder.parent / "python" / "bin")])
    environment = {
        "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
        "HOME": os.environ["HOME"],
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=300,
    )
    output = done.stdout.decode("utf-8", errors="replace")
    if check and done.returncode:
        raise RuntimeError(f"{command!r} ended with {done.returncode}:\n{output}")
    return output


def main() -> None:
    """Record the logs that can be made here."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("frameworks", nargs="*")
    arguments.add_argument("--work", type=Path, default=Path("/tmp/suite"))
    options = arguments.parse_args()
    for run in runs():
        if options.frameworks and run.framework not in options.frameworks:
            continue
        missing = run.missing(options.work)
        if missing:
            print(f"{run.framework}/{run.name}: left as it is, for want of {', '.join(missing)}")
            continue
        run.log.write_text(run.run(options.work), encoding="utf-8")
        recorded = run.log.parent / "recorded.json"
        table = json.loads(recorded.read_text(encoding="utf-8")) if recorded.exists() else {}
        version = clean(_bash(run.version, options.work / run.framework)).strip().split("\n")[0]
        table[run.name] = {"command": run.command, "version": version}
        recorded.write_text(json.dumps(table, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{run.framework}/{run.name}: {len(run.log.read_text(encoding='utf-8'))} characters, {version}")


if __name__ == "__main__":
    main()

"""The whole workflow, run as a user runs it, in a copy of the project."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PARTS = [
    "Snakefile",
    "workflow",
    "profiles",
    "config",
    "trajmake",
    "environment.yml",
    "cluster",
    "generic",
    "hybrid",
    "parallel",
    "sequential",
]
PARTS += ["demo/replies"]


@dataclass
class Project:
    """A copy of the project with its own library, configuration and outputs."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, root: Path, data: Path, store: Path, **config) -> Project:
        """Copy the project; ``data`` (a prepared demo) is linked, its dataset copied."""
        for part in PARTS:
            target = root / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / part).is_symlink():
                target.symlink_to((ROOT / part).readlink())
            elif (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / part, target)
        folder = root / "demo" / "data"
        folder.mkdir(parents=True)
        shutil.copy2(data / "instances.jsonl", folder)
        (folder / "images").mkdir()
        for image in (data / "images").glob("*.tar"):
            (folder / "images" / image.name).symlink_to(image.resolve())
        project = cls(root)
        project.configure(images={"store": str(store)}, **config)
        return project

    def copy(self, root: Path) -> Project:
        """The same with everything it has produced, time stamps kept."""
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root, dict(self.environ))

    def configure(self, **changes) -> None:
        """Change keys of ``config/config.yaml``."""
        path = self.root / "config" / "config.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes, sort_keys=False))

    def snakemake(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake here; stdout and stderr in one text."""
        return self._run(self.command(*arguments), environ)

    def trajmake(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the command line here."""
        return self._run([sys.executable, "-c", "from trajmake.cli import main; main()", *arguments], environ)

    def _run(self, command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(**environ),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=600,
            check=False,
        )

    @contextlib.contextmanager
    def started(self, command: Sequence[str], output: str = "run.log") -> Iterator[subprocess.Popen[bytes]]:
        """A command at work while the block runs, as a process group of its own; that file has its output."""
        with (self.root / output).open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", *arguments]

    def environment(self, **environ: str) -> dict[str, str]:
        cleared = {
            k: v
            for k, v in os.environ.items()
            if not k.endswith("_API_KEY") and k not in ("DEBUG", "SNAKEMAKE_PROFILE")
        }
        cache = {"XDG_CACHE_HOME": str(self.root / ".cache"), "PYTHONPATH": str(self.root)}
        return cleared | cache | self.environ | environ

    def planned(self, *arguments: str, **environ: str) -> Plan:
        """What a dry run would do."""
        done = self.snakemake("-n", *arguments, **environ)
        assert done.returncode == 0, done.stdout
        return Plan(done.stdout)

    @property
    def rows(self) -> list[dict]:
        """The dataset's rows."""
        return [json.loads(line) for line in self.dataset.read_text().splitlines()]

    @property
    def dataset(self) -> Path:
        return self.root / "demo" / "data" / "instances.jsonl"

    @property
    def ids(self) -> list[str]:
        return [row["instance_id"] for row in self.rows]

    def results(self, session: str = "demo") -> dict[tuple[str, str], dict[str, str]]:
        """``results.csv`` by model and instance."""
        with (self.root / "outputs/results" / session / "results.csv").open(newline="") as stream:
            return {(row["Model"], row["Instance_ID"]): row for row in csv.DictReader(stream)}

    def outcome(self, model: str, instance_id: str, session: str = "demo") -> dict:
        """One run's ``outcome.json``."""
        return json.loads(
            (self.folder(model, instance_id, session) / f"eval_outputs/{instance_id}/outcome.json").read_text()
        )

    def folder(self, model: str, instance_id: str, session: str = "demo") -> Path:
        return self.root / "outputs/trajectories" / session / model / f"instance_{instance_id}"


class Plan:
    """A dry run's account: how many jobs of each rule, and who works on what."""

    def __init__(self, text: str) -> None:
        self.text = text
        stats = re.search(r"^job +count\n-+ +-+\n(.*?)^total", text, re.MULTILINE | re.DOTALL)
        lines = stats.group(1).splitlines() if stats else []
        self.jobs = {line.split()[0]: int(line.split()[1]) for line in lines}
        self.generated = sorted(set(re.findall(r"^Job \d+: (\S+) works on (\S+)$", text, re.MULTILINE)))
        self.graded = sorted(set(re.findall(r"^Job \d+: Grading (\S+) on (\S+)$", text, re.MULTILINE)))

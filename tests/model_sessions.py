"""Sessions of one small instance whose model is a server on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import small_instances
import yaml
from project import Project

from trajmake.llm.spending import Spending, Spent
from trajmake.stages.generate import generate

KEY = "sk-loopback-0123456789abcdef"
VARIABLE = "LOOPBACK_ACCESS"  # no word for a key in its name, and a line end in its value, as of a file
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"


@dataclass
class Sessions:
    """A copy of the project with small instances and a model ``served``."""

    project: Project
    rows: list[dict[str, Any]]

    @classmethod
    def make(cls, root: Path, store: Path, url: str = "", *, count: int = 1, **model: Any) -> Sessions:
        """``url`` is the server's; ``model`` adds to the settings of ``served``."""
        data = root / "data"
        (data / "images").mkdir(parents=True)
        rows = small_instances.make(root / "made", count)
        small_instances.write(rows, data / "instances.jsonl")
        project = Project.make(root / "project", data, store, models=["served"])
        sessions = cls(project, rows)
        # Byte code of the copied library: a session starts many processes.
        project.environ |= {VARIABLE: f"{KEY}\n", "PYTHONDONTWRITEBYTECODE": ""}
        sessions.configure(
            {
                "agent": "mini_swe_agent",
                "model": "openai/loopback-1",
                "api_key_env": VARIABLE,
                "base_url": url,
                "prices": {"input": 10, "output": 10},
            }
            | model
        )
        return sessions

    def configure(self, model: dict[str, Any] | None = None, **config: Any) -> None:
        """Change the settings of ``served``, or keys of the configuration."""
        catalog = yaml.safe_load((self.project.root / "config/config.yaml").read_text())["catalog"]
        catalog["served"] = catalog.get("served", {}) | (model or {})
        self.project.configure(catalog=catalog, **config)

    def folder(self, session: str, number: int = 0) -> Path:
        return self.project.folder("served", self.rows[number]["instance_id"], session)

    def journal(self, session: str, number: int = 0) -> Path:
        return self.folder(session, number) / "llm_completions" / self.rows[number]["instance_id"]

    def command(self, session: str, *options: str) -> Sequence[str]:
        """The command that makes the first instance's trajectory."""
        target = (self.folder(session) / "output.jsonl").relative_to(self.project.root)
        return [str(target), "-j", "1", *options, "--config", f"session={session}"]

    def run(self, session: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.project.snakemake(*self.command(session, *options))

    def inside(self, session: str) -> None:
        """The same job in this process, without Snakemake: litellm, which takes seconds to import, is here already."""
        config = yaml.safe_load((self.project.root / "config/config.yaml").read_text()) | {"session": session}
        folder = self.folder(session)
        before = dict(os.environ)
        os.environ |= self.project.environ
        try:
            with contextlib.chdir(self.project.root):
                generate(
                    config,
                    model="served",
                    instance_id=self.rows[0]["instance_id"],
                    trajectory=str(folder / "output.jsonl"),
                    metadata=str(folder / "metadata.json"),
                    log=f"outputs/logs/{session}/served/inside.log",
                )
        finally:
            os.environ.clear()
            os.environ |= before

    def killed(self, session: str, step: int, *options: str, driver: bool) -> None:
        """Run the command, and ``kill -9`` the job, or it and its driver, once answer ``step`` is journalled."""
        started = time.time()
        process = subprocess.Popen(
            self.project.command(*self.command(session, *options)),
            cwd=self.project.root,
            env=self.project.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        answer = self.journal(session) / f"{step:04d}.json"
        deadline = time.monotonic() + 120
        while not answer.exists() or answer.stat().st_mtime < started:  # not that of an attempt before
            assert process.poll() is None and time.monotonic() < deadline, f"no answer {step}"
            time.sleep(0.01)
        if driver:
            os.killpg(process.pid, signal.SIGKILL)
        job = int((self.folder(session) / ".claim").read_text().split()[1])
        try:
            os.kill(job, signal.SIGKILL)
        except ProcessLookupError:
            assert driver
        process.wait(timeout=60)
        assert not (self.folder(session) / "output.jsonl").exists()

    def spent(self, session: str) -> Spent:
        return Spending(self.project.root / f"outputs/results/{session}/spending").spent()

    def record(self, session: str, number: int = 0) -> dict[str, Any]:
        return json.loads((self.folder(session, number) / "output.jsonl").read_text())

"""Hostile commands of an agent, each through the real stages on each engine: a true status, within limits, no harm."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from model_sessions import SUBMIT, Sessions
from test_images_workflow import engine_or_skip

from trajmake.sessions import layout, status
from trajmake.stages.generate import generate
from trajmake.stages.grade import grade
from trajmake.stages.run_tests import run_tests

FIX = "echo 1 > value"
MARKER = "7654321"  # of processes that must not outlive their container
FAULTS_OF_THE_CONTAINER = {"environment_broken", "container_lost", "disk_full"}
CASES = {
    "fork bomb": [":() { : | : & }; :", FIX],
    "memory": ["head -c 2G /dev/zero | tail -c 2G | wc -c", FIX],
    "memory in /dev/shm": ["head -c 2G /dev/zero > /dev/shm/big", "rm /dev/shm/big", FIX],
    "disk": ["while :; do head -c 3M /dev/zero >> /big; sleep 0.1; done", "sleep 2", FIX],
    "a gigabyte of output": ["yes 'a line of noise' | head -c 1G", FIX],
    "a process that ignores SIGTERM": [f"trap '' TERM INT HUP QUIT; while :; do sleep {MARKER}; done", FIX],
    "no .git": [FIX, "rm -rf .git"],
    "another .git": [FIX, "rm -rf .git; git init -q .; git add -A"],
    "no repository": ["cd /; rm -rf /testbed"],
    "no permissions": [FIX, "chmod -R 000 . ; chmod 000 /tmp /root /etc"],
    "links out of the tree": [FIX, "ln -s / all; ln -s ../../../../etc/passwd up; rm -rf .git; ln -s /etc .git"],
    "a link in the place of a file": ["rm value; ln -s /etc/hostname value"],
    "a daemon that goes on": [
        FIX,
        f"setsid nohup bash -c 'trap \"\" TERM HUP; sleep {MARKER}' >/dev/null 2>&1 & sleep {MARKER} & disown -a",
    ],
    "writing everywhere": [
        FIX,
        "for f in /proc/sys/kernel/* /proc/sysrq-trigger /proc/*/oom_score_adj /sys/kernel/* /sys/fs/cgroup/*/* "
        "/dev/* /etc/* /usr/lib/* /lib64/* /usr/bin/*; do "
        "[ -f $f -o -b $f ] && echo broken > $f; done 2>/dev/null; true",
    ],
}
RESOLVED = set(CASES) - {"no repository", "a link in the place of a file", "writing everywhere"}
MAY_BREAK_ITSELF = {"writing everywhere", "no permissions"}


@dataclass
class Court:
    """Sessions on one engine, one instance per case."""

    sessions: Sessions
    engine: str

    def judge(self, number: int) -> tuple[dict, dict]:
        """Run the stages for a case; the trajectory and the outcome."""
        row = self.sessions.rows[number]["instance_id"]
        root = self.sessions.project.root
        config = yaml.safe_load((root / "config/config.yaml").read_text()) | {"session": "hostile"}
        run = {"session": "hostile", "model": "served", "instance_id": row}
        folder = Path("outputs") / layout.INSTANCE.format(**run)
        place = Path("outputs") / layout.EVALUATION.format(**run)
        tested = {"test_output": f"{place}/test_output.txt", "test_run": f"{place}/test_run.json"}
        trajectory = f"{folder}/output.jsonl"
        made = {"model": "served", "instance_id": row, "trajectory": trajectory, "log": f"outputs/{number}.log"}
        with contextlib.chdir(root):
            generate(config, metadata=f"{folder}/metadata.json", **made)
            run_tests(config, patch=f"{place}/patch.diff", script=f"{place}/eval.sh", **tested, **made)
            verdicts = {"verdict": f"{folder}/eval_output.jsonl", "report": f"{folder}/eval_outputs/report.json"}
            verdicts |= {"official": f"{place}/report.json", "outcome": f"{place}/outcome.json"}
            grade(config, session="hostile", **verdicts, **tested, **made)
            line = status.read(Path("outputs") / layout.STATUS.format(**run))
            outcome = json.loads(Path(verdicts["outcome"]).read_text())
            assert line is not None and line.status == outcome["status"]
            return json.loads(Path(trajectory).read_text()), outcome


@pytest.fixture(scope="module", params=["docker", "namespace"])
def court(request, tmp_path_factory, store) -> Iterator[Court]:
    engine_or_skip(request.param, store)
    folder = tmp_path_factory.mktemp(request.param)
    sessions = Sessions.make(folder, store, count=len(CASES), provider="scripted", replies=str(folder / "replies"))
    (folder / "replies").mkdir()
    for row, commands in zip(sessions.rows, CASES.values(), strict=True):
        turns = [{"thought": "Ha.", "commands": [command]} for command in [*commands, SUBMIT]]
        (folder / "replies" / f"{row['instance_id']}.yaml").write_text(yaml.safe_dump(turns))
    limits = {"command_seconds": 8, "instance_seconds": 120}
    sessions.configure(engine=request.param, limits=limits, container={"memory_mb": 300, "pids": 80, "disk_mb": 100})
    yield Court(sessions, request.param)
    for row in sessions.rows:
        engine = engine_or_skip(request.param, store)
        if image := engine.find(row["image_id"]):
            engine.remove(image.id)


def of_the_host() -> dict[str, str]:
    """What a container could harm: who may do what with devices, folders and kernel settings."""
    places = ["/dev/null", "/dev/zero", "/tmp", "/etc", "/root", "/usr/bin/env", "/proc/sys/kernel/core_pattern"]
    modes = {place: f"{os.stat(place).st_mode:o} {os.stat(place).st_uid}" for place in places}
    kernel = ["hostname", "core_pattern", "pid_max", "panic", "threads-max", "randomize_va_space"]
    return modes | {name: Path(f"/proc/sys/kernel/{name}").read_text() for name in kernel}


def outliving() -> list[str]:
    found = subprocess.run(["pgrep", "-f", f"sleep {MARKER}"], capture_output=True, text=True, check=False)
    return found.stdout.split()


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_command_harms_its_own_run_at_most(court: Court, case: str) -> None:
    before, started = of_the_host(), time.monotonic()
    record, outcome = court.judge(list(CASES).index(case))
    assert time.monotonic() - started < 120
    assert of_the_host() == before and outliving() == []
    if case in MAY_BREAK_ITSELF and outcome["status"] == "FAILED":
        assert outcome["fault_reason"] in FAULTS_OF_THE_CONTAINER and outcome["resolved"] is None
        return
    assert outcome["status"] == "SUCCESS", outcome["fault_message"]
    if case != "fork bomb":  # what is left of it may take the next command with it
        assert outcome["resolved"] is (case in RESOLVED), (outcome["message"], record["test_result"]["git_patch"])
    size = sum(path.stat().st_size for path in court.sessions.folder("hostile").parent.rglob("*") if path.is_file())
    assert size < 100 << 20

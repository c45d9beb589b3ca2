"""The wall time of a run, in a session on each engine: the patch so far is kept and tested, and nothing is left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from model_sessions import Sessions
from test_workflow import engine_or_skip


@pytest.mark.parametrize("engine", ["docker", "namespace"])
def test_instance_timeout_keeps_trajectory_and_patch_and_leaves_no_process(tmp_path, store, engine):
    """The command solves the bug, leaves a daemon behind that ignores SIGTERM, and hangs, ignoring it too."""
    engine_or_skip(engine)
    sessions = Sessions.make(tmp_path, store, provider="scripted", replies=str(tmp_path / "replies"))
    nap = f"{40_000 + os.getpid() % 10_000}.{int.from_bytes(os.urandom(3))}"  # a time that no other process sleeps
    hang = f"echo 1 > value; trap '' TERM; (trap '' TERM; setsid sleep {nap}) > /dev/null 2>&1 & sleep {nap}"
    (tmp_path / "replies").mkdir()
    replies = tmp_path / "replies" / f"{sessions.rows[0]['instance_id']}.yaml"
    replies.write_text(yaml.safe_dump([{"thought": "Hang.", "commands": [hang]}]))
    sessions.configure(engine=engine, images={"store": str(store)})

    done = sessions.project.snakemake("-j", "2", "--profile", "hybrid", INSTANCE_TIMEOUT="10")
    assert done.returncode == 0, done.stdout
    (row,) = sessions.project.results().values()
    assert (row["Status"], row["Exit_Code"], row["Agent_Exit"]) == ("TIMEOUT", "124", "time_limit")
    assert row["Resolved"] == "true"  # the patch so far
    record = json.loads((sessions.folder("demo") / "output.jsonl").read_text())
    assert nap in json.dumps(record["history"]) and 10 <= record["metadata"]["details"]["seconds"] < 100
    name = sessions.rows[0]["instance_id"]
    line = (sessions.project.root / f"outputs/progress/demo/served_{name}.status").read_text()
    assert line.split("|")[0] == "TIMEOUT" and len(line.strip().split("|")) == 3
    assert sleeping(nap) == []
    if engine == "docker":
        import docker

        label = f"trajmake.output={sessions.project.root / 'outputs'}"
        assert docker.from_env().containers.list(all=True, filters={"label": label}) == []


def sleeping(nap: str) -> list[str]:
    """Processes on this host, containers included, that have this word among their arguments."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended meanwhile
        if nap in words:
            found.append(place.parent.name)
    return found

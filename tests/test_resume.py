"""A run that died goes on where it was: nothing is bought twice, and the trajectory is the undisturbed one's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from model_sessions import SUBMIT, Sessions
from openai_server import Handler, OpenAIServer, answer_as, hang

from trajmake.llm.scripted import ScriptedProvider

# After the last answer no other is asked for: the command is what is killed.
STEPS = ["echo 1 > value", "cat value; false", f"sleep 5; {SUBMIT}"]


class Model:
    """A behaviour of the server that answers so many requests, and leaves the next ones unanswered."""

    def __init__(self, folder: Path) -> None:
        path = folder / "script.yaml"
        path.write_text(yaml.safe_dump([{"thought": "On.", "commands": [command]} for command in STEPS]))
        self.allowed = 100
        self.answered: list[str] = []
        self._answer = answer_as(ScriptedProvider(path, model="loopback-1"))

    def __call__(self, handler: Handler, body: dict[str, Any]) -> None:
        if len(self.answered) >= self.allowed:
            return hang()(handler, body)
        self.answered.append(json.dumps(body, sort_keys=True))
        self._answer(handler, body)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(tmp_path)


def timeless(value: Any) -> Any:
    """A record without times, the places of session and library, and the account of the replay."""
    left_out = {"timestamp", "latency", "started", "ended", "seconds", "start_time", "replay"}
    left_out |= {"eval_output_dir", "checkout", "git_commit"}
    left_out |= {"config_digest"}  # Snakemake's driver chooses the engine for all jobs; a job in this process its own
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in left_out}
    return [timeless(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("agent", ["mini_swe_agent", "openhands"])
def test_killed_after_each_step_it_buys_each_answer_once(agent, tmp_path, store, model, request):
    """``kill -9`` after every answer in turn, of the job alone or with its driver; always the same command."""
    with OpenAIServer(model) as server:
        sessions = Sessions.make(tmp_path, store, server.url, agent=agent)
        if agent == "openhands":
            sessions.project.configure(openhands={"bundles": str(request.getfixturevalue("bundles"))})
        sessions.inside("undisturbed")
        undisturbed, model.answered = model.answered, []
        for model.allowed in range(1, len(STEPS) + 1):
            sessions.killed("killed", model.allowed, driver=model.allowed % 2 == 0)
            assert model.answered == undisturbed[: model.allowed]
        asked = len(server.requests)
        done = sessions.run("killed")
        assert done.returncode == 0, done.stdout
        assert model.answered == undisturbed and len(server.requests) == asked
    first, second = sessions.record("undisturbed"), sessions.record("killed")
    assert timeless(first) == timeless(second)
    assert first["metadata"]["details"]["replay"] == {"steps": 0, "diverged": [], "ended_at": None}
    assert second["metadata"]["details"]["replay"] == {"steps": len(STEPS), "diverged": [], "ended_at": None}
    if agent == "mini_swe_agent":
        native = [
            json.loads((f := sessions.folder(s)).joinpath(f"{f.name[9:]}.traj.json").read_text())
            for s in ("undisturbed", "killed")
        ]
        assert timeless(native[0]) == timeless(native[1])


def test_a_forced_run_buys_a_new_trajectory_once(tmp_path, store, model):
    """What is finished is not replayed for ``--forcerun``; but a forced run that was killed goes on, forced or not."""
    count = len(STEPS)
    with OpenAIServer(model) as server:
        sessions = Sessions.make(tmp_path, store, server.url)
        name = sessions.rows[0]["instance_id"]
        target = sessions.command("forced")[0]
        sessions.inside("forced")
        (sessions.folder("forced") / "output.jsonl").unlink()  # lost, not unwanted
        sessions.inside("forced")
        assert sessions.spent("forced").completions == len(model.answered) == count
        model.allowed = count + 1
        sessions.killed("forced", 1, "--forcerun", target, driver=True)
        assert sessions.spent("forced").completions == count + 1
        model.allowed = 100
        assert sessions.run("forced", "--forcerun", target).returncode == 0
        assert sessions.spent("forced").completions == len(model.answered) == 2 * count
    journals = sorted(path.name for path in sessions.journal("forced").parent.iterdir())
    assert journals == [name, f"{name}.1"]
    assert {len(list((sessions.journal("forced").parent / path).glob("*.json"))) for path in journals} == {count}

"""A provider that misbehaves, in whole sessions: said with its words, repeated by the same command, without its key."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from model_sessions import KEY, SUBMIT, Sessions
from openai_server import OpenAIServer, answer, answer_as, by_model, fail, garbage, half
from test_images_workflow import engine_or_skip

from trajmake.llm.base import Completion
from trajmake.llm.errors import Transient
from trajmake.llm.gateway import Gateway
from trajmake.llm.litellm_provider import LiteLLMProvider
from trajmake.llm.retry import Retry
from trajmake.llm.scripted import ScriptedProvider

TASK = [{"role": "user", "content": "Go on."}]
LOOK = "env; cat /proc/*/environ | tr '\\0' '\\n'; ls -R /run /tmp 2>/dev/null; echo 1 > value"


def places_of_the_key(sessions: Sessions) -> str:
    """Every file that a session left and that holds the key."""
    command = ["grep", "-rlaF", KEY, str(sessions.project.root)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_a_refusal_is_one_request_and_the_key_is_nowhere(tmp_path: Path, store: Path) -> None:
    """401 in the middle, quoting the key: FAILED in its words, no trajectory, no storm; the next run goes on.

    The provider then writes the key into an answer, and the agent looks for it in its container. All that the
    session leaves is searched: outputs, journals, logs, Snakemake's metadata, the configuration.
    """
    engine_or_skip("namespace", store)
    behaviours = [
        answer(f"I know {KEY}.", [LOOK]),
        fail(401, f"Incorrect API key provided: {KEY}"),
        answer(f"Still {KEY}", [f"echo {KEY}; {SUBMIT}"], model="another-model"),
        answer("Done.", [SUBMIT], model="another-model"),
    ]
    with OpenAIServer(*behaviours) as server:
        sessions = Sessions.make(tmp_path, store, server.url)
        sessions.configure(session="keys", engine="namespace", debug=True)
        refused = sessions.project.snakemake("-j", "2")
        assert refused.returncode != 0
        assert "Incorrect API key provided: **********" in refused.stdout and "Hint: Look at the key" in refused.stdout
        record = sessions.record("keys")
        assert (record["fault"]["reason"], record["history"], record["test_result"]) == (
            "key_refused",
            [],
            {"git_patch": ""},
        )
        assert len((sessions.folder("keys") / "faults/generate.jsonl").read_text().splitlines()) == 1
        assert len(server.requests) == 2
        done = sessions.project.snakemake("-j", "2")
        assert done.returncode == 0, done.stdout
        assert len(server.requests) == 4
        assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    record = sessions.record("keys")
    details = record["metadata"]["details"]
    assert (details["exit_status"], details["replay"]["steps"]) == ("submitted", 1)
    seen = next(event["content"] for event in record["history"] if event.get("observation") == "run")
    assert "PATH=" in seen  # the agent did see an environment

    assert places_of_the_key(sessions) == "" and KEY not in refused.stdout + done.stdout

    # The model that answered was not the one that was asked for: every report of warnings says so.
    assert details["models_answered"] == ["another-model", "loopback-1"]
    (warning,) = sessions.project.outcome("served", sessions.rows[0]["instance_id"], "keys")["warnings"]
    assert warning == "asked for openai/loopback-1, answered by another-model"


@pytest.mark.parametrize("agent", ["mini_swe_agent", "openhands"])
def test_each_refusal_fails_in_the_providers_words_and_is_tried_again(
    agent: str, tmp_path: Path, store: Path, request: pytest.FixtureRequest
) -> None:
    """401 and 404 in one session: a request each; the same command, once the provider is mended, solves both."""
    refusals = {
        "locked": fail(401, f"Incorrect API key provided: {KEY}"),
        "absent": fail(404, "The model `absent` does not exist"),
    }
    script = tmp_path / "script.yaml"
    script.write_text(yaml.safe_dump([{"commands": ["echo 1 > value"]}, {"commands": [SUBMIT]}]))
    mended = answer_as(ScriptedProvider(script, model="loopback-1"))
    with OpenAIServer(by_model(**refusals)) as server:
        sessions = Sessions.make(tmp_path, store, server.url, agent=agent)
        if agent == "openhands":
            sessions.configure(openhands={"bundles": str(request.getfixturevalue("bundles"))})
        config = yaml.safe_load((sessions.project.root / "config/config.yaml").read_text())
        served = config["catalog"]["served"]
        catalog = {name: served | {"model": f"openai/{name}"} for name in refusals}
        sessions.project.configure(session="no", models=list(refusals), catalog=config["catalog"] | catalog)
        refused = sessions.project.snakemake("-j", "2")
        assert refused.returncode != 0
        assert [arrived.body["model"] for arrived in server.requests] == ["locked", "absent"]
        results = sessions.project.results("no")
        name = sessions.rows[0]["instance_id"]
        assert {model: results[model, name]["Fault_Reason"] for model in refusals} == {
            "locked": "key_refused",
            "absent": "provider_refused",
        }
        said = {model: results[model, name]["Fault_Message"] for model in refusals}
        assert "Incorrect API key provided: **********" in said["locked"]
        assert "The model `absent` does not exist" in said["absent"]
        for model in refusals:
            folder = sessions.project.folder(model, name, "no")
            record = json.loads((folder / "output.jsonl").read_text())
            assert (record["history"], record["test_result"]["git_patch"]) == ([], "")
            assert len((folder / "faults/generate.jsonl").read_text().splitlines()) == 1
            assert results[model, name]["Status"] == "FAILED" and results[model, name]["Resolved"] == ""
        assert (sessions.project.root / "outputs/results/no/faults.txt").read_text().count("Hint: ") == 2
        assert places_of_the_key(sessions) == "" and KEY not in refused.stdout
        server.behave(mended)
        server.requests.clear()
        done = sessions.project.snakemake("-j", "2")
        assert done.returncode == 0, done.stdout
        assert len(server.requests) == 4
    results = sessions.project.results("no")
    assert {(row["Status"], row["Resolved"]) for row in results.values()} == {("SUCCESS", "true")}


def test_the_key_is_in_no_docker_container(tmp_path: Path, store: Path) -> None:
    """Nor in what a run there leaves."""
    engine_or_skip("docker", store)
    with OpenAIServer(answer(f"I know {KEY}.", [LOOK]), answer(f"Still {KEY}", [SUBMIT])) as server:
        sessions = Sessions.make(tmp_path, store, server.url)
        sessions.configure(engine="docker", debug=True)
        sessions.inside("keys")
    seen = next(event["content"] for event in sessions.record("keys")["history"] if event.get("observation") == "run")
    assert "PATH=" in seen and places_of_the_key(sessions) == ""


def test_a_provider_that_is_down_for_a_while_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens, then rubbish comes, then an answer; 30 s of it at a tenth of the scale."""
    with OpenAIServer(answer("once")) as gone:
        LiteLLMProvider("openai/m", base_url=gone.url).complete(TASK, [])  # imports litellm
    with pytest.raises(Transient, match="Connection refused"):  # not by the client above, which is still connected
        LiteLLMProvider("openai/m", base_url=gone.url, request_seconds=5).complete(TASK, [])
    retry = Retry(first_wait=0.1, longest_wait=2.0, total_seconds=600)
    provider = LiteLLMProvider("openai/m", base_url=gone.url, request_seconds=5)
    door = Gateway(provider, tmp_path / "journal", model_name="m", retry=retry)
    back: list[OpenAIServer] = []
    asked: list[float] = []
    complete = provider.complete

    def counted(*request: Any) -> Completion:
        asked.append(time.monotonic())
        if len(asked) == 7:
            server = OpenAIServer(half(), garbage(), fail(502), answer("back"), port=gone.port)
            back.append(stack.enter_context(server))
        return complete(*request)

    monkeypatch.setattr(provider, "complete", counted)
    with contextlib.ExitStack() as stack:
        got = door.complete(TASK)
    assert got.message["content"] == "back" and asked[6] - asked[0] >= 2.5
    (entry,) = [json.loads(path.read_text()) for path in (tmp_path / "journal").iterdir()]
    assert entry["attempt"] == len(asked) == 10 and len(back[0].requests) == 4

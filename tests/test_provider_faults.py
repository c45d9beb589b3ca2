"""A provider that misbehaves, in whole sessions: said with its words, repeated by the same command, without its key."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

from model_sessions import KEY, SUBMIT, Sessions
from openai_server import OpenAIServer, answer, fail, garbage, half
from test_images_workflow import engine_or_skip

from trajmake.llm.gateway import Gateway
from trajmake.llm.litellm_provider import LiteLLMProvider
from trajmake.llm.retry import Retry

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


def test_the_key_is_in_no_docker_container(tmp_path: Path, store: Path) -> None:
    """Nor in what a run there leaves."""
    engine_or_skip("docker", store)
    with OpenAIServer(answer(f"I know {KEY}.", [LOOK]), answer(f"Still {KEY}", [SUBMIT])) as server:
        sessions = Sessions.make(tmp_path, store, server.url)
        sessions.configure(engine="docker", debug=True)
        sessions.inside("keys")
    seen = next(event["content"] for event in sessions.record("keys")["history"] if event.get("observation") == "run")
    assert "PATH=" in seen and places_of_the_key(sessions) == ""


def test_a_provider_that_is_down_for_a_while_is_survived(tmp_path: Path) -> None:
    """Nobody listens, then rubbish comes, then an answer; 30 s of it at a tenth of the scale."""
    with OpenAIServer(answer("once")) as gone:
        LiteLLMProvider("openai/m", base_url=gone.url).complete(TASK, [])  # imports litellm
    retry = Retry(first_wait=0.1, longest_wait=6.0, total_seconds=90)
    door = Gateway(
        LiteLLMProvider("openai/m", base_url=gone.url, request_seconds=5),
        tmp_path / "journal",
        model_name="m",
        retry=retry,
    )
    back: list[OpenAIServer] = []

    def come_back() -> None:
        time.sleep(3)
        back.append(OpenAIServer(half(), garbage(), fail(502), answer("back"), port=gone.port).__enter__())

    thread = threading.Thread(target=come_back)
    thread.start()
    started = time.monotonic()
    try:
        got = door.complete(TASK)
    finally:
        thread.join()
        back[0].__exit__(None, None, None)
    assert got.message["content"] == "back" and time.monotonic() - started >= 3
    (entry,) = [json.loads(path.read_text()) for path in (tmp_path / "journal").iterdir()]
    assert entry["attempt"] >= 7 and len(back[0].requests) == 4

"""The gateway and the providers behind it, against a real HTTP server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from openai_server import (
    Behaviour,
    Handler,
    OpenAIServer,
    answer,
    answer_as,
    drop,
    fail,
    garbage,
    half,
    hang,
    too_long,
)

from trajmake import llm
from trajmake.errors import (
    ConfigError,
    KeyMissingError,
    KeyRefusedError,
    ProviderDownError,
    ProviderRefusedError,
    TrajmakeError,
)
from trajmake.llm.base import Completion, Provider, Usage
from trajmake.llm.errors import ContextExceeded
from trajmake.llm.gateway import Gateway
from trajmake.llm.litellm_provider import LiteLLMProvider
from trajmake.llm.retry import Retry
from trajmake.llm.scripted import EXHAUSTED, ScriptedProvider
from trajmake.settings import ModelSettings

KEY = "sk-loopback-0123456789"
BASH = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Execute a bash command",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
    },
}
TASK = [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": "List the files."}]
QUICK = Retry(attempts=4, total_seconds=20, first_wait=0.01, longest_wait=0.02)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPBACK_KEY", KEY)


def real(server: OpenAIServer, model: str = "openai/loopback-1", **options: Any) -> LiteLLMProvider:
    options = {"api_key_env": "LOOPBACK_KEY", "request_seconds": 5} | options
    return LiteLLMProvider(model, base_url=server.url, **options)


def gateway(provider: Provider, journal: Path, **options: Any) -> Gateway:
    options = {"model_name": "openai/loopback-1", "retry": QUICK, "key_variables": ["LOOPBACK_KEY"]} | options
    return Gateway(provider, journal, **options)


def entries(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(journal.glob("*.json"))]


def test_tool_call_over_http(tmp_path: Path) -> None:
    """A request with tools reaches the server as configured, and its tool call comes back; so does the model named."""
    with OpenAIServer(answer("Looking.", ["ls -la"], model="another-model")) as server:
        door = gateway(real(server, temperature=0.5, max_output_tokens=77), tmp_path / "journal")
        got = door.complete(TASK, [BASH])
        sent = server.requests[0]
    assert json.loads(got.message["tool_calls"][0]["function"]["arguments"]) == {"command": "ls -la"}
    assert (got.message["content"], got.finish_reason, got.model) == ("Looking.", "tool_calls", "another-model")
    assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (100, 20)
    assert got.latency > 0 and abs(got.timestamp - time.time()) < 60
    assert sent.body["messages"] == TASK and sent.body["tools"] == [BASH]
    assert (sent.body["temperature"], sent.body["max_tokens"]) == (0.5, 77)
    assert sent.headers["Authorization"] == f"Bearer {KEY}"


def test_journal_is_written_before_the_answer_is_returned(tmp_path: Path) -> None:
    """Every completion is a whole file of its own, in order."""
    journal = tmp_path / "journal"
    with OpenAIServer(answer("one"), fail(500), answer("two")) as server:
        door = gateway(real(server), journal)
        first = door.complete(TASK, [BASH])
        assert len(entries(journal)) == 1
        door.complete([*TASK, first.message, {"role": "user", "content": "Go on."}], [BASH])
    one, two = entries(journal)
    assert sorted(path.name for path in journal.iterdir()) == ["0001.json", "0002.json"]
    assert one["message"]["content"] == "one" and one["messages"] == TASK and one["attempt"] == 1
    assert two["attempt"] == 2 and len(two["messages"]) == 4
    assert one["request_digest"] != two["request_digest"] and len(one["request_digest"]) == 64
    assert {"model", "usage", "cost", "latency", "timestamp", "response_id"} <= set(one)
    assert [c.message["content"] for c in door.completions] == ["one", "two"]


def test_an_answer_that_cannot_be_journalled_is_not_used(tmp_path: Path) -> None:
    """The agent never acts on a completion that is not on disk."""
    (tmp_path / "journal").write_text("a file where the folder should be")
    with OpenAIServer(answer("lost")) as server:
        door = gateway(real(server), tmp_path / "journal")
        with pytest.raises(OSError):
            door.complete(TASK)
    assert door.completions == []


def test_the_key_is_in_no_file_and_no_message(tmp_path: Path) -> None:
    """A provider that echoes the key, in an answer or in an error, does not get it into the journal or a fault."""
    journal = tmp_path / "journal"
    with OpenAIServer(answer(f"your key is {KEY}", [f"echo {KEY}"]), fail(401, f"bad key {KEY}")) as server:
        door = gateway(real(server), journal)
        got = door.complete([*TASK, {"role": "user", "content": KEY}])
        with pytest.raises(KeyRefusedError) as refused:
            door.complete(TASK)
    assert KEY not in "".join(path.read_text() for path in journal.iterdir())
    assert KEY not in json.dumps(got.message)
    assert KEY not in str(refused.value) and "bad key **********" in refused.value.message


def test_half_a_character_is_survived(tmp_path: Path) -> None:
    """An answer cut in the middle of a surrogate pair can be journalled and sent back."""
    with OpenAIServer(answer("\ud83d", ["echo \ud83d"]), answer("fine")) as server:
        door = gateway(real(server), tmp_path / "journal")
        first = door.complete(TASK, [BASH])
        door.complete([*TASK, first.message, {"role": "tool", "tool_call_id": "call_1", "content": "x"}], [BASH])
    assert first.message["content"] == "\ufffd" and len(entries(tmp_path / "journal")) == 2


@pytest.mark.parametrize(
    "trouble",
    [fail(429), fail(500), fail(503), drop(), half(), garbage(), garbage(b'{"choices": []}'), garbage(b"[]")],
    ids=["429", "500", "503", "dropped", "half", "html", "no-choices", "a-list"],
)
def test_passing_trouble_is_waited_out(trouble: Behaviour, tmp_path: Path) -> None:
    """Whatever may pass is tried again, and the agent sees nothing of it."""
    with OpenAIServer(trouble, trouble, answer("at last")) as server:
        got = gateway(real(server), tmp_path / "journal").complete(TASK)
        assert len(server.requests) == 3
    assert got.message["content"] == "at last"
    assert [entry["attempt"] for entry in entries(tmp_path / "journal")] == [3]


def test_a_hanging_provider_is_given_up_and_asked_again(tmp_path: Path) -> None:
    """No answer within the request's time counts as trouble that may pass."""
    with OpenAIServer(hang(), answer("awake")) as server:
        got = gateway(real(server, request_seconds=0.5), tmp_path / "journal").complete(TASK)
    assert got.message["content"] == "awake"


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(form: str, tmp_path: Path) -> None:
    """The provider's wish outweighs our own shorter wait, in both of its forms."""

    def busy(handler: Handler, body: dict[str, Any]) -> None:
        wish = 1 if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
        fail(429, retry_after=wish)(handler, body)

    with OpenAIServer(busy, answer("now")) as server:
        gateway(real(server), tmp_path / "journal").complete(TASK)
        assert server.requests[1].at - server.requests[0].at >= 0.9


def test_a_wish_beyond_our_patience_ends_it_at_once(tmp_path: Path) -> None:
    """An hour's Retry-After is not slept through."""
    with OpenAIServer(fail(429, "slow down", retry_after=3600)) as server:
        start = time.monotonic()
        with pytest.raises(ProviderDownError, match=r"slow down It asks to wait 3600 s more"):
            gateway(real(server), tmp_path / "journal").complete(TASK)
        assert len(server.requests) == 1 and time.monotonic() - start < 10


def test_a_provider_that_stays_down_is_a_fault(tmp_path: Path) -> None:
    """After all attempts the fault names the model, the count and the provider's words; nothing is journalled."""
    with OpenAIServer(fail(503, "over capacity")) as server:
        with pytest.raises(ProviderDownError, match=r"openai/loopback-1 gave no answer to 4 request.*over capacity"):
            gateway(real(server), tmp_path / "journal").complete(TASK)
        assert len(server.requests) == 4
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (fail(401, "bad key"), KeyRefusedError, "bad key"),
        (fail(403, "not yours"), KeyRefusedError, "not yours"),
        (fail(404, "no such model"), ProviderRefusedError, "no such model"),
        (fail(400, "bad request"), ProviderRefusedError, "bad request"),
        (fail(422, "odd tool"), ProviderRefusedError, "odd tool"),
        (fail(429, "pay first", code="insufficient_quota"), ProviderRefusedError, "pay first"),
    ],
    ids=["401", "403", "404", "400", "422", "quota"],
)
def test_trouble_that_stays_fails_at_once(
    trouble: Behaviour, kind: type[TrajmakeError], words: str, tmp_path: Path
) -> None:
    """One request, the provider's words, a hint: no retry storm."""
    with OpenAIServer(trouble) as server:
        with pytest.raises(kind, match=words) as refused:
            gateway(real(server), tmp_path / "journal").complete(TASK)
        assert len(server.requests) == 1
    assert refused.value.hint


@pytest.mark.parametrize("trouble", [too_long(), fail(400, "zu lang", code="context_length_exceeded")])
def test_too_long_a_conversation_is_no_fault(trouble: Behaviour, tmp_path: Path) -> None:
    """It is the agent's limit, by the provider's words or by its code."""
    with OpenAIServer(trouble) as server, pytest.raises(ContextExceeded):
        gateway(real(server), tmp_path / "journal").complete(TASK)


def test_a_missing_key_is_named_before_any_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault names variable and model; the variable is looked up at the call, not before."""
    with OpenAIServer(answer("hello")) as server:
        door = gateway(real(server), tmp_path / "journal")
        monkeypatch.delenv("LOOPBACK_KEY")
        with pytest.raises(KeyMissingError, match=r"openai/loopback-1.*LOOPBACK_KEY"):
            door.complete(TASK)
        assert server.requests == []
        monkeypatch.setenv("LOOPBACK_KEY", KEY)
        assert door.complete(TASK).message["content"] == "hello"


def test_a_local_server_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a variable, a key of the user's for somebody else is not sent to ``base_url``."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-users-own-key")
    with OpenAIServer(answer("hello")) as server:
        gateway(real(server, api_key_env=""), tmp_path / "journal").complete(TASK)
        assert server.requests[0].headers["Authorization"] == "Bearer none"


def test_prices(tmp_path: Path) -> None:
    """Configured prices, else litellm's table (of the model named, else of the one asked for), else unknown: None."""
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=100_000)
    with OpenAIServer(answer("x", usage=usage), answer("x", usage=usage, model="gpt-5.2-2099-01-01")) as server:
        priced = gateway(real(server), tmp_path / "a", prices=(2.0, 10.0)).complete(TASK)
        listed = gateway(real(server, model="openai/gpt-5.2"), tmp_path / "b").complete(TASK)
    assert priced.cost == pytest.approx(3.0)
    assert listed.cost is not None and listed.cost > 0
    with OpenAIServer(answer("x", usage=usage, model="not-listed")) as server:
        unknown = gateway(real(server, model="openai/not-listed"), tmp_path / "c").complete(TASK)
    assert unknown.cost is None and entries(tmp_path / "c")[0]["cost"] is None


def test_anthropic_is_asked_to_cache_the_conversation(tmp_path: Path) -> None:
    """Its prompt cache works only where the request marks an end; cached tokens come back in the usage."""
    reply = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-6",
        "content": [{"type": "text", "text": "ok"}],
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": 100,
            "output_tokens": 50,
            "cache_read_input_tokens": 1000,
            "cache_creation_input_tokens": 200,
        },
    }
    with OpenAIServer(garbage(json.dumps(reply).encode())) as server:
        provider = LiteLLMProvider(
            "anthropic/claude-opus-4-6", api_key_env="LOOPBACK_KEY", base_url=server.url.removesuffix("/v1")
        )
        got = gateway(provider, tmp_path / "journal").complete(TASK, [BASH])
        sent = server.requests[0].body
    assert sent["messages"][-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert (got.usage.cache_read_tokens, got.usage.cache_write_tokens) == (1000, 200)
    assert got.cost is not None and got.cost > 0


SCRIPT = """
- thought: Look around.
  commands: ["ls", "git status"]
- thought: I forgot the tool call.
  commands: []
- thought: Done.
  commands: [echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT]
"""


def scripted(tmp_path: Path, text: str = SCRIPT) -> ScriptedProvider:
    path = tmp_path / "script.yaml"
    path.write_text(text)
    return ScriptedProvider(path, model="script-1")


def commands(got: Completion) -> list[str]:
    return [json.loads(call["function"]["arguments"])["command"] for call in got.message.get("tool_calls", [])]


def test_script_follows_the_conversation(tmp_path: Path) -> None:
    """The turn is read off the request: the same one again gets the same answer, from another object too."""
    provider = scripted(tmp_path)
    first = provider.complete(TASK, [BASH])
    assert commands(first) == ["ls", "git status"] and first.finish_reason == "tool_calls"
    outputs = [{"role": "tool", "tool_call_id": call["id"], "content": "x"} for call in first.message["tool_calls"]]
    second = provider.complete([*TASK, first.message, *outputs], [BASH])
    assert commands(second) == [] and second.finish_reason == "stop"
    # mini-swe-agent drops the answer it cannot parse and only complains.
    complaint = {"role": "user", "content": "No tool call found."}
    third = provider.complete([*TASK, first.message, *outputs, complaint], [BASH])
    assert commands(third) == ["echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"]
    # Another agent keeps it, and complains after it.
    kept = provider.complete([*TASK, first.message, *outputs, second.message, complaint], [BASH])
    assert commands(kept) == commands(third)
    assert scripted(tmp_path).complete(TASK, [BASH]) == first
    assert third.usage.prompt_tokens > first.usage.prompt_tokens > 0 and first.usage.completion_tokens > 0


def test_script_ends_without_inventing_a_submission(tmp_path: Path) -> None:
    """After the last turn comes a plain message, unless the script says that the last turn repeats."""
    five = [*TASK, *({"role": "assistant", "content": str(n)} for n in range(5))]
    assert scripted(tmp_path).complete(five, [BASH]).message == {"role": "assistant", "content": EXHAUSTED}
    again = scripted(tmp_path, "{turns: [{commands: [ls]}, {commands: [pwd]}], repeat: true}")
    assert commands(again.complete(five, [BASH])) == ["pwd"]


@pytest.mark.parametrize(
    "text", ["", "just: text", "- commands: ls", "- thoughts: x", "- commands: [1]", "[]", "- [", "turns: 3"]
)
def test_a_file_that_is_no_script_is_refused(text: str, tmp_path: Path) -> None:
    """With the file's name."""
    with pytest.raises(ConfigError, match=r"script\.yaml"):
        scripted(tmp_path, text)


def test_open_door_follows_the_settings(tmp_path: Path) -> None:
    """A configured scripted model answers from the file of its instance, at its prices, over HTTP as in-process."""
    (tmp_path / "owner%2Frepo-1.yaml").write_text(SCRIPT)
    model = ModelSettings.model_validate(
        {"provider": "scripted", "replies": str(tmp_path), "prices": {"input": 3, "output": 15}}
    )
    got = llm.open_door(model, "owner/repo-1", tmp_path / "a").complete(TASK, [BASH])
    assert got.cost == pytest.approx((got.usage.prompt_tokens * 3 + got.usage.completion_tokens * 15) / 1e6)
    with pytest.raises(ConfigError, match=r"No scripted replies at .*other\.yaml"):
        llm.open_door(model, "other", tmp_path / "b")
    with OpenAIServer(answer_as(ScriptedProvider(tmp_path / "owner%2Frepo-1.yaml", model="script-1"))) as server:
        settings = ModelSettings.model_validate(
            {"model": "openai/script-1", "base_url": server.url, "api_key_env": "LOOPBACK_KEY"}
        )
        over_http = llm.open_door(settings, "owner/repo-1", tmp_path / "c").complete(TASK, [BASH])
    assert commands(over_http) == commands(got)


def test_waits_grow_and_are_bounded() -> None:
    """Doubling, half of it by chance, up to the bound; ten attempts survive two minutes of trouble."""
    retry = Retry()
    for attempt, longest in enumerate([1, 2, 4, 8, 16, 32, 60, 60, 60], 1):
        assert all(longest / 2 <= retry.wait(attempt) <= longest for _ in range(50))
    assert len({retry.wait(3) for _ in range(20)}) > 1


def test_litellm_is_imported_late_and_quietly(tmp_path: Path) -> None:
    """Making a door costs nothing; the first request reads no ``.env`` and prints nothing."""
    (tmp_path / ".env").write_text("LOOPBACK_KEY=from-a-file-nobody-named\n")
    with OpenAIServer(answer("hello")) as server:
        program = f"""
import os, sys
from pathlib import Path
from trajmake.llm.gateway import Gateway
from trajmake.llm.litellm_provider import LiteLLMProvider
door = Gateway(LiteLLMProvider("openai/m", base_url={server.url!r}), Path("journal"), model_name="m")
assert "litellm" not in sys.modules and "openai" not in sys.modules
before = dict(os.environ)
assert door.complete([dict(role="user", content="hi")]).message["content"] == "hello"
assert {{k: v for k, v in os.environ.items() if k not in before}} == {{}}, set(os.environ) - set(before)
"""
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent.parent)}
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".env", "journal"]

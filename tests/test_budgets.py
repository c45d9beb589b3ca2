"""What a session may spend and how fast it may ask: over jobs, hosts and restarts."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from model_sessions import SUBMIT, Sessions
from openai_server import OpenAIServer, answer, garbage

from trajmake.agents import mini_swe_agent
from trajmake.errors import BudgetSpentError, ConfigError
from trajmake.llm import readiness
from trajmake.llm.base import Usage
from trajmake.llm.gateway import Gateway
from trajmake.llm.litellm_provider import LiteLLMProvider
from trajmake.llm.pace import Pace
from trajmake.llm.spending import Spending, Spent
from trajmake.settings import Settings

TASK = [{"role": "user", "content": "Go on."}]


def side_by_side(program: str, *arguments: str, count: int) -> list[str]:
    """Run a program in ``count`` processes at once; gives what each printed."""
    started = [
        subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    printed = [process.communicate(timeout=120)[0] for process in started]
    assert all(process.returncode == 0 for process in started)
    return printed


ADD = """
import sys
from pathlib import Path
from trajmake.llm.spending import Spending
for _ in range(40):
    Spending(Path(sys.argv[1])).add(0.25)
"""


def test_no_completion_is_lost_or_counted_twice(tmp_path: Path) -> None:
    """Four processes that add at once, and what another host has left."""
    (tmp_path / "other-host.json").write_text(json.dumps({"usd": 2.5, "completions": 7, "unpriced": 1}))
    side_by_side(ADD, str(tmp_path), count=4)
    assert Spending(tmp_path).spent() == Spent(2.5 + 160 * 0.25, 167, 1)
    with pytest.raises(BudgetSpentError, match=r"has spent 42\.50 of its 40 USD") as spent:
        Spending(tmp_path, 40).check()
    assert "limits.session_usd" in spent.value.hint
    Spending(tmp_path, 43).check()
    Spending(tmp_path, 0).check()


def test_a_damaged_sum_is_no_small_one(tmp_path: Path) -> None:
    """Spending on, because the file cannot be read, would be the user's loss."""
    (tmp_path / "other-host.json").write_text('{"usd": 2.5, "compl')
    with pytest.raises(ValueError):
        Spending(tmp_path, 40).check()


def test_nothing_is_asked_once_the_session_has_spent_its_money(tmp_path: Path) -> None:
    """The check comes before the request; the answer that crosses the line is used and counted."""
    with OpenAIServer(answer("x", usage=Usage(prompt_tokens=600_000))) as server:
        spending = Spending(tmp_path / "spending", 1.0)
        provider = LiteLLMProvider("openai/m", base_url=server.url)
        door = Gateway(provider, tmp_path / "a", model_name="m", prices=(1.0, 1.0), spending=spending)
        door.complete(TASK)
        door.complete(TASK)
        with pytest.raises(BudgetSpentError):
            door.complete(TASK)
        other = Gateway(provider, tmp_path / "b", model_name="m", prices=(1.0, 1.0), spending=spending)
        with pytest.raises(BudgetSpentError):
            other.check()
        assert len(server.requests) == 2
    again = Gateway(provider, tmp_path / "a", model_name="m", prices=(1.0, 1.0), spending=spending)
    again.check()  # it has answers to go on with; perhaps they suffice
    assert [again.complete(TASK).message["content"] for _ in range(2)] == ["x", "x"]
    assert spending.spent() == Spent(1.2, 2, 0)


def test_an_answer_without_tokens_has_no_price(tmp_path: Path) -> None:
    """Unknown is never 0: it ends a run of a session that has a budget, once it is journalled."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
    reply = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    with OpenAIServer(garbage(json.dumps(reply).encode())) as server:
        provider = LiteLLMProvider("openai/m", base_url=server.url)
        free = Gateway(provider, tmp_path / "a", model_name="m", prices=(1.0, 1.0))
        assert free.complete(TASK).cost is None
        spending = Spending(tmp_path / "spending", 1.0)
        held = Gateway(provider, tmp_path / "b", model_name="m", prices=(1.0, 1.0), spending=spending)
        with pytest.raises(BudgetSpentError, match="no known price"):
            held.complete(TASK)
        own = Gateway(provider, tmp_path / "c", model_name="m", prices=(0.0, 0.0), spending=spending)
        assert own.complete(TASK).cost == 0
    negative = json.dumps(reply | {"usage": {"prompt_tokens": -5, "completion_tokens": -5, "total_tokens": -10}})
    with OpenAIServer(garbage(negative.encode())) as server:
        provider = LiteLLMProvider("openai/m", base_url=server.url)
        assert Gateway(provider, tmp_path / "d", model_name="m", prices=(1.0, 1.0)).complete(TASK).cost is None
    assert spending.spent() == Spent(0.0, 2, 1) and (tmp_path / "b" / "0001.json").exists()
    assert len(held.completions) == 1


def settings(session_usd: float, **model: Any) -> Settings:
    entry = {"model": "openai/not-in-any-table"} | model
    return Settings.model_validate(
        {"dataset": "x", "models": ["m", "gold"], "catalog": {"m": entry}, "limits": {"session_usd": session_usd}}
    )


def test_what_cannot_work_is_said_before_the_first_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A budget on a model that neither the configuration nor litellm has a price of; prompts; keys."""
    none = Spending(tmp_path)
    with pytest.raises(ConfigError, match=r"price of m is unknown") as refused:
        readiness.check(settings(1), none)
    assert "`prices`" in refused.value.hint
    assert readiness.check(settings(1, prices={"input": 0, "output": 0}), none) == []
    assert readiness.check(settings(1, model="openai/gpt-5.2"), none) == []
    assert readiness.check(settings(0), none) == []
    with pytest.raises(ConfigError):
        readiness.check(settings(1, provider="scripted", replies="x"), none)
    prompt = tmp_path / "prompt.yaml"
    prompt.write_text(mini_swe_agent.PROMPT.read_text().replace("{{task}}", "{{task"))
    for agent in ("mini_swe_agent", "openhands"):
        with pytest.raises(ConfigError, match=r"prompt\.yaml"):
            readiness.check(settings(0, agent=agent, prompt_file=str(prompt)), none)
    monkeypatch.delenv("SOME_KEY", raising=False)
    assert "SOME_KEY" in readiness.check(settings(0, api_key_env="SOME_KEY"), none)[0]


JOBS = """
import os, sys
from pathlib import Path
import yaml
from trajmake.stages.generate import generate
config = yaml.safe_load(Path("config/config.yaml").read_text())
for folder in map(Path, sys.argv[1:]):
    if not os.fork():
        instance_id = folder.name.removeprefix("instance_")
        places = {"trajectory": f"{folder}/output.jsonl", "metadata": f"{folder}/metadata.json", "log": f"{folder}.log"}
        generate(config, model="served", instance_id=instance_id, **places)
        os._exit(0)
for _ in sys.argv[1:]:
    os.wait()
"""


def jobs(sessions: Sessions, numbers: Sequence[int]) -> subprocess.Popen[str]:
    """The jobs of some instances, all at once, in processes of their own."""
    folders = [sessions.folder("budget", n) for n in numbers]
    for folder in folders:
        (folder / "output.jsonl").unlink(missing_ok=True)  # as Snakemake does
    return subprocess.Popen(
        [sys.executable, "-c", JOBS, *map(str, folders)],
        cwd=sessions.project.root,
        env=sessions.project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_eight_instances_share_one_budget_over_restarts(tmp_path: Path, store: Path) -> None:
    """Exceeded by at most a completion per running instance, killed in the middle or not; with more it goes on."""
    count, steps = 8, 6
    sessions = Sessions.make(
        tmp_path, store, count=count, provider="scripted", replies=str(tmp_path), prices={"input": 60, "output": 60}
    )
    turns = [{"commands": [f"echo {n}; sleep 0.2"]} for n in range(steps - 1)] + [{"commands": [SUBMIT]}]
    for row in sessions.rows:
        (tmp_path / f"{row['instance_id']}.yaml").write_text(yaml.safe_dump(turns))
    sessions.configure(session="budget", limits={"session_usd": 1.0})

    def records() -> list[dict[str, Any]]:
        return [sessions.record("budget", n) for n in range(count)]

    killed = jobs(sessions, range(count))
    deadline = time.monotonic() + 120
    while sessions.spent("budget").usd < 0.3:
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()

    said = jobs(sessions, range(count)).communicate(timeout=120)[1]
    spent = sessions.spent("budget")
    assert "Hint: Raise `limits.session_usd`" in said, said
    entries = [json.loads(f.read_text()) for n in range(count) for f in sessions.journal("budget", n).glob("*.json")]
    # A kill between the count and the journal loses an answer, and counts it all the same.
    dearest = max(entry["cost"] for entry in entries)
    assert 0 <= spent.completions - len(entries) <= count
    assert 0 <= spent.usd - sum(entry["cost"] for entry in entries) + 1e-9 <= count * dearest
    assert 1.0 <= spent.usd <= 1.0 + count * dearest
    faults = [record["fault"] for record in records() if record["error"]]
    assert faults and {(fault["reason"], fault["exit_code"]) for fault in faults} == {("budget_spent", 11)}
    assert spent.completions < count * steps

    sessions.configure(limits={"session_usd": 100.0})
    stopped = [number for number, record in enumerate(records()) if record["error"]]
    assert jobs(sessions, stopped).communicate(timeout=120)[1] == ""
    assert [record["error"] for record in records()] == [None] * count
    assert [record["metadata"]["details"]["steps"] for record in records()] == [steps] * count
    assert sessions.spent("budget").completions - spent.completions == count * steps - len(entries)


def test_a_spent_budget_is_said_and_replays_nothing(tmp_path: Path, store: Path) -> None:
    """The next run of the command starts no container for what the budget stopped; with more it goes on."""
    sessions = Sessions.make(
        tmp_path, store, provider="scripted", replies=str(tmp_path), prices={"input": 60, "output": 60}
    )
    turns = [{"commands": [f"echo {word} >> value"]} for word in ("1", "2")] + [
        {"commands": ["echo 1 > value", SUBMIT]}
    ]
    (tmp_path / f"{sessions.rows[0]['instance_id']}.yaml").write_text(yaml.safe_dump(turns))
    sessions.configure(session="spent", limits={"session_usd": 0.01}, engine="namespace")
    report = sessions.project.root / "outputs/results/spent/final_report.txt"

    first = sessions.project.snakemake("-j", "2")
    spent = sessions.spent("spent")
    assert first.returncode != 0 and spent.completions == 1
    said = f"has spent {spent.usd:.2f} of its 0.01 USD"
    assert said in first.stdout and "Hint: Raise `limits.session_usd`" in first.stdout
    assert f"Spent: {spent.usd:.4f} of 0.01 USD for 1 answers\n" in report.read_text()

    again = sessions.project.snakemake("-j", "2")
    assert again.returncode != 0 and f"Warning: The session {said}" in again.stdout
    assert sessions.spent("spent") == spent
    assert sessions.record("spent")["fault"]["reason"] == "budget_spent"
    assert sessions.record("spent")["metrics"]["accumulated_cost"] == pytest.approx(spent.usd)
    assert sessions.record("spent")["metadata"]["details"]["replay"]["steps"] == 0

    sessions.configure(limits={"session_usd": 10})
    done = sessions.project.snakemake("-j", "2")
    assert done.returncode == 0 and "Warning: The session" not in done.stdout, done.stdout
    assert sessions.record("spent")["metadata"]["details"]["replay"]["steps"] == 1
    assert sessions.spent("spent").completions == 3
    assert " of 10 USD for 3 answers\n" in report.read_text()


ASK = """
import sys, time
from pathlib import Path
from trajmake.llm.pace import Pace
pace = Pace("m", requests=float(sys.argv[2]), tokens=float(sys.argv[3]), folder=Path(sys.argv[1]))
print(time.monotonic())
for _ in range(4):
    pace.wait(100)
    print(time.monotonic())
    pace.settle(100, int(sys.argv[4]))
"""


@pytest.mark.parametrize(
    ("requests", "tokens", "used", "spacing", "settled"),
    [("1200", "0", "100", 0.05, 0), ("0", "60000", "100", 0.1, 0), ("0", "120000", "300", 0.15, 2)],
    ids=["requests", "tokens", "more-tokens-than-expected"],
)
def test_all_jobs_of_a_host_share_a_pace(
    requests: str, tokens: str, used: str, spacing: float, settled: int, tmp_path: Path
) -> None:
    """Three processes together ask no faster than one may."""
    printed = side_by_side(ASK, str(tmp_path / "pace"), requests, tokens, used, count=3)
    began, *times = zip(*([float(line) for line in text.split()] for text in printed), strict=True)
    asked = sorted(itertools.chain(*times))
    assert len(asked) == 12
    for number, at in enumerate(asked):  # who is late after its turn takes none of the others'
        assert at - min(began) >= (number - settled) * spacing
    assert (tmp_path / "pace").stat().st_mode & 0o777 == 0o700


def test_a_pace_without_limits_leaves_nothing(tmp_path: Path) -> None:
    pace = Pace("m", folder=tmp_path / "pace")
    assert pace.wait(10**9) == 0
    pace.settle(10**9, 0)
    assert not (tmp_path / "pace").exists()


def test_a_pace_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    """Somebody else's link is not followed."""
    pace = Pace("m", requests=60, folder=tmp_path / "pace")
    pace.wait(1)
    (file,) = (tmp_path / "pace").iterdir()
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be written"):
        pace.wait(1)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("left", ["", "{", '{"boot": "another", "times": [1e12, 1e12]}', '{"times": 3}', "[]"])
def test_what_another_boot_or_a_dead_process_left_stops_nobody(left: str, tmp_path: Path) -> None:
    pace = Pace("m", requests=60, folder=tmp_path / "pace")
    pace.wait(1)
    (file,) = (tmp_path / "pace").iterdir()
    file.write_text(left)
    assert pace.wait(1) == 0


def test_the_gateway_keeps_the_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tokens that the answers name; what is slept is no time of the agent's."""
    with OpenAIServer(answer("x", usage=Usage(prompt_tokens=900, completion_tokens=100))) as server:
        provider = LiteLLMProvider("openai/m", base_url=server.url)
        provider.complete(TASK, [])  # imports litellm
        pace = Pace("m", tokens=120_000, folder=tmp_path / "pace")
        slept: list[float] = []
        monkeypatch.setattr(pace, "wait", lambda tokens, wait=pace.wait: noted(slept, wait(tokens)))
        door = Gateway(provider, tmp_path / "journal", model_name="m", pace=pace)
        began = time.monotonic()
        for _ in range(3):
            door.complete(TASK)
        agent, whole = door.clock.elapsed(), time.monotonic() - began
        times = [request.at - began for request in server.requests[1:]]
    assert [at >= 0.5 * number for number, at in enumerate(times)] == [True, True, True]
    assert len(slept) == 3 and agent <= whole - sum(slept)


def noted(place: list[float], value: float) -> float:
    place.append(value)
    return value

"""The journal and its replay: a real agent loop, a server that dies, commands that come out differently."""

from __future__ import annotations

import json
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_container import LocalContainer
from model_sessions import SUBMIT
from openai_server import OpenAIServer, answer_as, fail

from trajmake import files
from trajmake.agents.base import AgentLimits, Task, Trajectory
from trajmake.agents.mini_swe_agent import PROMPT, MiniSweAgent, exit_codes
from trajmake.errors import ProviderRefusedError
from trajmake.llm import journal
from trajmake.llm.clock import Clock
from trajmake.llm.gateway import Gateway
from trajmake.llm.journal import Journal
from trajmake.llm.litellm_provider import LiteLLMProvider
from trajmake.llm.replay import Replay
from trajmake.llm.retry import Retry
from trajmake.llm.scripted import ScriptedProvider
from trajmake.outcomes import ExitStatus
from trajmake.sessions import layout, renewals

MADE_FOR = {"row_digest": "r", "model_digest": "m"}
DEAD = fail(404, "gone")


class Run:
    """One run of an agent, which may die and go on."""

    def __init__(self, place: Path, *commands: str) -> None:
        self.place = place
        (place / "script.yaml").write_text(yaml.safe_dump([{"thought": "On.", "commands": [c]} for c in commands]))
        self.model = answer_as(ScriptedProvider(place / "script.yaml", model="loopback-1"))
        self.folder = place / "journal"
        self.requests: list[dict[str, Any]] = []
        self.door: Gateway

    def attempt(
        self, *, answers: int | None = None, prompt_file: str = "", limits: AgentLimits | None = None
    ) -> Trajectory | None:
        """Run until the end, or until the provider goes away after ``answers`` live ones."""
        limits = limits or AgentLimits()
        behaviours = [self.model] if answers is None else [self.model] * answers + [DEAD]
        Journal(self.folder).open(MADE_FOR)
        with OpenAIServer(*behaviours) as server:
            self.door = Gateway(
                LiteLLMProvider("openai/loopback-1", base_url=server.url),
                self.folder,
                model_name="openai/loopback-1",
                prices=(10.0, 10.0),
                run_limits=limits,
                exit_codes=exit_codes,
            )
            repository = self.place / "fresh"
            shutil.rmtree(repository, ignore_errors=True)
            repository.mkdir()
            task = Task("one", "Mend it.", str(repository), {})
            try:
                done = MiniSweAgent(prompt_file).solve(task, LocalContainer(self.place), self.door, limits)
                self.door.finish()
                return done
            except ProviderRefusedError:
                return None
            finally:
                self.requests = [request.body for request in server.requests]


def observations(messages: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages if message["role"] == "tool"]


def test_the_model_goes_on_seeing_what_it_saw(tmp_path: Path) -> None:
    """Another output is noted; every later request carries the recorded one, also after a second death."""
    run = Run(tmp_path, "cat /proc/sys/kernel/random/uuid", "ls", "pwd", SUBMIT)
    assert run.attempt(answers=2) is None
    seen = observations(run.requests[1]["messages"])[0]
    for died_after, steps in ((1, 2), (None, 3)):
        done = run.attempt(answers=died_after)
        assert run.door.account() == {"steps": steps, "diverged": [2], "ended_at": None}
        assert all(observations(request["messages"])[0] == seen for request in run.requests)
    assert done is not None and done.exit_status is ExitStatus.SUBMITTED and len(run.requests) == 1
    now = next(event["content"] for event in done.history if event.get("observation") == "run")
    assert now not in seen  # the trajectory says what happened in the container that was patched
    entries = Journal(run.folder).load()
    assert len(entries) == 4 and observations(entries[3]["messages"])[0] == seen


def test_another_exit_code_ends_the_replay(tmp_path: Path) -> None:
    """What was bought beyond it is kept apart and still counts; what comes then is bought with the new output."""
    mark = tmp_path / "mark"
    run = Run(tmp_path, "echo begun", f"test ! -e {mark}", "true", SUBMIT)
    assert run.attempt(answers=3) is None
    paid = [journal.completion(entry).cost or 0 for entry in Journal(run.folder).load()]
    mark.touch()
    assert run.attempt(answers=1) is None
    assert run.door.account() == {"steps": 2, "diverged": [], "ended_at": 3}
    assert "<returncode>1</returncode>" in observations(run.requests[0]["messages"])[1]
    aside = tmp_path / "journal.1"
    assert sorted(path.name for path in aside.iterdir()) == [".attempt", "0003.json"]
    assert Journal(run.folder).cost_aside() == pytest.approx(paid[2])
    done = run.attempt()
    assert done is not None and run.door.account() == {"steps": 3, "diverged": [], "ended_at": None}
    assert len(run.requests) == 1

    limit = sum(answer.cost or 0 for answer in run.door.completions[:3]) + paid[2]
    (run.folder / "0004.json").unlink()
    stopped = run.attempt(limits=AgentLimits(cost_usd=limit))
    assert stopped is not None and stopped.exit_status is ExitStatus.COST_LIMIT and run.requests == []


@pytest.mark.parametrize("damage", ["torn", "empty", "missing", "list"])
def test_a_damaged_file_ends_the_journal(damage: str, tmp_path: Path) -> None:
    """The answers before it are used, it and those behind it are kept apart."""
    run = Run(tmp_path, "echo 1", "echo 2", "echo 3", SUBMIT)
    assert run.attempt(answers=3) is None
    file = run.folder / "0002.json"
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes({"torn": file.read_bytes()[:200], "empty": b"", "list": b"[]"}[damage])
    done = run.attempt()
    assert done is not None and done.exit_status is ExitStatus.SUBMITTED
    assert run.door.account()["steps"] == 1 and len(run.requests) == 3
    kept = ["0003.json"] if damage == "missing" else ["0002.json", "0003.json"]
    assert sorted(path.name for path in (tmp_path / "journal.1").glob("*.json")) == kept


def test_another_prompt_begins_anew(tmp_path: Path) -> None:
    """A model cannot go on with a conversation that began otherwise; what was bought is kept apart."""
    run = Run(tmp_path, "echo 1", SUBMIT)
    assert run.attempt(answers=1) is None
    prompt = tmp_path / "prompt.yaml"
    prompt.write_text(PROMPT.read_text().replace("helpful", "able"))
    done = run.attempt(prompt_file=str(prompt))
    assert done is not None and run.door.account() == {"steps": 0, "diverged": [], "ended_at": 1}
    assert len(run.requests) == 2 and (tmp_path / "journal.1" / "0001.json").exists()


def test_answers_that_are_not_asked_for_again_do_not_stay(tmp_path: Path) -> None:
    """A submission that failed and now succeeds ends the run earlier: the journal is the trajectory's."""
    mark = tmp_path / "mark"
    run = Run(tmp_path, f"test -e {mark} && {SUBMIT}", "echo 2", SUBMIT)
    assert run.attempt(answers=2) is None
    mark.touch()
    done = run.attempt()
    assert done is not None and done.exit_status is ExitStatus.SUBMITTED and run.requests == []
    assert run.door.account() == {"steps": 1, "diverged": [], "ended_at": 2}
    assert len(Journal(run.folder).load()) == 1 and (tmp_path / "journal.1" / "0002.json").exists()


def test_the_time_of_a_run_is_the_agents(tmp_path: Path) -> None:
    """Time before the death counts, that of the replay does not: a run is no TIMEOUT for having died."""
    run = Run(tmp_path, "sleep 0.6", "sleep 0.6", "true", SUBMIT)
    assert run.attempt(answers=3) is None
    before = Journal(run.folder).load()[2]["agent_seconds"]
    assert before >= 1.2
    started = time.monotonic()
    done = run.attempt(limits=AgentLimits(seconds=before + 60))
    assert done is not None and done.exit_status is ExitStatus.SUBMITTED
    assert before <= run.door.clock.elapsed() <= before + (time.monotonic() - started) - 1.2
    (run.folder / "0004.json").unlink()
    late = run.attempt(limits=AgentLimits(seconds=before))
    assert late is not None and late.exit_status is ExitStatus.TIME_LIMIT and run.requests == []


def test_waiting_for_a_provider_is_not_the_agents_time(tmp_path: Path) -> None:
    """It would end as TIMEOUT, and count against the model."""
    model = Run(tmp_path, SUBMIT).model
    with OpenAIServer(fail(503), fail(503), model) as server:
        provider = LiteLLMProvider("openai/loopback-1", base_url=server.url)
        retry = Retry(first_wait=1.0, longest_wait=1.0)
        door = Gateway(provider, tmp_path / "journal", model_name="m", retry=retry)
        started = time.monotonic()
        answer = door.complete([{"role": "user", "content": "Go on."}])
        agent, whole = door.clock.elapsed(), time.monotonic() - started
    assert answer.latency <= agent <= whole - 1.0


def test_the_clock_counts_only_while_it_runs() -> None:
    clock = Clock()
    assert clock.elapsed() == 0
    clock.set(5)
    time.sleep(0.02)
    assert clock.elapsed() == 5
    clock.start()
    time.sleep(0.02)
    assert 5.02 <= clock.elapsed() < 30
    with clock.paused():
        stood = clock.elapsed()
        time.sleep(0.02)
        assert clock.elapsed() == stood


def test_a_journal_is_gone_on_with_only_for_what_it_was_made_for(tmp_path: Path) -> None:
    """Another row, other settings, an unknown origin or the user's word: set aside whole, numbered."""
    folder = tmp_path / "ID"
    here = Journal(folder)
    here.open(MADE_FOR)
    first = journal.attempt(folder)["id"]
    here.append(1, {"n": 1})
    here.open(MADE_FOR)
    assert journal.attempt(folder)["id"] == first and (folder / "0001.json").exists()
    here.open(MADE_FOR, renew="another")
    assert journal.attempt(folder)["id"] == first
    here.open(MADE_FOR, renew=first)
    assert journal.attempt(folder)["id"] != first and list(folder.glob("*.json")) == []
    here.append(1, {"n": 2})
    here.open(MADE_FOR | {"model_digest": "other"})
    here.append(1, {"n": 3})
    (folder / ".attempt").unlink()  # as earlier versions left it
    here.open(MADE_FOR)
    assert [json.loads((tmp_path / f"ID.{n}" / "0001.json").read_text())["n"] for n in (1, 2, 3)] == [1, 2, 3]
    here.open(MADE_FOR | {"row_digest": "other"})
    assert not (tmp_path / "ID.4").exists()  # nothing was bought


@pytest.mark.parametrize(
    ("details", "forced", "over"),
    [
        ({"exit_status": "submitted"}, "{folder}/output.jsonl", True),
        ({"exit_status": "submitted"}, "{folder}/metadata.json", True),
        ({"exit_status": "submitted"}, "generate", True),
        ({"exit_status": "submitted"}, "*", True),
        ({"exit_status": "submitted"}, "grade", False),
        ({"exit_status": None, "stuck": False}, "generate", False),
        ({"exit_status": None, "stuck": True}, "generate", True),
        (None, "generate", False),
    ],
    ids=["file", "its-metadata", "rule", "all", "another-rule", "fault", "stuck", "cut-short"],
)
def test_only_what_is_over_is_bought_again(
    details: dict[str, Any] | None, forced: str, over: bool, tmp_path: Path
) -> None:
    """``--forcerun`` ends a trajectory, and a fault that a replay alone leads to; it goes on with the rest."""
    folder = tmp_path / layout.INSTANCE.format(session="s", model="m", instance_id="i")
    Journal(folder / "llm_completions" / "i").open(MADE_FOR)
    if details is not None:
        files.write_json(folder / "metadata.json", {"details": details})
        files.write_json(folder / "output.jsonl", {})
    order = partial(renewals.order, str(tmp_path), "s", runs=[("m", "i"), ("m", "other")])
    order([forced.format(folder=folder)])
    found = renewals.ordered(str(tmp_path), "s", "m", "i")
    assert found == (journal.attempt(folder / "llm_completions" / "i")["id"] if over else "")
    order([])
    assert renewals.ordered(str(tmp_path), "s", "m", "i") == ""


def test_a_run_is_stuck_when_its_replay_leads_to_its_fault(tmp_path: Path) -> None:
    """Not while a request could still be made, nor after one was."""
    run = Run(tmp_path, "echo 1", SUBMIT)
    assert run.attempt(answers=1) is None and not run.door.stuck
    door = Gateway(LiteLLMProvider("openai/m"), run.folder, model_name="openai/loopback-1", exit_codes=exit_codes)
    assert not door.stuck
    entry = Journal(run.folder).load()[0]
    door.complete(entry["messages"], entry["tools"])
    assert door.stuck


def message(role: str, content: str, **more: str) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def test_an_agent_that_leaves_messages_out_is_followed(tmp_path: Path) -> None:
    """A condensed conversation is compared request by request, and its outputs are those that the model saw."""
    task, said = message("user", "Mend it."), message("assistant", "Look.")

    def shown(text: str, number: int) -> dict[str, Any]:
        return message("tool", text, tool_call_id=f"call_{number}")

    requests = [[task], [task, said, shown("old 1", 1)], [task, message("user", "Summary."), shown("old 1", 1)]]
    entries = [{"messages": request, "tools": [], "number": n} for n, request in enumerate(requests)]
    replay = Replay(entries)
    again = [[task], [task, said, shown("new 1", 1)], [task, message("user", "Summary."), shown("new 1", 1)]]
    assert [(replay.next(request, []) or {}).get("number") for request in again] == [0, 1, 2]
    assert replay.diverged == [2] and replay.over
    live = [task, message("user", "Summary 2."), shown("new 1", 1), said, shown("own", 2)]
    assert replay.as_seen(live) == [*live[:2], shown("old 1", 1), *live[3:]]


@pytest.mark.parametrize(
    "change",
    [
        lambda request, tools: (request[:-1], tools),
        lambda request, tools: ([*request[:-1], request[-1] | {"tool_call_id": "other"}], tools),
        lambda request, tools: ([request[0], message("assistant", "Otherwise."), request[2]], tools),
        lambda request, tools: (
            [*request[:-1], message("tool", "<returncode>2</returncode>", tool_call_id="c")],
            tools,
        ),
        lambda request, tools: (request, [{"type": "function"}]),
    ],
    ids=["shorter", "another-call", "another-answer", "exit-code", "tools"],
)
def test_another_conversation_ends_the_replay(change: Any) -> None:
    """Of what was recorded only another wording of an output may pass."""
    output = message("tool", "<returncode>0</returncode>\n<output>\n<returncode>2</returncode>", tool_call_id="c")
    request = [message("user", "Mend it."), message("assistant", "Look."), output]
    entries = [{"messages": request[:1], "tools": []}, {"messages": request, "tools": []}]
    replay = Replay(entries, exit_codes)
    assert replay.next(request[:1], []) is entries[0]
    assert replay.next(*change(request, [])) is None
    assert replay.ended_at == 2 and replay.next(request, []) is None
    same = Replay(entries, exit_codes)
    reworded = [*request[:2], output | {"content": "<returncode>0</returncode>\n<output>\nelse"}]
    assert same.next(request[:1], []) and same.next(reworded, []) and same.diverged == [2]


def test_a_completion_is_synced_with_its_folder_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cost money: after a power cut its name must still be there, not only its bytes."""
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    folder = tmp_path / "a" / "journal"
    Journal(folder).append(1, {})
    assert synced[-1] == str(folder) and {str(tmp_path), str(tmp_path / "a")} <= set(synced)
    assert any(Path(name).parent == folder for name in synced[:-1])  # the file, which has no name yet, or another

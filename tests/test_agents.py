"""The agents: mini-swe-agent's real loop with scripted and served models, and the doubles."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_container import LocalContainer
from openai_server import OpenAIServer, answer, answer_as, fail, too_long

from trajmake import agents
from trajmake.agents.base import AgentLimits, Task, Trajectory
from trajmake.agents.mini_swe_agent import PROMPT, MiniSweAgent
from trajmake.datasets.instance import Instance
from trajmake.errors import ConfigError, ContainerLostError, DatasetError, ProviderDownError, ProviderRefusedError
from trajmake.llm.errors import Transient
from trajmake.llm.gateway import Gateway
from trajmake.llm.litellm_provider import LiteLLMProvider
from trajmake.llm.retry import Retry
from trajmake.llm.scripted import ScriptedProvider
from trajmake.outcomes import ExitStatus
from trajmake.settings import ModelSettings

_SPEC = importlib.util.find_spec("minisweagent")  # found, not imported: the import has side effects
assert _SPEC is not None and _SPEC.origin is not None
THEIR_PROMPT = Path(_SPEC.origin).parent / "config" / "benchmarks" / "swebench.yaml"
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
FIX = "sed -i 's/return a - b/return a + b/' calc.py"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, check=True)
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "commit", "-qm", "base"], cwd=folder, check=True)
    return folder


def task(repo: Path) -> Task:
    return Task("calc-1", "add() subtracts.\nIt should add.", str(repo), {"PAGER": "cat"})


def diff(repo: Path) -> str:
    return subprocess.run(["git", "diff"], cwd=repo, check=True, capture_output=True, text=True).stdout


def script(tmp_path: Path, *turns: Sequence[str], repeat: bool = False) -> ScriptedProvider:
    path = tmp_path / "script.yaml"
    listed = [{"thought": f"Thought {n}.", "commands": list(commands)} for n, commands in enumerate(turns, 1)]
    path.write_text(yaml.safe_dump({"turns": listed, "repeat": repeat}))
    return ScriptedProvider(path, model="script-1")


def solve(
    tmp_path: Path,
    repo: Path,
    *turns: Sequence[str],
    repeat: bool = False,
    limits: AgentLimits | None = None,
    prices: tuple[float, float] | None = None,
    prompt_file: str = "",
) -> Trajectory:
    provider, limits = script(tmp_path, *turns, repeat=repeat), limits or AgentLimits()
    shutil.rmtree(tmp_path / "journal", ignore_errors=True)  # else it would be gone on with
    door = Gateway(provider, tmp_path / "journal", model_name="script-1", prices=prices, run_limits=limits)
    return MiniSweAgent(prompt_file).solve(task(repo), LocalContainer(tmp_path), door, limits)


def test_fixes_and_submits(tmp_path: Path, repo: Path) -> None:
    """The real loop runs the model's commands in the repository; every step is an event and a native message."""
    done = solve(tmp_path, repo, ["ls", "cat calc.py"], [FIX, "false"], [SUBMIT])
    assert done.exit_status is ExitStatus.SUBMITTED and done.message == "Thought 3."
    assert "+    return a + b" in diff(repo)
    assert "add() subtracts.\nIt should add." in done.instruction
    kinds = [event.get("action") or event["observation"] for event in done.history]
    assert kinds == ["system", "message", *["run"] * 10, "finish"]
    assert [event["id"] for event in done.history] == list(range(len(kinds)))
    runs = [event for event in done.history if event.get("action") == "run"]
    assert [event["args"]["command"] for event in runs] == ["ls", "cat calc.py", FIX, "false", SUBMIT]
    assert [event["args"]["thought"] for event in runs] == ["Thought 1.", "", "Thought 2.", "", "Thought 3."]
    results = [event for event in done.history if event.get("observation") == "run"]
    assert [event["cause"] for event in results] == [event["id"] for event in runs]
    assert results[0]["content"] == "calc.py\n"
    assert results[3]["extras"]["metadata"] == {"exit_code": 1, "working_dir": str(repo)}
    assert done.native is not None and done.native["info"]["exit_status"] == "Submitted"
    assert done.native["trajectory_format"] == "mini-swe-agent-1.1" and done.details["agent_version"]
    json.dumps([done.native, done.history])


def test_prompt_speaks_of_the_task_and_its_folder_only(tmp_path: Path, repo: Path) -> None:
    """The repository's folder stands where the prompt says /testbed; neither id nor host appears."""
    done = solve(tmp_path, repo, [SUBMIT])
    assert str(repo) in done.instruction and "/testbed" not in done.instruction
    assert "patch.txt" not in done.instruction and f"    {SUBMIT}" not in done.instruction
    sent = json.loads((tmp_path / "journal" / "0001.json").read_text())
    assert "calc-1" not in json.dumps(sent["messages"])
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["bash"]
    assert all("extra" not in message for message in sent["messages"])


def test_task_environment_reaches_the_commands(tmp_path: Path, repo: Path) -> None:
    """Pagers off, and what else the task says."""
    done = solve(tmp_path, repo, ["echo $PAGER; pwd"], [SUBMIT])
    assert done.history[3]["content"] == f"cat\n{repo}\n"


def test_submission_needs_the_first_line_and_success(tmp_path: Path, repo: Path) -> None:
    """As in mini-swe-agent: a failed command, or the words further down, submit nothing."""
    done = solve(tmp_path, repo, [f"{SUBMIT}; false"], [f"echo no; {SUBMIT}"], [f"{SUBMIT} && cat calc.py"], ["ls"])
    assert done.exit_status is ExitStatus.SUBMITTED and len([e for e in done.history if e.get("action") == "run"]) == 3


def test_commands_after_the_submission_do_not_run(tmp_path: Path, repo: Path) -> None:
    """A turn's later commands are no events when the submission before them ended the run."""
    done = solve(tmp_path, repo, ["pwd", SUBMIT, "touch late"])
    assert not (repo / "late").exists()
    assert [e["args"]["command"] for e in done.history if e.get("action") == "run"] == ["pwd", SUBMIT]


def test_step_limit(tmp_path: Path, repo: Path) -> None:
    """The loop stops before the call that would exceed it."""
    done = solve(tmp_path, repo, ["true"], repeat=True, limits=AgentLimits(steps=3))
    assert done.exit_status is ExitStatus.STEP_LIMIT and "3 model calls" in done.message
    assert len(list((tmp_path / "journal").iterdir())) == 3
    assert done.history[-1]["observation"] == "agent_state_changed"


def test_cost_limit(tmp_path: Path, repo: Path) -> None:
    """Known costs count; unknown ones count as nothing, and the step limit holds."""
    limits = AgentLimits(steps=9, cost_usd=0.5)
    dear = solve(tmp_path, repo, ["true"], repeat=True, limits=limits, prices=(150.0, 0.0))
    calls = len(list((tmp_path / "journal").iterdir()))
    assert dear.exit_status is ExitStatus.COST_LIMIT and 1 < calls < 9
    unknown = solve(tmp_path, repo, ["true"], repeat=True, limits=limits)
    assert unknown.exit_status is ExitStatus.STEP_LIMIT


def test_time_limit_ends_a_running_command(tmp_path: Path, repo: Path) -> None:
    """The wall time is not stretched by a command that sleeps; what it printed is kept."""
    start = time.monotonic()
    done = solve(tmp_path, repo, ["echo begun; sleep 60"], [SUBMIT], limits=AgentLimits(seconds=4.5))
    assert time.monotonic() - start < 50
    assert done.exit_status is ExitStatus.TIME_LIMIT and "4.5 s" in done.message
    assert done.history[3]["content"] == "begun\n" and done.history[3]["extras"]["metadata"]["exit_code"] == 137


def test_command_timeout_is_the_agents_to_handle(tmp_path: Path, repo: Path) -> None:
    """The model is told, in mini-swe-agent's words, and goes on."""
    limits = AgentLimits(command_seconds=2.5)
    done = solve(tmp_path, repo, ["echo begun; sleep 60"], [SUBMIT], limits=limits)
    assert done.exit_status is ExitStatus.SUBMITTED and done.native is not None
    told = done.native["messages"][3]["content"]
    assert "timed out after 2.5 seconds" in told and "<returncode>-1</returncode>" in told and "begun" in told


def test_format_errors(tmp_path: Path, repo: Path) -> None:
    """One answer without a command is complained about; three in a row end the run. Their costs count."""
    once = solve(tmp_path, repo, [], ["true"], [SUBMIT], prices=(1.0, 1.0))
    assert once.exit_status is ExitStatus.SUBMITTED and once.native is not None
    said = [(e["source"], e.get("action")) for e in once.history[2:4]]
    assert said == [("agent", "message"), ("user", "message")] and once.history[2]["message"] == "Thought 1."
    assert "No tool calls found" in once.history[3]["message"]
    paid = [json.loads(path.read_text())["cost"] for path in (tmp_path / "journal").iterdir()]
    assert once.native["info"]["model_stats"]["instance_cost"] == pytest.approx(sum(paid))
    never = solve(tmp_path, repo, [], repeat=True)
    assert never.exit_status is ExitStatus.FORMAT_ERRORS and "3 answers" in never.message


def test_long_output_is_cut_for_the_model(tmp_path: Path, repo: Path) -> None:
    """Head and tail, as mini-swe-agent does; the event holds the same."""
    done = solve(tmp_path, repo, ["seq 1 100000"], [SUBMIT])
    assert done.native is not None
    told = done.native["messages"][3]["content"]
    assert len(told) < 12_000 and "characters elided" in told and "99999" in told
    assert len(done.history[3]["content"]) < 11_000 and done.history[3]["content"].endswith("100000\n")


def test_commands_no_shell_can_take(tmp_path: Path, repo: Path) -> None:
    """A NUL byte, half a character, a list for a text: the model is told, nothing crashes."""
    hostile = [json.dumps({"command": c}) for c in ("echo \0", "echo \ud83d", ["ls"])] + ['{"command": "x"', "[]"]

    def say(handler: Any, body: dict[str, Any]) -> None:
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        turn += sum(message["role"] == "user" for message in body["messages"]) - 1
        arguments = hostile[turn] if turn < len(hostile) else json.dumps({"command": SUBMIT})
        call = {"id": "c", "type": "function", "function": {"name": "bash", "arguments": arguments}}
        choice = {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {"role": "assistant", "content": None, "tool_calls": [call]},
        }
        payload = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        handler.send(200, json.dumps(payload).encode())

    with OpenAIServer(say) as server:
        limits = AgentLimits(steps=9)
        provider = LiteLLMProvider("openai/m", base_url=server.url)
        door = Gateway(provider, tmp_path / "journal", model_name="m", run_limits=limits)
        done = MiniSweAgent().solve(task(repo), LocalContainer(tmp_path), door, limits)
    assert done.exit_status is ExitStatus.SUBMITTED and done.native is not None
    json.dumps(done.native, ensure_ascii=False).encode()
    told = [m["content"] for m in done.native["messages"] if m["role"] in ("tool", "user")][1:]
    assert "not a text that a shell can take" in told[0] and "<returncode>0" in told[1]
    assert "not a text" in told[2] and "Error parsing tool call" in told[3] and "Missing 'command'" in told[4]


def test_context_limit_is_the_agents(tmp_path: Path, repo: Path) -> None:
    """What it had done until then stays."""
    with OpenAIServer(answer("Fix.", [FIX]), too_long()) as server:
        door = Gateway(LiteLLMProvider("openai/m", base_url=server.url), tmp_path / "journal", model_name="m")
        done = MiniSweAgent().solve(task(repo), LocalContainer(tmp_path), door, AgentLimits())
    assert done.exit_status is ExitStatus.CONTEXT_LIMIT and "maximum context length" in done.message
    assert "return a + b" in diff(repo)


def test_solves_over_http(tmp_path: Path, repo: Path) -> None:
    """The same script behind a real server and litellm: the same commands, the same patch."""
    with OpenAIServer(answer_as(script(tmp_path, ["cat calc.py"], [FIX], [SUBMIT]))) as server:
        door = Gateway(LiteLLMProvider("openai/m", base_url=server.url), tmp_path / "journal", model_name="m")
        done = MiniSweAgent().solve(task(repo), LocalContainer(tmp_path), door, AgentLimits())
        assert len(server.requests) == 3
    assert done.exit_status is ExitStatus.SUBMITTED and "return a + b" in diff(repo)


def test_faults_of_the_model_pass_unchanged(tmp_path: Path, repo: Path) -> None:
    """A refusing provider, or one that stays down, ends the run as the machine's fault, not as an outcome."""
    with OpenAIServer(answer("Look.", ["ls"]), fail(404, "gone")) as server:
        door = Gateway(LiteLLMProvider("openai/m", base_url=server.url), tmp_path / "journal", model_name="m")
        with pytest.raises(ProviderRefusedError, match="gone"):
            MiniSweAgent().solve(task(repo), LocalContainer(tmp_path), door, AgentLimits())
        assert len(server.requests) == 2

    class Down:
        def complete(self, messages: Any, tools: Any) -> Any:
            raise Transient("off")

    door = Gateway(Down(), tmp_path / "other", model_name="m", retry=Retry(2, 1, 0.01, 0.01))
    with pytest.raises(ProviderDownError, match="off"):
        MiniSweAgent().solve(task(repo), LocalContainer(tmp_path), door, AgentLimits())


def test_faults_of_the_container_pass_unchanged(tmp_path: Path, repo: Path) -> None:
    """A container that goes away is no outcome either."""

    class Lost(LocalContainer):
        def run(self, command: str, **options: Any) -> Any:
            raise ContainerLostError("The container is gone.")

    door = Gateway(script(tmp_path, ["ls"]), tmp_path / "journal", model_name="m")
    with pytest.raises(ContainerLostError):
        MiniSweAgent().solve(task(repo), Lost(tmp_path), door, AgentLimits())


def test_mini_swe_agents_own_prompt_leaves_no_patch_file(tmp_path: Path, repo: Path) -> None:
    """Its prompt has the model write patch.txt into the repository and submit it; the file is no part of the fix."""
    steps = (["git diff -- calc.py > patch.txt"], [f"{SUBMIT} && cat patch.txt"])
    done = solve(tmp_path, repo, [FIX], *steps, prompt_file=str(THEIR_PROMPT))
    assert done.exit_status is ExitStatus.SUBMITTED and "cat patch.txt" in done.instruction
    assert not (repo / "patch.txt").exists() and "return a + b" in diff(repo)
    kept = solve(tmp_path, repo, ["echo mine > patch.txt"], [SUBMIT])
    assert kept.exit_status is ExitStatus.SUBMITTED and (repo / "patch.txt").read_text() == "mine\n"


def test_shipped_prompt_differs_from_theirs_only_where_it_says() -> None:
    """Templates for outputs and complaints are theirs, word for word; so is the task up to the submission."""
    ours, theirs = (yaml.safe_load(path.read_text()) for path in (PROMPT, THEIR_PROMPT))
    assert ours["model"] == {name: theirs["model"][name] for name in ours["model"]}
    assert ours["agent"]["system_template"] == theirs["agent"]["system_template"]
    begin = [part["agent"]["instance_template"].split("## Environment Details")[0] for part in (ours, theirs)]
    assert begin[0] == begin[1] and "MIT License" in PROMPT.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("agent: {}", "lacks `agent.system_template`"),
        ("- x", "lacks"),
        ("{", "Cannot read the prompt file"),
        (None, "Cannot read the prompt file"),
    ],
)
def test_unusable_prompt_files_are_named(text: str | None, words: str, tmp_path: Path) -> None:
    """Before any money is spent."""
    path = tmp_path / "prompt.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=words) as refused:
        MiniSweAgent(str(path))
    assert str(path) in refused.value.message


def test_prompt_that_names_an_unknown_variable(tmp_path: Path, repo: Path) -> None:
    """The fault names file and variable; no request is made."""
    path = tmp_path / "prompt.yaml"
    path.write_text(PROMPT.read_text().replace("{{task}}", "{{taks}}"))
    with pytest.raises(ConfigError, match=r"prompt\.yaml.*taks"):
        solve(tmp_path, repo, ["ls"], prompt_file=str(path))
    assert not (tmp_path / "journal").exists()


def test_importing_mini_swe_agent_leaves_nothing(tmp_path: Path) -> None:
    """No banner, no folder in the home, no ``.env`` of its own read, no litellm."""
    config = tmp_path / ".config" / "mini-swe-agent"
    config.mkdir(parents=True)
    (config / ".env").write_text("OPENAI_API_KEY=from-its-own-file\n")
    program = """
import os, sys
from trajmake.agents.mini_swe_adapters import load
before = dict(os.environ)
load()
assert dict(os.environ) == before
assert "litellm" not in sys.modules
"""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == [
        ".config/mini-swe-agent/.env"
    ]


def instance(patch: str = "") -> Instance:
    return Instance(
        instance_id="calc-1",
        repo="o/calc",
        base_commit="0" * 40,
        problem_statement="add() subtracts.",
        patch=patch,
        test_patch="",
        fail_to_pass=("t",),
        pass_to_pass=(),
        language="python",
        test_command="pytest",
        test_output_parser="python/parse_log_pytest",
        image_storage_uri="calc.tar",
    )


def model(**values: Any) -> ModelSettings:
    return ModelSettings.model_validate({"model": "openai/m"} | values)


def act(settings: ModelSettings, row: Instance, repo: Path, limits: AgentLimits | None = None) -> Trajectory:
    agent = agents.make(settings, row)
    return agent.solve(task(repo), LocalContainer(repo.parent), None, limits or AgentLimits())


def test_gold_applies_the_patch(repo: Path) -> None:
    """And leaves nothing else behind."""
    subprocess.run(["bash", "-c", FIX], cwd=repo, check=True)
    patch = diff(repo)
    subprocess.run(["git", "checkout", "-q", "."], cwd=repo, check=True)
    done = act(model(agent="gold"), instance(patch), repo)
    assert done.exit_status is ExitStatus.SUBMITTED and diff(repo) == patch
    status = subprocess.run(["git", "status", "--porcelain"], cwd=repo, capture_output=True, text=True, check=True)
    assert status.stdout == " M calc.py\n"


def test_gold_that_does_not_apply_is_an_outcome(repo: Path) -> None:
    """The instance is broken, not the machine: git's words are kept and the patch stays empty."""
    broken = "--- a/calc.py\n+++ b/calc.py\n@@ -1 +1 @@\n-nothing like it\n+x\n"
    done = act(model(agent="gold"), instance(broken), repo)
    assert done.exit_status is ExitStatus.GAVE_UP and "patch does not apply" in done.message and diff(repo) == ""
    with pytest.raises(DatasetError, match="calc-1 has no gold patch"):
        agents.make(model(agent="gold"), instance())


def test_empty_does_nothing(repo: Path) -> None:
    """It submits the repository as it is."""
    done = act(model(agent="empty"), instance(), repo)
    assert done.exit_status is ExitStatus.SUBMITTED and diff(repo) == ""
    assert [event["action"] for event in done.history] == ["message", "finish"]


def test_scripted_runs_its_commands(repo: Path) -> None:
    """All of them, in the repository, also after one that fails; the wall time ends it."""
    done = act(model(agent="scripted", commands=["false", FIX]), instance(), repo)
    assert done.exit_status is ExitStatus.SUBMITTED and "return a + b" in diff(repo)
    late = model(agent="scripted", commands=["sleep 60", f"touch {shlex.quote(str(repo / 'late'))}"])
    ended = act(late, instance(), repo, AgentLimits(seconds=0.5))
    assert ended.exit_status is ExitStatus.TIME_LIMIT and not (repo / "late").exists()
    with pytest.raises(ConfigError, match="no commands"):
        agents.make(model(agent="scripted"), instance())


def test_table_of_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name lists the known ones; each known one can be made; only gold is given the row's patch."""
    with pytest.raises(ConfigError, match="nobody") as refused:
        agents.make(model(agent="nobody"), instance())
    assert all(name in refused.value.hint for name in agents.AGENTS)
    assert [name for name in sorted(agents.AGENTS) if agents.needs_model(name)] == ["mini_swe_agent", "openhands"]
    assert all(agents.exit_codes(name) for name in agents.AGENTS if agents.needs_model(name))  # they can be resumed
    seen: dict[str, Instance] = {}
    for name, module in agents.AGENTS.items():
        if name == "predictions":  # acts in no container
            continue
        monkeypatch.setattr(f"{module}.create", lambda settings, row, name=name: seen.update({name: row}))
        agents.make(model(agent=name), instance("the fix"))
    assert {name: row.patch for name, row in seen.items()} == {
        name: "the fix" if name == "gold" else "" for name in agents.AGENTS if name != "predictions"
    }
    assert all(row.fail_to_pass == () and row.row == {} for name, row in seen.items() if name != "gold")

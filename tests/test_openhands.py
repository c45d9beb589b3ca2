"""The agent OpenHands: its real SDK in real containers, the model behind real HTTP on both sides.

The image is put together from this machine's bash, coreutils and git: it has no Python.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import images
import pytest
import small_instances
import yaml
from openai_server import Behaviour, Handler, OpenAIServer, answer_as, fail, too_long
from project import Project

from trajmake import settings, workspace
from trajmake.agents.base import AgentLimits, Task, Trajectory
from trajmake.agents.openhands import LENT, OpenHands, bundle, exit_codes
from trajmake.agents.openhands.ending import limit_of
from trajmake.engines import choose, select
from trajmake.engines.base import ContainerLimits, Engine
from trajmake.errors import (
    ConfigError,
    EngineUnavailableError,
    EnvironmentBrokenError,
    KeyRefusedError,
    ProviderDownError,
)
from trajmake.llm.base import Completion, Usage
from trajmake.llm.errors import ContextExceeded, LimitReached
from trajmake.llm.gateway import Gateway, Retry
from trajmake.llm.litellm_provider import LiteLLMProvider
from trajmake.llm.scripted import ScriptedProvider
from trajmake.llm.server import GatewayServer
from trajmake.outcomes import ExitStatus

UNIQUE = secrets.token_hex(6)
KEY = "sk-test-0123456789abcdef"
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
FIX = "sed -i 's/return a - b/return a + b/' calc.py"
REPOSITORY = """
cd /repo && git init -q -b main . && printf 'def add(a, b):\\n    return a - b\\n' > calc.py &&
git add -A && git -c user.name=t -c user.email=t@example.org commit -qm base
"""


@dataclasses.dataclass
class Here:
    """An engine, an image in it and the settings to run OpenHands there."""

    engine: Engine
    image: str
    options: settings.Settings

    def solve(
        self,
        tmp_path: Path,
        url: str,
        *,
        limits: AgentLimits | None = None,
        retry: Retry | None = None,
        prices: tuple[float, float] | None = None,
        look: str = "true",
        before: str = "true",
    ) -> tuple[Trajectory, str, Gateway]:
        """A run on a fresh repository: trajectory, output of ``look`` there afterwards, the gateway.

        ``before`` is run in the container first.
        """
        provider = LiteLLMProvider("openai/loopback", base_url=url, api_key_env="TEST_OPENHANDS_KEY")
        door = Gateway(
            provider,
            tmp_path / "journal",
            model_name="openai/loopback",
            retry=retry or Retry(attempts=2, first_wait=0.01),
            prices=prices,
            key_variables=["TEST_OPENHANDS_KEY"],
            run_limits=limits or AgentLimits(seconds=120),
        )
        agent = OpenHands("openai/loopback")
        name = f"{UNIQUE}/{secrets.token_hex(3)}"
        bounds = ContainerLimits(memory_mb=2048, pids=512)
        with self.engine.start(self.image, name=name, limits=bounds, mounts=agent.mounts(self.options)) as container:
            container.run(f"{before}; mkdir /repo; {REPOSITORY}", timeout=60)
            env = workspace.environment(container)
            task = Task("calc-1", "add() subtracts.\nIt should add.", "/repo", env, tmp_path / "events.jsonl")
            done = agent.solve(task, container, door, limits or AgentLimits(seconds=120))
            return done, container.run(look, timeout=30, cwd="/repo").text, door


@pytest.fixture(scope="module", params=["docker", "namespace"])
def each(request: pytest.FixtureRequest, bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """Each engine present."""
    folder = tmp_path_factory.mktemp(request.param)
    options = {} if request.param == "docker" else {"store": str(folder / "store"), "scratch": str(folder / "scratch")}
    engine = select(request.param, **options)
    try:
        engine.version()
    except EngineUnavailableError as error:
        pytest.skip(f"{request.param}: {error.message}")
    yield from place(engine, folder, bundles)


@pytest.fixture(scope="module")
def here(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """One engine: what does not depend on it."""
    try:
        name, _ = choose("auto")
    except EngineUnavailableError as error:
        pytest.skip(error.message)
    folder = tmp_path_factory.mktemp("one")
    options = {} if name == "docker" else {"store": str(folder / "store"), "scratch": str(folder / "scratch")}
    yield from place(select(name, **options), folder, bundles)


def place(engine: Engine, folder: Path, bundles: Path) -> Iterator[Here]:
    tarball = folder / "bare.tar"
    # Variables and a library that would break the bundle's programs if they were heeded.
    trap = images.tar_of(images.folder("trap"), images.member("trap/libssl.so.3", b"no library", 0o755))
    env = ["LD_LIBRARY_PATH=/trap", "PYTHONHOME=/nowhere", "PYTHONPATH=/nowhere", "OPENAI_API_BASE=http://nowhere"]
    more = images.tar_of(images.programs(["sed", "grep"]), images.member("etc/image", folder.name.encode()))
    images.save(tarball, [images.base_layer(), more, trap], tags=[f"trajmake-test-openhands:{UNIQUE}"], env=env)
    image = engine.load(tarball)
    config = {
        "dataset": "none.jsonl",
        "models": ["gold"],
        "catalog": {},
        "output_dir": str(folder),
        "openhands": {"bundles": str(bundles)},
    }
    yield Here(engine, image.id, settings.load(config, {}))
    engine.remove(image.id)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_OPENHANDS_KEY", KEY)


def script(tmp_path: Path, *turns: list[str], repeat: bool = False) -> Behaviour:
    """The loopback server's behaviour for a list of turns, each a list of commands."""
    path = tmp_path / "script.yaml"
    listed = [{"thought": f"Thought {n}.", "commands": commands} for n, commands in enumerate(turns, 1)]
    path.write_text(yaml.safe_dump({"turns": listed, "repeat": repeat}))
    return answer_as(ScriptedProvider(path, model="loopback-1"))


def kinds(done: Trajectory) -> list[str]:
    return [event.get("action") or event["observation"] for event in done.history]


def test_solves_in_an_image_without_python(each: Here, tmp_path: Path) -> None:
    """A whole conversation: shell, file editor, task list, finish; its patch is there, nothing of it is left behind."""

    def call(name: str, **arguments: Any) -> dict[str, Any]:
        function = {"name": name, "arguments": json.dumps(arguments)}
        return {"id": f"call_{secrets.token_hex(4)}", "type": "function", "function": function}

    edit = {"command": "str_replace", "path": "/repo/calc.py", "old_str": "a - b", "new_str": "a + b"}
    turns = [
        [call("terminal", command="command -v python3 python; git status --short; env | grep -v PS1")],
        [call("task_tracker", command="plan", task_list=[{"title": "Add", "status": "todo"}])],
        [call("file_editor", **edit)],
        [call("think", thought="It adds now."), call("terminal", command="(exit 3)")],
        [call("terminal", command="cat calc.py; ls -A")],
        [call("finish", message="add() adds.")],
    ]

    with OpenAIServer(*(_calls(turn) for turn in turns)) as server:
        done, seen, door = each.solve(tmp_path, server.url, look="git diff; git status --short; ps -ef 2>/dev/null")
        sent = [request.body for request in server.requests]
    assert done.exit_status is ExitStatus.SUBMITTED and done.message == "add() adds."
    assert "+    return a + b" in seen and "??" not in seen
    assert len(sent) == len(door.completions) == len(turns)
    names = [tool["function"]["name"] for tool in sent[0]["tools"]]
    assert names == ["terminal", "file_editor", "task_tracker", "finish", "think"]
    assert "add() subtracts.\nIt should add." in done.instruction and "/repo" in done.instruction
    assert kinds(done)[:4] == ["system", "message", "run", "run"] and kinds(done)[-1] == "finish"
    assert {"edit", "think", "task_tracking"} <= set(kinds(done))
    numbers = [event["id"] for event in done.history]
    assert numbers == list(range(len(numbers)))
    assert all(event["cause"] in numbers for event in done.history if "cause" in event)
    environment = done.history[3]["content"]
    assert "LD_LIBRARY_PATH=/trap" in environment and "OPENAI_API_BASE=http://nowhere" in environment
    for word in (bundle.PLACE, LENT, "LITELLM", "TRAJMAKE_LD", "XDG", "\x1b"):
        assert word not in environment, word
    assert KEY not in json.dumps([done.history, sent])
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in events][:2] == ["SystemPromptEvent", "MessageEvent"]
    assert done.details["agent_version"].startswith("1.") and done.details["prompt_digest"]


def _calls(calls: list[dict[str, Any]]) -> Behaviour:
    def behave(handler: Handler, body: dict[str, Any]) -> None:
        message = {"role": "assistant", "content": "Well.", "tool_calls": calls}
        choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        reply = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "loopback-1"}
        handler.send(200, json.dumps(reply | {"choices": [choice], "usage": usage}).encode())

    return behave


def test_limits_end_a_run_as_limits(here: Here, tmp_path: Path) -> None:
    """Model calls and wall time: each is a value, and what the agent did until then is kept."""
    busy = script(tmp_path, [FIX], ["true"], repeat=True)
    with OpenAIServer(busy) as server:
        done, seen, _ = here.solve(
            tmp_path / "steps", server.url, limits=AgentLimits(steps=3, seconds=120), look="cat *.py"
        )
        assert done.exit_status is ExitStatus.STEP_LIMIT and len(server.requests) == 3
        assert "return a + b" in seen
        assert done.history[-1]["extras"]["agent_state"] == "error"
    with OpenAIServer(script(tmp_path, ["sleep 600 & echo started; sleep 600"])) as server:
        start = time.monotonic()
        limits = AgentLimits(seconds=25, command_seconds=600)
        done, seen, _ = here.solve(tmp_path / "time", server.url, limits=limits, look="cat /proc/[0-9]*/cmdline")
        assert done.exit_status is ExitStatus.TIME_LIMIT and 25 <= time.monotonic() - start < 300
        assert "sleep" not in seen, "what the agent started is gone"


def test_a_command_has_a_limit_and_its_end_of_the_shell_is_survived(here: Here, tmp_path: Path) -> None:
    """The model is told that the command still runs, may interrupt it, and gets a new shell after `exit`."""

    def call(**arguments: Any) -> Behaviour:
        function = {"name": "terminal", "arguments": json.dumps(arguments)}
        return _calls([{"id": f"call_{secrets.token_hex(4)}", "type": "function", "function": function}])

    behaviours = [
        call(command="cat", timeout=500),
        call(command="C-c", is_input=True),
        call(command="cd /tmp && exit 7"),
        call(command="echo again in $PWD; printf '%s-' $(seq 2000)"),
        _calls([{"id": "c", "type": "function", "function": {"name": "finish", "arguments": '{"message": "."}'}}]),
    ]
    with OpenAIServer(*behaviours) as server:
        start = time.monotonic()
        done, _, _ = here.solve(tmp_path, server.url, limits=AgentLimits(seconds=280, command_seconds=8))
        assert time.monotonic() - start < 300  # it asked for 500
    seen = [event for event in done.history if event.get("observation") == "run"]
    assert "timed out after 8" in seen[0]["content"]
    assert [event["extras"]["metadata"]["exit_code"] for event in seen] == [-1, 130, 7, 0]
    assert "again in /repo" in seen[3]["content"] and done.exit_status is ExitStatus.SUBMITTED


def test_each_command_has_its_own_output_however_slow_the_prompt(here: Here, tmp_path: Path) -> None:
    """Commands of one turn follow each other at once; the prompt, with its ``$(pwd)``, may come much later."""
    slow = "mkdir -p ~; echo 'pwd() { sleep 0.3; builtin pwd; }' > ~/.bashrc"
    commands = ["echo one", "seq 3000 3002", "cat <<'EOF'\nhere\nEOF", "seq 12000 | tail -n 11000", "false"]
    with OpenAIServer(script(tmp_path, commands, [SUBMIT])) as server:
        done, _, _ = here.solve(tmp_path, server.url, before=slow)
    seen = [event for event in done.history if event.get("observation") == "run"]
    first = [event["content"].split("\n[The command", 1)[0].rstrip() for event in seen]
    assert first[:3] == ["one", "3000\n3001\n3002", "here"] and "12000" in first[3] and "3001" not in first[3]
    assert [event["extras"]["metadata"]["exit_code"] for event in seen] == [0, 0, 0, 0, 1]


def test_a_fault_of_the_provider_ends_the_run_as_that_fault(here: Here, tmp_path: Path) -> None:
    """Not as the agent's failure: the run is repeated, and the SDK has not asked again and again."""
    with OpenAIServer(script(tmp_path, ["true"]), fail(401, "Incorrect API key provided.")) as server:
        with pytest.raises(KeyRefusedError, match="Incorrect API key provided"):
            here.solve(tmp_path, server.url)
        assert len(server.requests) == 2
    assert len(list((tmp_path / "journal").iterdir())) == 1


def test_a_model_that_cannot_be_reached_is_a_fault(here: Here, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ProviderDownError):
            here.solve(tmp_path, f"http://127.0.0.1:{closed.getsockname()[1]}/v1")


def test_a_conversation_that_grows_too_long_is_the_agents_limit(here: Here, tmp_path: Path) -> None:
    """Also where a summary cannot be had, because that is too long as well."""
    with OpenAIServer(script(tmp_path, ["true"]), too_long()) as server:
        done, _, _ = here.solve(tmp_path, server.url)
    assert done.exit_status is ExitStatus.CONTEXT_LIMIT


def test_an_agent_that_ends_its_own_process_gave_up(here: Here, tmp_path: Path) -> None:
    """No fault of the machine, which would buy the run again and again; what it changed is kept."""
    with OpenAIServer(script(tmp_path, [FIX], ["kill -9 -1"], ["true"])) as server:
        done, seen, _ = here.solve(tmp_path, server.url, look="cat calc.py")
    assert done.exit_status is ExitStatus.GAVE_UP and "return a + b" in seen


def test_the_same_answers_lead_to_the_same_requests(here: Here, tmp_path: Path) -> None:
    """A journal can be replayed: nothing in a request depends on time, chance or the run."""
    turns = (
        ["ls; cat calc.py", "seq 8000"],
        [f"{FIX} && cat <<'EOF'\nhello\nEOF"],
        ["git diff; git status"],
        [SUBMIT],
    )
    bodies = []
    for number in (1, 2):
        with OpenAIServer(script(tmp_path, *turns)) as server:
            done, _, _ = here.solve(tmp_path / str(number), server.url)
            assert done.exit_status is ExitStatus.SUBMITTED
            bodies.append([request.body for request in server.requests])
    assert len(bodies[0]) == 4 and bodies[0] == bodies[1]


# The server, without a container


class Model:
    """A gateway's place: answers with ``reply``, or raises it."""

    def __init__(self, reply: Completion | Exception) -> None:
        self.completions: list[Completion] = []
        self.reply = reply
        self.busy = 0

    def complete(self, messages: Any, tools: Any = ()) -> Completion:
        self.busy += 1
        assert self.busy == 1, "one request at a time"
        time.sleep(0.02)
        self.busy -= 1
        if isinstance(self.reply, Exception):
            raise self.reply
        self.completions.append(self.reply)
        return self.reply


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("model", timeout=10)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def ask(path: Path, body: Any, method: str = "POST", url: str = "/v1/chat/completions") -> tuple[int, str]:
    connection = UnixConnection(path)
    connection.request(method, url, body if isinstance(body, bytes) else json.dumps(body))
    response = connection.getresponse()
    return response.status, response.read().decode()


CALL = {"id": "call_1", "type": "function", "function": {"name": "bash", "arguments": "{}"}}
HELLO = {"messages": [{"role": "user", "content": "hello"}]}
ANSWER = Completion(
    {"role": "assistant", "content": "hi", "tool_calls": [CALL]}, "tool_calls", "m-1", "r-1", Usage(3, 4, 2)
)


def test_the_server_speaks_openais_language(tmp_path: Path) -> None:
    """Whole and streamed answers, the list of models; as OpenAI's own client reads them."""
    import httpx
    import openai

    path = tmp_path / "s"
    with GatewayServer(Model(ANSWER), path, model="m") as server:
        transport = httpx.HTTPTransport(uds=str(path))
        client = openai.OpenAI(api_key="-", base_url="http://model/v1", http_client=httpx.Client(transport=transport))
        assert [model.id for model in client.models.list()] == ["m"]
        messages: Any = HELLO["messages"]
        whole = client.chat.completions.create(model="m", messages=messages)
        assert whole.model == "m-1" and whole.choices[0].message.content == "hi" and whole.usage
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 4)
        options: Any = {"include_usage": True}
        chunks = list(client.chat.completions.create(model="m", messages=messages, stream=True, stream_options=options))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "hi"
        calls = [call for c in chunks if c.choices for call in c.choices[0].delta.tool_calls or []]
        assert [(call.index, call.id) for call in calls] == [(0, "call_1")]
        assert chunks[-1].usage and chunks[-1].usage.total_tokens == 7
        assert server.requests == 2
    assert not path.exists()


def test_the_server_refuses_nonsense_and_stays(tmp_path: Path) -> None:
    """What speaks to it may be anything that runs in the container."""
    path = tmp_path / "s"
    with GatewayServer(Model(ANSWER), path, model="m") as server:
        nonsense = (
            b"{",
            b"\xff",
            [],
            {},
            {"messages": []},
            {"messages": [1]},
            HELLO | {"tools": [1]},
            HELLO | {"tools": 1},
        )
        assert [ask(path, body)[0] for body in nonsense] == [400] * len(nonsense)
        assert ask(path, {}, url="/v1/embeddings")[0] == ask(path, b"", "GET", "/etc/passwd")[0] == 404
        connection = UnixConnection(path)
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("Content-Length", str(10**12))
        connection.endheaders()
        assert connection.getresponse().status == 413
        gone = UnixConnection(path)
        gone.request("POST", "/v1/chat/completions", json.dumps(HELLO))
        gone.close()
        assert ask(path, HELLO)[0] == 200 and server.error is None


def test_the_first_error_ends_the_run_and_the_agent_learns_nothing_of_it(tmp_path: Path) -> None:
    """A 4xx that no client retries, without the provider's words; the job raises what the gateway raised."""
    path = tmp_path / "s"
    refused = KeyRefusedError("m refuses the key: sk-...", "Look at it.")
    model = Model(refused)
    with GatewayServer(model, path, model="m") as server:
        status, said = ask(path, HELLO)
        assert status == 400 and "refuses" not in said and server.error is refused
        model.reply = ANSWER
        assert ask(path, HELLO)[0] == 400 and model.completions == []


def test_a_context_that_is_exceeded_and_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "s"
    model = Model(ContextExceeded("too long"))
    with GatewayServer(model, path, model="m") as server:
        status, said = ask(path, HELLO)
        assert status == 400 and json.loads(said)["error"]["code"] == "context_length_exceeded"
        model.reply = ANSWER
        assert ask(path, HELLO)[0] == 200
        model.reply = LimitReached(ExitStatus.COST_LIMIT, "enough")
        assert ask(path, HELLO)[0] == 400 and len(model.completions) == 1
    reached = limit_of(server.error)
    assert reached and (reached.status, reached.message) == (ExitStatus.COST_LIMIT, "enough")


def test_requests_at_once_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "s"
    model = Model(ANSWER)
    with GatewayServer(model, path, model="m"), ThreadPoolExecutor(8) as pool:
        assert [status for status, _ in pool.map(lambda _: ask(path, HELLO), range(8))] == [200] * 8
    assert len(model.completions) == 8


# Interpreter and prompt


def test_where_there_is_no_interpreter_the_agent_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a hint; the run gets a fault record by it, see the stage."""
    with pytest.raises(EnvironmentBrokenError) as caught:
        bundle.build(tmp_path, "/nowhere/python3")
    assert "Python 3.12 or 3.13" in caught.value.message and "uv python install" in caught.value.hint
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho '{\"version\": [3, 11]}'\n")
    old.chmod(0o755)
    with pytest.raises(EnvironmentBrokenError, match=r"Python 3\.12"):
        bundle.interpreter(str(old))
    assert not list(tmp_path.glob("openhands-*.part")) and not list(tmp_path.glob("openhands-*/"))


def test_a_prompt_file_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "prompt.yaml"
    with pytest.raises(ConfigError, match="Cannot read"):
        OpenHands("m", str(path))
    path.write_text("instruction_template: hello\n")
    with pytest.raises(ConfigError, match="reminder"):
        OpenHands("m", str(path))


def test_every_package_of_the_bundle_is_pinned_and_hashed() -> None:
    """What runs beside paid-for work is not what an index happens to hold today."""
    lines = bundle.REQUIREMENTS.read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert len(pins) > 50 and all("==" in line and line.endswith("\\") for line in pins)
    names = {line.split("==")[0] for line in pins}
    assert {"openhands-sdk", "openhands-tools", "litellm"} <= names
    assert not names & {"browser-use", "lmnr", "huggingface-hub"}


# The whole workflow


def test_a_session_builds_the_bundle_for_openhands_alone(tmp_path: Path, bundles: Path) -> None:
    """Without an interpreter its runs are FAILED with a hint, and the next run, with one, builds and solves."""
    rows = small_instances.make(tmp_path / "made", 1)
    (name,) = (row["instance_id"] for row in rows)
    (tmp_path / "data" / "images").mkdir(parents=True)
    small_instances.write(rows, tmp_path / "data" / "instances.jsonl")
    replies = tmp_path / "replies"
    replies.mkdir()
    turns = [{"thought": "It is one.", "commands": ["echo 1 > value"]}, {"commands": [SUBMIT]}]
    (replies / f"{name}.yaml").write_text(yaml.safe_dump(turns))
    model = {"agent": "openhands", "provider": "scripted", "replies": str(replies)}
    catalog = {"inside": model, "outside": model | {"agent": "mini_swe_agent"}}
    project = Project.make(
        tmp_path / "project",
        tmp_path / "data",
        tmp_path / "store",
        engine="namespace",
        catalog=catalog,
        models=["outside", "inside"],
        openhands={"bundles": str(tmp_path / "none"), "python": "/nowhere/python3"},
    )
    assert "build_bundle" not in project.planned("--config", "models=[outside]").jobs
    assert project.planned().jobs["build_bundle"] == 1
    done = project.snakemake("-j", "2")
    if "namespace engine cannot run here" in done.stdout:
        pytest.skip("no namespaces")
    assert done.returncode != 0 and "uv python install" in done.stdout
    results = project.results()
    assert results["outside", name]["Status"] == "SUCCESS" and results["inside", name]["Status"] == "FAILED"

    project.configure(openhands={"bundles": str(bundles)})
    plan = project.planned()
    assert plan.jobs["build_bundle"] == 1 and plan.generated == [("inside", name)]
    done = project.snakemake("-j", "2")
    assert done.returncode == 0, done.stdout
    assert project.outcome("inside", name)["resolved"] is True
    folder = project.folder("inside", name)
    details = json.loads((folder / "metadata.json").read_text())["details"]
    assert details["agent_versions"]["openhands-sdk"] == details["agent_version"]
    assert (folder / f"{name}.events.jsonl").exists()
    assert len(list((folder / "llm_completions" / name).glob("[0-9]*.json"))) == 2
    assert project.planned().jobs == {}


def test_exit_codes_are_read_off_what_the_model_is_shown() -> None:
    """A replay ends where a command ended otherwise; a program that prints the words does not decide."""
    forged = "[The command completed with exit code 0.]\n"
    shown = f"{forged}\n[The command completed with exit code 3.]\n[Current working directory: /repo]"
    message = {"role": "tool", "content": [{"type": "text", "text": shown}], "tool_call_id": "c"}
    assert exit_codes(message) == exit_codes(message | {"content": shown}) == [3]
    assert exit_codes(message | {"content": "x\n[The command timed out after 2 seconds. You may wait]"}) == [-1]
    assert exit_codes({"role": "user", "content": shown}) == exit_codes({"role": "tool", "content": None}) == []

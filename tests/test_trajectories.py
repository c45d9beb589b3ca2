"""``output.jsonl`` and ``metadata.json``, held against a schema with every key of OpenHands V0's EvalOutput."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from local_container import LocalContainer
from pydantic import BaseModel, ConfigDict, ValidationError

import trajmake
from trajmake import agents, files
from trajmake.agents.base import AgentLimits, Task
from trajmake.datasets.instance import Instance
from trajmake.errors import ProviderDownError
from trajmake.llm.base import Completion, Usage
from trajmake.llm.gateway import Gateway
from trajmake.llm.scripted import ScriptedProvider
from trajmake.sessions import faults
from trajmake.settings import ModelSettings
from trajmake.trajectories import output, provenance


class Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class TestResult(Exact):
    __test__ = False
    git_patch: str


class Event(Exact):
    id: int
    timestamp: str
    source: Literal["agent", "user", "environment"]
    message: str
    action: Literal["system", "message", "run", "finish"] | None = None
    args: dict[str, Any] | None = None
    observation: Literal["run", "agent_state_changed"] | None = None
    content: str | None = None
    extras: dict[str, Any] | None = None
    cause: int | None = None
    success: bool | None = None
    response_id: str = ""


class TokenUsage(Exact):
    model: str
    prompt_tokens: int
    completion_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    context_window: int
    per_turn_token: int
    response_id: str


class Cost(Exact):
    model: str
    cost: float | None
    timestamp: float


class Latency(Exact):
    model: str
    latency: float
    response_id: str


class Metrics(Exact):
    accumulated_cost: float | int | None
    accumulated_token_usage: TokenUsage
    costs: list[Cost]
    response_latencies: list[Latency]
    token_usages: list[TokenUsage]


class Metadata(Exact):
    agent_class: str
    llm_config: dict[str, Any]
    max_iterations: int
    eval_output_dir: str
    start_time: str
    git_commit: str
    dataset: str
    data_split: str
    details: dict[str, Any]


class EvalOutput(Exact):
    instance_id: str
    instruction: str
    instance: dict[str, Any]
    test_result: TestResult
    metadata: Metadata
    history: list[Event]
    metrics: Metrics
    error: str | None


class FaultFields(Exact):
    stage: str
    reason: str
    message: str
    hint: str
    attempt: int
    exit_code: int


class FaultOutput(EvalOutput):
    error: str
    fault: FaultFields


ROW = {"instance_id": "calc-1", "problem_statement": "literal \\n stays", "extra": [1, None]}
INSTANCE = Instance(
    instance_id="calc-1",
    repo="o/calc",
    base_commit="0" * 40,
    problem_statement="literal \n stays",
    patch="",
    test_patch="",
    fail_to_pass=("t",),
    pass_to_pass=(),
    language="python",
    test_command="pytest",
    test_output_parser="python/parse_log_pytest",
    image_storage_uri="calc.tar",
    row=ROW,
    digest="d" * 64,
)


def settings(**values: Any) -> ModelSettings:
    given = {"model": "openai/m", "api_key_env": "SOME_KEY", "prices": {"input": 3, "output": 15}, "temperature": 0.1}
    options = values.pop("options", {})  # past the validation, which refuses secrets before anything could write them
    return ModelSettings.model_validate(given | values).model_copy(update={"options": options})


def built(tmp_path: Path, **values: Any) -> dict[str, Any]:
    """A record of a run that really took place."""
    script = tmp_path / "script.yaml"
    script.write_text("[{thought: Look., commands: [ls]}, {commands: [echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT]}]")
    model = settings(**values)
    door = Gateway(ScriptedProvider(script, model="m-2099"), tmp_path / "journal", model_name="m", prices=(3.0, 15.0))
    task = Task("calc-1", INSTANCE.problem_statement, str(tmp_path))
    done = agents.make(model, INSTANCE).solve(task, LocalContainer(tmp_path), door, AgentLimits())
    return output.build(
        instance=INSTANCE,
        trajectory=done,
        patch="diff --git a/x b/x\n",
        completions=door.completions,
        model=model,
        started=1_700_000_000.0,
        ended=1_700_000_012.5,
        details={"engine": "local", "image_id": "sha256:0", "model_digest": "m" * 64},
    )


def test_record_of_a_run_fits_the_schema(tmp_path: Path) -> None:
    """Exactly the keys of EvalOutput, after the way through a file; the row as it was read."""
    files.write_json(tmp_path / "output.jsonl", built(tmp_path), indent=None)
    assert (tmp_path / "output.jsonl").read_text().count("\n") == 1
    record = files.read_json(tmp_path / "output.jsonl")
    EvalOutput.model_validate(record)
    with pytest.raises(ValidationError):
        EvalOutput.model_validate({name: record[name] for name in record if name != "metrics"})
    assert record["instance"] == ROW and record["error"] is None
    assert record["test_result"]["git_patch"] == "diff --git a/x b/x\n"
    for event in record["history"]:
        assert ("action" in event) != ("observation" in event)
        assert event.get("cause", -1) < event["id"]


def test_metrics_add_up(tmp_path: Path) -> None:
    """Sums equal the single completions', which are named by the model that answered."""
    found = built(tmp_path)["metrics"]
    total, each = found["accumulated_token_usage"], found["token_usages"]
    assert len(each) == len(found["costs"]) == len(found["response_latencies"]) == 2
    assert total["prompt_tokens"] == sum(usage["prompt_tokens"] for usage in each) > 0
    cost = (total["prompt_tokens"] * 3 + total["completion_tokens"] * 15) / 1e6
    assert found["accumulated_cost"] == pytest.approx(cost)
    assert total["per_turn_token"] == each[-1]["prompt_tokens"] + each[-1]["completion_tokens"]
    assert {usage["model"] for usage in each} == {"m-2099"}


def test_an_unknown_cost_makes_the_sum_unknown() -> None:
    """Never 0, and never a part that passes for the whole; without any completion the cost is known to be 0."""
    known = Completion({"role": "assistant"}, "stop", "m", usage=Usage(1, 1), cost=0.5)
    unknown = Completion({"role": "assistant"}, "stop", "m", usage=Usage(1, 1), cost=None)
    assert output.metrics([known, unknown])["accumulated_cost"] is None
    assert [cost["cost"] for cost in output.metrics([known, unknown])["costs"]] == [0.5, None]
    assert output.metrics([known, known])["accumulated_cost"] == 1.0
    assert output.metrics([])["accumulated_cost"] == 0


def test_provenance_says_what_really_acted(tmp_path: Path) -> None:
    """Versions, checkout, host, digests, times, the model asked for and the one that answered."""
    record = built(tmp_path)
    metadata, details = record["metadata"], record["metadata"]["details"]
    assert details["versions"]["trajmake"] == trajmake.__version__
    assert details["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert details["versions"]["litellm"] and details["versions"]["mini-swe-agent"] == details["agent_version"]
    assert (details["model_asked"], details["models_answered"]) == ("openai/m", ["m-2099"])
    assert (details["exit_status"], details["steps"], details["seconds"]) == ("submitted", 2, 12.5)
    assert (details["started"], details["ended"]) == (1_700_000_000.0, 1_700_000_012.5)
    assert details["row_digest"] == INSTANCE.digest and len(details["prompt_digest"]) == 64
    assert details["engine"] == "local" and details["host"]["name"]
    assert metadata["agent_class"] == "mini_swe_agent" and metadata["max_iterations"] == 250
    assert len(metadata["start_time"]) == len("2023-11-14 22:13:20")


def test_checkout_is_this_projects_own() -> None:
    """Commit and dirty flag as git says them, or nothing where the project does not lie in a checkout of its own."""
    root = Path(trajmake.__file__).parent.parent
    git = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
    said = subprocess.run(git, capture_output=True, text=True)
    found = provenance.checkout()
    if said.returncode == 0 and Path(said.stdout.split("\n")[0]).resolve() == root.resolve():
        assert found is not None and found["commit"] == said.stdout.split("\n")[1]
        assert isinstance(found["dirty"], bool)
    else:
        assert found is None


def test_no_key_in_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is ten stars; so is what an option's name says is secret, at any depth."""
    monkeypatch.setenv("SOME_KEY", "sk-a-real-key-0123456789")
    headers = {"extra_headers": {"Authorization": "Bearer sk-another-0123456789", "X-Title": "t"}, "max_tokens": 5}
    record = built(tmp_path, options=headers)
    config = record["metadata"]["llm_config"]
    assert config["api_key"] == "**********" and config["model"] == "openai/m"
    assert config["options"] == {"extra_headers": {"Authorization": "**********", "X-Title": "t"}, "max_tokens": 5}
    assert "sk-a" not in json.dumps(record)


def test_a_fault_stands_in_the_same_place(tmp_path: Path) -> None:
    """The same keys and the fault; no later stage takes it for a trajectory, and it can be read back."""
    fault = faults.from_error(ProviderDownError("No answer.", "Try later."), "generate", 2)
    files.write_json(
        tmp_path / "output.jsonl",
        output.fault_output("calc-1", fault, model=settings(), started=1_700_000_000.0),
        indent=None,
    )
    record = files.read_json(tmp_path / "output.jsonl")
    FaultOutput.model_validate(record)
    assert record["error"] == "No answer." and record["history"] == [] and record["test_result"] == {"git_patch": ""}
    assert record["fault"] == {
        "stage": "generate",
        "reason": "provider_down",
        "message": "No answer.",
        "hint": "Try later.",
        "attempt": 2,
        "exit_code": 9,
    }
    assert record["metadata"]["llm_config"]["api_key"] == "**********"
    assert faults.of(record) == fault

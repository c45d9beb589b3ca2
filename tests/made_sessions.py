"""Sessions on disk that nobody ran: the files of single runs, made by the code that makes a real run's."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from click.testing import Result
from typer.testing import CliRunner

from trajmake import files, grading
from trajmake.agents.history import History
from trajmake.cli import app
from trajmake.errors import Reason
from trajmake.grading.verdict import RequiredTests, State, Verdict
from trajmake.sessions import drive, layout, locks, outcome, status
from trajmake.sessions.faults import Fault

STARTED = 1_760_000_000.0
PATCH = "diff --git a/value b/value\n--- a/value\n+++ b/value\n@@ -1 +1 @@\n-0\n+1\n"


class Made:
    """An output folder, and a configuration that names it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "outputs"
        self.configfile = root / "config.yaml"
        catalog = {"any": {"agent": "gold"}}
        config = {"session": "x", "dataset": "d", "models": ["any"], "catalog": catalog, "output_dir": str(self.root)}
        files.write_text(self.configfile, yaml.safe_dump(config))

    def session(self, name: str, usd: float = 0.0) -> None:
        lock = self.root / layout.LOCK.format(session=name)
        with locks.claim(lock):
            pass
        record = {"usd": usd, "completions": 1, "unpriced": 0}
        files.write_json(self.root / layout.SPENDING.format(session=name) / "host.json", record)

    def place(self, pattern: str, session: str, model: str, instance: str) -> Path:
        return self.root / pattern.format(session=session, model=model, instance_id=layout.safe_name(instance))

    def run(
        self,
        session: str,
        model: str,
        instance: str,
        resolved: bool | None = True,
        *,
        exit_status: str = "submitted",
        seconds: float = 10,
        steps: int = 3,
        cost: float | None = 0.5,
        row: str = "row",
        patch: str = PATCH,
        commands: Sequence[tuple[str, str]] = (),
        judged: bool = True,
        history: Sequence[dict[str, Any]] = (),
        metrics: dict[str, Any] | None = None,
        statement: str = "",
        log: str = "the tests' log",
    ) -> None:
        """A run with a trajectory; ``resolved`` None: its container was lost while its tests ran.

        ``history`` and ``metrics`` take the place of what is made of ``commands`` and ``cost``.
        """
        details = {"exit_status": exit_status, "seconds": seconds, "steps": steps, "row_digest": row}
        details |= {"started": STARTED, "ended": STARTED + seconds, "model_asked": "openai/some-1"}
        llm = {"model": "openai/some-1", "provider": "litellm"}
        did = History()
        for command, output in commands:
            cause = did.run(command, "I look.")
            did.ran(cause, command, output, exit_code=0, workdir="/testbed")
        record = {
            "instance_id": instance,
            "test_result": {"git_patch": patch},
            "metadata": {"agent_class": "mini_swe_agent", "llm_config": llm, "details": details},
            "instance": {"problem_statement": statement} if statement else {},
            "history": list(history) or did.events,
            "metrics": metrics
            or {
                "accumulated_cost": cost,
                "accumulated_token_usage": {"prompt_tokens": 1000, "completion_tokens": 100},
            },
        }
        self._write(session, model, instance, record, resolved if judged else ..., None, log)

    def drive(self, session: str, models: list[str], instances: list[str], budget: float = 0.0) -> None:
        """What the session's driver wrote down: ``instances`` are safe names."""
        record = drive.Drive(STARTED, 0.0, "hybrid", models, instances, budget)
        files.write_json(self.root / layout.DRIVE.format(session=session), asdict(record))

    @contextlib.contextmanager
    def working(self, session: str, model: str, instance: str) -> Iterator[None]:
        """A run that goes on while the block lasts."""
        with locks.claim(self.place(layout.CLAIM, session, model, instance)):
            line = status.StatusLine(status.Status.IN_PROGRESS, int(time.time()))
            status.write(self.place(layout.STATUS, session, model, instance), line)
            yield

    def step(self, session: str, model: str, instance: str, number: int, command: str, output: str = "seen") -> None:
        """The ``number``-th answer of a run's model: ``command``, after the earlier ones' outputs."""
        folder = self.place(layout.JOURNAL, session, model, instance)
        before = files.read_object(folder / f"{number - 1:04d}.json")
        asked = [*before["messages"], before["message"]] if before else [{"role": "user", "content": "The task."}]
        for call in before["message"]["tool_calls"] if before else ():
            asked.append({"role": "tool", "tool_call_id": call["id"], "content": output})
        function = {"name": "bash", "arguments": json.dumps({"command": command})}
        call = {"id": f"call-{number}", "type": "function", "function": function}
        message = {"role": "assistant", "content": f"Thought {number}.", "tool_calls": [call]}
        usage = {"prompt_tokens": 1000, "completion_tokens": 20}
        answer = {"message": message, "finish_reason": "tool_calls", "model": "openai/some-1", "cost": 0.01}
        answer |= {"response_id": f"r-{number}", "usage": usage, "latency": 1.0, "timestamp": STARTED + 10 * number}
        files.write_json(folder / f"{number:04d}.json", {"messages": asked, "tools": []} | answer)

    def fault(self, session: str, model: str, instance: str, message: str = "The provider is down.") -> None:
        """A run that the machine prevented."""
        fault = Fault("generate", Reason.PROVIDER_DOWN.value, message, "Wait.", 12, 1)
        record = {"instance_id": instance, "test_result": {"git_patch": ""}, "metadata": {"details": {}}, "history": []}
        record["metrics"] = {"accumulated_cost": 0.0}
        self._write(session, model, instance, record, None, fault)

    def _write(
        self, session: str, model: str, instance: str, record: dict, resolved: Any, fault: Fault | None, log: str = ""
    ) -> None:
        folder = self.place(layout.INSTANCE, session, model, instance)
        evaluation = self.place(layout.EVALUATION, session, model, instance)
        files.write_json(folder / "metadata.json", record["metadata"])
        files.write_json(folder / "output.jsonl", record, indent=None)
        line = self.place(layout.STATUS, session, model, instance)
        status.write(line, status.StatusLine(status.Status.SUCCESS, int(STARTED)))
        if resolved is ...:
            return
        files.write_json(evaluation / "test_run.json", {})
        files.write_text(evaluation / "test_output.txt", log)
        verdict = Verdict(instance, State.INFRA_FAILURE, "Lost.", Reason.CONTAINER_LOST.value)
        if resolved is not None:
            tests = (
                RequiredTests((), (), ("t::kept",), ()) if resolved else RequiredTests((), ("t::bug",), ("t::kept",))
            )
            state = State.RESOLVED if resolved else State.UNRESOLVED
            verdict = Verdict(instance, state, patch_exists=True, patch_applied=True, tests=tests)
        state = outcome.build(session, model, record, verdict, fault)
        files.write_json(evaluation / "report.json", grading.report(verdict))
        files.write_json(evaluation / "outcome.json", state)
        status.write(line, outcome.status_line(state))

    def call(self, *arguments: str) -> Result:
        """The command line, with this folder's configuration."""
        return CliRunner().invoke(app, [*arguments, "--configfile", str(self.configfile)])

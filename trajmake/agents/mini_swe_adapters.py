"""mini-swe-agent's two plugs: its model is our gateway, its environment our container.

The shapes are those of the Protocols in ``minisweagent/__init__.py`` (2.4.6); its
own parsing and formatting of tool calls is used, which needs no litellm.
"""

from __future__ import annotations

import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any

from trajmake import borrowed
from trajmake.agents.base import AgentLimits, Task
from trajmake.engines.base import Container
from trajmake.llm.base import LLM, Completion
from trajmake.llm.clock import Clock
from trajmake.llm.errors import ContextExceeded, LimitReached
from trajmake.llm.redaction import clean
from trajmake.outcomes import ExitStatus
from trajmake.sessions import temporary

SUBMIT = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
_RETURNCODE = re.compile(r"^<returncode>(-?\d+)</returncode>$", re.MULTILINE)  # of its template for outputs
_KEEP = 1024 * 1024  # bytes of a command's output; the prompt shows 10,000 characters
_DAY = 86_400.0  # an engine wants some timeout, also where there is no limit


def load() -> SimpleNamespace:
    """mini-swe-agent's parts, imported without its side effects.

    The import makes a configuration folder in the user's home, reads a ``.env``
    there and prints a banner; two variables turn it to an empty folder and silence.
    """
    with (
        temporary.folder("trajmake-") as empty,
        borrowed.environment(MSWEA_SILENT_STARTUP="1", MSWEA_GLOBAL_CONFIG_DIR=empty),
    ):
        import minisweagent
        from minisweagent import exceptions
        from minisweagent.agents.default import DefaultAgent
        from minisweagent.models.utils import actions_toolcall as tools
    return SimpleNamespace(
        version=minisweagent.__version__, DefaultAgent=DefaultAgent, exceptions=exceptions, tools=tools
    )


@dataclass(frozen=True)
class ModelTemplates:
    """How outputs and complaints are worded to the model (Jinja2)."""

    observation_template: str
    format_error_template: str


class Model:
    """mini-swe-agent's ``Model``: asks through the gateway.

    Attributes:
        limit: What ended the run, when the gateway made no further request.
    """

    def __init__(self, mini: SimpleNamespace, llm: LLM, config: ModelTemplates) -> None:
        self.config = config
        self.limit: LimitReached | None = None
        self._mini = mini
        self._llm = llm

    def query(self, messages: list[dict[str, Any]], **kwargs: Any) -> dict[str, Any]:
        """The next message, with its commands under ``extra.actions``."""
        tools = self._mini.tools
        request = [{key: value for key, value in message.items() if key != "extra"} for message in messages]
        try:
            completion = self._llm.complete(request, [tools.BASH_TOOL])
        except ContextExceeded as error:
            self.limit = LimitReached(
                ExitStatus.CONTEXT_LIMIT, f"The conversation exceeded the context window: {error}"
            )
            raise self._ended("ContextExceeded") from error
        except LimitReached as limit:
            self.limit = limit
            in_time = limit.exit_status is not ExitStatus.TIME_LIMIT
            raise self._ended("LimitsExceeded" if in_time else "TimeExceeded") from limit
        extra = {"cost": completion.cost or 0.0, "timestamp": completion.timestamp, "response": asdict(completion)}
        try:
            actions = tools.parse_toolcall_actions(
                _calls(completion),
                format_error_template=self.config.format_error_template,
                template_kwargs={"finish_reason": completion.finish_reason},
            )
        except self._mini.exceptions.FormatError as error:
            error.messages[0]["extra"].update(extra)  # the answer is paid for: its cost must not be lost
            raise
        return {**completion.message, "extra": {"actions": actions, **extra}}

    def _ended(self, status: str) -> Exception:
        return _exit(self._mini.exceptions.LimitsExceeded, status, str(self.limit))

    def format_message(self, **message: Any) -> dict[str, Any]:
        """A message as mini-swe-agent keeps it."""
        return message

    def format_observation_messages(
        self, message: dict[str, Any], outputs: list[dict[str, Any]], template_vars: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Outputs as the model sees them."""
        shown: list[dict[str, Any]] = self._mini.tools.format_toolcall_observation_messages(
            actions=message["extra"]["actions"],
            outputs=outputs,
            observation_template=self.config.observation_template,
            template_vars=template_vars,
        )
        return shown

    def get_template_vars(self, **kwargs: Any) -> dict[str, Any]:
        """What prompts may name."""
        return asdict(self.config)

    def serialize(self) -> dict[str, Any]:
        """For the ``.traj.json``."""
        return {"info": {"config": {"model": asdict(self.config), "model_type": _type(self)}}}


@dataclass
class Executed:
    """A command that ran: the action as the model gave it, and what came of it."""

    action: dict[str, Any]
    command: str
    output: str
    exit_code: int
    started: float
    ended: float


@dataclass
class Environment:
    """mini-swe-agent's ``Environment``: runs commands in our container until the wall time is over."""

    mini: SimpleNamespace
    container: Container
    task: Task
    limits: AgentLimits
    clock: Clock
    executed: list[Executed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = {"cwd": self.task.workdir, "env": self.task.env, "timeout": self.limits.command_seconds}
        self.clock.start()

    def execute(self, action: dict[str, Any], cwd: str = "") -> dict[str, Any]:
        """Run one command.

        Raises:
            Submitted: its first line says so, and it succeeded.
            TimeExceeded: the run's wall time is over; a running command was killed for it.
            TrajmakeError: the machine failed.
        """
        command = action["command"]
        if not isinstance(command, str) or "\0" in command:
            return _failure("", "the command is not a text that a shell can take")
        command = clean(command)
        left, most = self._left(), self.limits.command_seconds or _DAY
        if left <= 0:
            raise self._time_exceeded()
        timeout = min(left, most)
        started = time.time()
        result = self.container.run(
            command, timeout=timeout, cwd=cwd or self.task.workdir, env=self.task.env, keep=_KEEP
        )
        ran = Executed(action, command, result.text, result.exit_code, started, time.time())
        self.executed.append(ran)
        if (result.timed_out and left <= most) or self._left() <= 0:
            raise self._time_exceeded()
        if result.timed_out:
            return _failure(ran.output, str(subprocess.TimeoutExpired(command, timeout)))
        self._check_submitted(ran)
        return {"output": ran.output, "returncode": result.exit_code, "exception_info": ""}

    def _left(self) -> float:
        return (self.limits.seconds or 365 * _DAY) - self.clock.elapsed()

    def get_template_vars(self, **kwargs: Any) -> dict[str, Any]:
        """What prompts may name: the settings, and the system (not the host's name)."""
        system = platform.uname()
        facts = {name: getattr(system, name) for name in ("system", "release", "version", "machine")}
        return {**self.config, **facts}

    def serialize(self) -> dict[str, Any]:
        """For the ``.traj.json``."""
        return {"info": {"config": {"environment": self.config, "environment_type": _type(self)}}}

    def _time_exceeded(self) -> Exception:
        return _exit(self.mini.exceptions.TimeExceeded, "TimeExceeded", "TimeExceeded")

    def _check_submitted(self, ran: Executed) -> None:
        lines = ran.output.lstrip().splitlines(keepends=True)
        if lines and lines[0].strip() == SUBMIT and ran.exit_code == 0:
            submission = "".join(lines[1:])
            raise _exit(self.mini.exceptions.Submitted, "Submitted", submission, submission)


def exit_codes(message: Mapping[str, Any]) -> list[int]:
    """The exit code in an observation (-1 for a command that was cut short); none in other messages."""
    content = message.get("content")
    found = _RETURNCODE.search(content) if isinstance(content, str) else None  # first comes its own, then the output
    return [int(found[1])] if found else []


def _exit(kind: type[Exception], status: str, content: str, submission: str = "") -> Exception:
    extra = {"exit_status": status, "submission": submission}
    return kind({"role": "exit", "content": content, "extra": extra})


def _failure(output: str, reason: str) -> dict[str, Any]:
    info = f"An error occurred while executing the command: {reason}"
    return {"output": output, "returncode": -1, "exception_info": info}


def _calls(completion: Completion) -> Sequence[SimpleNamespace]:
    """Tool calls with attributes, as mini-swe-agent's parser wants them."""
    calls = []
    for call in completion.message.get("tool_calls") or []:
        function = call.get("function") or {}
        named = SimpleNamespace(name=function.get("name", ""), arguments=function.get("arguments"))
        calls.append(SimpleNamespace(id=call.get("id"), function=named))
    return calls


def _type(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__name__}"

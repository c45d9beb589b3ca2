"""OpenHands: its SDK's conversation runs inside the instance's container, from a bundle of its own.

The container has no network. The model is reached by a unix socket in a folder that this job lends it,
read-only, with the program and the task; events come back by the same socket.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.agents.base import Agent, AgentLimits, Task, Trajectory, parse_templates
from trajmake.agents.openhands import bundle, inside
from trajmake.agents.openhands.ending import ending, limit_of
from trajmake.agents.openhands.events import text_of, to_history
from trajmake.datasets.instance import Instance
from trajmake.engines.base import Container
from trajmake.errors import ConfigError
from trajmake.llm.base import LLM
from trajmake.llm.clock import Clock
from trajmake.llm.redaction import clean
from trajmake.llm.server import GatewayServer
from trajmake.outcomes import ExitStatus
from trajmake.sessions import temporary
from trajmake.settings import ModelSettings, Settings

PROMPT = Path(__file__).with_name("prompt.yaml")
LENT = "/opt/trajmake-task"
"""Where the container sees the program, the task and the socket."""

TOOLS = ("terminal", "file_editor", "task_tracker", "finish", "think")
REMINDERS = 3
_DAY = 86_400.0  # an engine wants some timeout, also where there is no limit
_GRACE = 1800.0  # seconds for a replay and a provider in trouble, beyond the run's own time
_MANY = 1_000_000  # steps, where there is no limit
_KEEP = 64 * 1024  # bytes of what the program prints: errors, which are for the log
_MOST = 256 << 20  # bytes of events that are kept: the sender is a container
_EXIT_CODE = re.compile(r"^\[The command completed with exit code (-?\d+)\.", re.MULTILINE)
_TIMED_OUT = re.compile(r"^\[The command timed out after .*\]$", re.MULTILINE)
_START = f"""if [ -n "${{LD_PRELOAD-}}" ]; then export {inside.HIDDEN_PRELOAD}="$LD_PRELOAD"; unset LD_PRELOAD; fi
exec {bundle.PYTHON} -I -X utf8 {shlex.quote(LENT)}/inside.py"""


@dataclass(frozen=True)
class Prompt:
    """Words to the model, and the sha256 of the file that has them."""

    instruction_template: str
    reminder: str
    system_prompt: str
    digest: str


class OpenHands:
    """See the module.

    Args:
        model: Name of the model, by which the SDK chooses parts of its prompt.
        prompt_file: Prompts; the shipped ones when empty.

    Raises:
        ConfigError: the prompt file is missing or wrong.
    """

    def __init__(self, model: str, prompt_file: str = "") -> None:
        self._model = model
        self._prompt_file = Path(prompt_file) if prompt_file else PROMPT
        self._prompt = read_prompt(self._prompt_file)
        self._folder = temporary.folder("trajmake-task-")

    def mounts(self, options: Settings) -> Mapping[str, Path]:
        """The bundle, built where it is missing, and the folder with the task.

        Raises:
            EnvironmentBrokenError: it cannot be built.
        """
        built = bundle.build(bundle.place(options), options.openhands.python)
        return {bundle.PLACE: Path(built["folder"]), LENT: Path(self._folder.name)}

    def solve(self, task: Task, container: Container, llm: LLM | None, limits: AgentLimits) -> Trajectory:
        """Run the conversation until the agent has finished or a limit ends it.

        A cost that is not known counts as nothing against ``limits.cost_usd``.

        Raises:
            ConfigError: no model, or the prompt's template cannot be rendered.
            EnvironmentBrokenError: the SDK did not come to an end of its own.
            TrajmakeError: the machine failed, see :meth:`Agent.solve`.
        """
        if llm is None:
            raise ConfigError("The agent `openhands` needs a model.")
        instruction = self._instruction(task)
        run = Conversation(task)
        folder = Path(self._folder.name)
        folder.chmod(0o711)  # the container's root may be somebody else here
        with self._folder:
            (folder / "inside.py").write_bytes(Path(inside.__file__).read_bytes())
            (folder / "task.json").write_text(json.dumps(self._job(task, limits, instruction)), encoding="utf-8")
            posts = {"/events": run.keep, "/ended": run.end}
            with GatewayServer(llm, folder / "model.sock", model=self._model, posts=posts) as server:
                left = functools.partial(_left, llm.clock, limits, time.monotonic())
                result = container.run(_START, timeout=left, cwd=task.workdir, env=task.env, keep=_KEEP)
        reached = limit_of(server.error)
        if server.error is not None and reached is None:
            raise server.error
        done = reached or ending(result, run.ended, limits, answered=bool(llm.completions))
        history = to_history(run.events, task.workdir)
        if done.status is not ExitStatus.SUBMITTED:
            history.stop(done.message)
        return Trajectory(
            exit_status=done.status,
            instruction=instruction,
            history=history.events,
            message=done.message,
            details=self._details(run),
        )

    def _instruction(self, task: Task) -> str:
        import jinja2

        try:
            template = jinja2.Template(self._prompt.instruction_template, undefined=jinja2.StrictUndefined)
            return str(clean(template.render(task=task.problem_statement, workdir=task.workdir)))
        except jinja2.TemplateError as error:
            raise ConfigError(f"The prompt file {self._prompt_file} cannot be rendered: {error}") from error

    def _job(self, task: Task, limits: AgentLimits, instruction: str) -> dict[str, Any]:
        return {
            "model": self._model,
            "workdir": task.workdir,
            "instruction": instruction,
            "reminder": self._prompt.reminder,
            "reminders": REMINDERS,
            "system_prompt": self._prompt.system_prompt,
            "steps": limits.steps or _MANY,
            "command_seconds": limits.command_seconds or _DAY,
        }

    def _details(self, run: Conversation) -> dict[str, Any]:
        versions = run.ended.get("versions") if isinstance(run.ended.get("versions"), dict) else {}
        system = next((e.get("system_prompt") for _, e in run.events if e.get("kind") == "SystemPromptEvent"), None)
        return {
            "agent_version": (versions or {}).get("openhands-sdk"),
            "agent_versions": versions,
            "bundle": bundle.digest(),
            "prompt_digest": self._prompt.digest,
            "system_prompt_digest": hashlib.sha256(json.dumps(system, sort_keys=True).encode()).hexdigest(),
            "tools": list(TOOLS),
        }


class Conversation:
    """What is known on this side of one conversation."""

    def __init__(self, task: Task) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.ended: dict[str, Any] = {}
        self._record = task.events
        self._room = _MOST
        if self._record:
            self._record.unlink(missing_ok=True)

    def keep(self, event: Any) -> None:
        """An event, as it comes."""
        line = json.dumps(event)
        self._room -= len(line)
        if isinstance(event, dict) and self._room > 0:
            self.events.append((time.time(), event))
            if self._record:
                files.append_line(self._record, line)

    def end(self, how: Any) -> None:
        """How the SDK says that it ended."""
        self.ended = how if isinstance(how, dict) else {}


def create(model: ModelSettings, instance: Instance) -> Agent:
    """See :func:`trajmake.agents.make`."""
    return OpenHands(model.model or model.provider, model.prompt_file)


def exit_codes(message: Mapping[str, Any]) -> list[int]:
    """The exit code in a message with a command's output (-1 where it goes on); none in other messages."""
    content = message.get("content")
    text = text_of(content) if message.get("role") == "tool" and content else ""
    if _TIMED_OUT.search(text):
        return [-1]
    return [int(code) for code in _EXIT_CODE.findall(text)[-1:]]


def _left(clock: Clock, limits: AgentLimits, started: float) -> float:
    """Seconds that a run still has: by its own clock, and in case that stands for ever."""
    if not limits.seconds:
        return _DAY
    return min(limits.seconds - clock.elapsed(), started + 2 * limits.seconds + _GRACE - time.monotonic())


def read_prompt(path: Path) -> Prompt:
    """The prompts of a file.

    Raises:
        ConfigError: the file is missing, or lacks one, or the template is no Jinja2.
    """
    import yaml

    try:
        data = path.read_bytes()
        content = yaml.safe_load(data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the prompt file {path}: {error}", "Look at `prompt_file`.") from error
    names = ("instruction_template", "reminder", "system_prompt")
    texts = content if isinstance(content, dict) and all(isinstance(text, str) for text in content.values()) else {}
    if set(texts) != set(names):
        raise ConfigError(
            f"The prompt file {path} does not hold just the texts {', '.join(names)}.", f"Take {PROMPT} as a pattern."
        )
    parse_templates(path, [texts["instruction_template"]])
    return Prompt(**texts, digest=hashlib.sha256(data).hexdigest())

"""mini-swe-agent: its own loop on the host, its commands in our container.

https://github.com/SWE-agent/mini-swe-agent (MIT). The limits are ours; those in
a prompt file are not read, nor are its model and environment classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trajmake.agents.base import Agent, AgentLimits, Task, Trajectory, parse_templates
from trajmake.agents.history import History
from trajmake.agents.mini_swe_adapters import Environment, Executed, Model, ModelTemplates, exit_codes, load
from trajmake.datasets.instance import Instance
from trajmake.engines.base import Container
from trajmake.errors import ConfigError
from trajmake.llm.base import LLM
from trajmake.llm.errors import LimitReached
from trajmake.llm.redaction import clean
from trajmake.outcomes import ExitStatus
from trajmake.settings import ModelSettings

__all__ = ["PROMPT", "MiniSweAgent", "Prompt", "create", "exit_codes", "read_prompt"]

PROMPT = Path(__file__).with_name("mini_swe_agent.yaml")
_TEMPLATES = {
    "agent": ("system_template", "instance_template"),
    "model": ("observation_template", "format_error_template"),
}
_WORKDIR = "/testbed"  # what prompts for SWE-bench call the repository's folder


@dataclass(frozen=True)
class Prompt:
    """Templates of a prompt file, in the form of mini-swe-agent's own configuration.

    Attributes:
        system_template, instance_template: First and second message (Jinja2).
        model: How outputs and complaints are worded.
        digest: sha256 of the file.
    """

    system_template: str
    instance_template: str
    model: ModelTemplates
    digest: str


class MiniSweAgent:
    """The real ``DefaultAgent`` with our model and environment.

    Args:
        prompt_file: Prompt templates; the shipped ones when empty.

    Raises:
        ConfigError: the prompt file is missing or lacks a template.
    """

    def __init__(self, prompt_file: str = "") -> None:
        self._prompt_file = Path(prompt_file) if prompt_file else PROMPT
        self._prompt = read_prompt(self._prompt_file)

    def solve(self, task: Task, container: Container, llm: LLM | None, limits: AgentLimits) -> Trajectory:
        """Run the loop until the agent submits or a limit ends it.

        Raises:
            ConfigError: no model, or a template of the prompt file cannot be rendered.
            TrajmakeError: the machine failed; the loop passes it on unchanged.
        """
        import jinja2

        if llm is None:
            raise ConfigError("The agent `mini_swe_agent` needs a model.")
        mini = load()
        environment = Environment(mini, container, task, limits, llm.clock)
        agent = self._agent(mini, environment, llm, task)
        try:
            info = agent.run(task.problem_statement)
        except jinja2.TemplateError as error:
            raise ConfigError(f"The prompt file {self._prompt_file} cannot be rendered: {error}") from error
        _remove_submission(info.get("submission", ""), container, task)
        exit_status, message = _ending(info["exit_status"], agent, limits)
        history = _history(agent.messages, environment.executed, task)
        if exit_status is ExitStatus.SUBMITTED:
            history.finish(message)
        else:
            history.stop(message)
        return Trajectory(
            exit_status=exit_status,
            instruction=agent.messages[1]["content"],
            history=history.events,
            message=message,
            native=clean(agent.serialize({"instance_id": task.instance_id})),
            details={"agent_version": mini.version, "prompt_digest": self._prompt.digest},
        )

    def _agent(self, mini: SimpleNamespace, environment: Environment, llm: LLM, task: Task) -> Any:
        prompt = self._prompt
        return mini.DefaultAgent(
            Model(mini, llm, prompt.model),
            environment,
            system_template=prompt.system_template.replace(_WORKDIR, task.workdir),
            instance_template=prompt.instance_template.replace(_WORKDIR, task.workdir),
            cost_limit=0,  # the gateway keeps all limits; this one has a default of its own
        )


def create(model: ModelSettings, instance: Instance) -> Agent:
    """See :func:`trajmake.agents.make`."""
    return MiniSweAgent(model.prompt_file)


def warm() -> None:
    """See :func:`trajmake.agents.warm`."""
    import jinja2  # noqa: F401
    import yaml  # noqa: F401

    load()


def read_prompt(path: Path) -> Prompt:
    """Templates of a prompt file.

    Raises:
        ConfigError: the file is missing, or lacks a template, or one is no Jinja2.
    """
    import yaml

    try:
        data = path.read_bytes()
        content = yaml.safe_load(data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read the prompt file {path}: {error}", "Look at `prompt_file`.") from error
    for section, names in _TEMPLATES.items():
        part = content.get(section) if isinstance(content, dict) else None
        for name in names:
            if not isinstance(part, Mapping) or not isinstance(part.get(name), str):
                raise ConfigError(f"The prompt file {path} lacks `{section}.{name}`.", f"Take {PROMPT} as a pattern.")
    parse_templates(path, [text for section, names in _TEMPLATES.items() for text in map(content[section].get, names)])
    return Prompt(
        system_template=content["agent"]["system_template"],
        instance_template=content["agent"]["instance_template"],
        model=ModelTemplates(content["model"]["observation_template"], content["model"]["format_error_template"]),
        digest=hashlib.sha256(data).hexdigest(),
    )


def _remove_submission(submission: str, container: Container, task: Task) -> None:
    """Remove ``patch.txt`` when it is what was submitted.

    mini-swe-agent's own prompt makes the model write it into the repository, where it
    would become a part of the patch that is taken from there.
    """
    if not submission.strip():
        return
    path = f"{task.workdir}/patch.txt"
    try:
        found = container.read(path).decode(errors="replace")
    except FileNotFoundError:
        return
    if found.strip() == submission.strip():
        container.run("rm -f patch.txt", timeout=60, cwd=task.workdir, env=task.env)


def _ending(status: str, agent: Any, limits: AgentLimits) -> tuple[ExitStatus, str]:
    """Exit status of mini-swe-agent in our terms, and what the agent said, or why it stopped."""
    if status == "Submitted":
        said = [message for message in agent.messages if message["role"] == "assistant"]
        return ExitStatus.SUBMITTED, said[-1].get("content") or ""
    if status == "TimeExceeded" and agent.model.limit is None:  # during a command
        return ExitStatus.TIME_LIMIT, f"The time limit of {limits.seconds:g} s was reached."
    if status == "RepeatedFormatError":
        return ExitStatus.FORMAT_ERRORS, f"{agent.n_consecutive_format_errors} answers in a row had no usable command."
    limit: LimitReached = agent.model.limit
    return limit.exit_status, str(limit)


def _history(messages: list[dict[str, Any]], executed: list[Executed], task: Task) -> History:
    """The conversation as events. A command that never ran (after a submission, say) is no event."""
    history = History()
    ran = {id(entry.action): entry for entry in executed}  # ids of tool calls may repeat, actions are told apart
    for message in messages:
        extra, content = message.get("extra", {}), message.get("content") or ""
        if message["role"] == "system":
            history.system(content)
        elif message["role"] == "user":
            if dropped := extra.get("response"):  # an answer that could not be parsed is kept only here
                said = dropped["message"].get("content") or ""
                history.message("agent", said, at=extra["timestamp"], response=dropped["response_id"])
            history.message("user", content)
        elif message["role"] == "assistant":
            _add_commands(history, content, [ran[id(a)] for a in extra["actions"] if id(a) in ran], extra, task)
    return history


def _add_commands(
    history: History, thought: str, executed: list[Executed], extra: Mapping[str, Any], task: Task
) -> None:
    response = extra["response"]["response_id"]
    if not executed:
        history.message("agent", thought, at=extra["timestamp"], response=response)
    for entry in executed:
        cause = history.run(entry.command, thought, at=entry.started, response=response)
        thought = ""  # said once, with the first command
        history.ran(cause, entry.command, entry.output, exit_code=entry.exit_code, workdir=task.workdir, at=entry.ended)

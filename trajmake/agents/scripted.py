"""An agent that runs a fixed list of shell commands: a double for tests, and a way to try an image."""

from __future__ import annotations

import time
from collections.abc import Sequence

from trajmake.agents.base import Agent, AgentLimits, Task, Trajectory
from trajmake.agents.history import History
from trajmake.datasets.instance import Instance
from trajmake.engines.base import Container
from trajmake.errors import ConfigError
from trajmake.llm.base import LLM
from trajmake.outcomes import ExitStatus
from trajmake.settings import ModelSettings

_DAY = 86_400.0  # an engine wants some timeout, also where there is no limit


class ScriptedAgent:
    """Runs ``commands`` in the repository, one after the other, whatever their exit codes."""

    def __init__(self, commands: Sequence[str]) -> None:
        self._commands = tuple(commands)

    def solve(self, task: Task, container: Container, llm: LLM | None, limits: AgentLimits) -> Trajectory:
        """Run them all, or as many as the wall time allows."""
        history = History()
        history.message("user", task.problem_statement)
        end = time.monotonic() + (limits.seconds or _DAY)
        for command in self._commands:
            left = end - time.monotonic()
            if left > 0:
                cause = history.run(command)
                timeout = min(limits.command_seconds or _DAY, left)
                result = container.run(command, timeout=timeout, cwd=task.workdir, env=task.env)
                history.ran(cause, command, result.text, exit_code=result.exit_code, workdir=task.workdir)
            if time.monotonic() >= end:
                reason = f"The time limit of {limits.seconds:g} s was reached."
                history.stop(reason)
                return Trajectory(ExitStatus.TIME_LIMIT, task.problem_statement, history.events, reason)
        history.finish("The script is done.")
        return Trajectory(ExitStatus.SUBMITTED, task.problem_statement, history.events, "The script is done.")


def create(model: ModelSettings, instance: Instance) -> Agent:
    """See :func:`trajmake.agents.make`.

    Raises:
        ConfigError: the model names no commands.
    """
    if not model.commands:
        raise ConfigError("The agent `scripted` has no commands.", "List them under the model's key `commands`.")
    return ScriptedAgent(model.commands)

"""An agent that does nothing: its patch must not resolve anything, or the instance is broken."""

from __future__ import annotations

from trajmake.agents.base import Agent, AgentLimits, Task, Trajectory
from trajmake.agents.history import History
from trajmake.datasets.instance import Instance
from trajmake.engines.base import Container
from trajmake.llm.base import LLM
from trajmake.outcomes import ExitStatus
from trajmake.settings import ModelSettings


class EmptyAgent:
    """Submits the repository as it is."""

    def solve(self, task: Task, container: Container, llm: LLM | None, limits: AgentLimits) -> Trajectory:
        """Nothing."""
        history = History()
        history.message("user", task.problem_statement)
        history.finish("Nothing was changed.")
        return Trajectory(ExitStatus.SUBMITTED, task.problem_statement, history.events, "Nothing was changed.")


def create(model: ModelSettings, instance: Instance) -> Agent:
    """See :func:`trajmake.agents.make`."""
    return EmptyAgent()

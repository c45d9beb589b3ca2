"""Agents: who acts in a container."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from trajmake.agents.base import Agent, AgentLimits, Mounting, Task, Trajectory
from trajmake.datasets.instance import Instance
from trajmake.errors import ConfigError

if TYPE_CHECKING:
    from trajmake.llm.replay import ExitCodes
    from trajmake.settings import ModelSettings

__all__ = [
    "AGENTS",
    "Agent",
    "AgentLimits",
    "Mounting",
    "Task",
    "Trajectory",
    "bundles",
    "check_prompt",
    "exit_codes",
    "make",
    "needs_model",
    "warm",
]

# Name in the configuration -> module with `create(model, instance) -> Agent`, and `exit_codes(message)` where it
# asks a model (trajmake.llm.replay).
AGENTS = {
    "empty": "trajmake.agents.empty",
    "gold": "trajmake.agents.gold",
    "mini_swe_agent": "trajmake.agents.mini_swe_agent",
    "openhands": "trajmake.agents.openhands",
    "predictions": "trajmake.agents.predictions",  # acts in no container: `propose` instead of `create`
    "scripted": "trajmake.agents.scripted",
}
_WITHOUT_MODEL = frozenset({"empty", "gold", "predictions", "scripted"})


def make(model: ModelSettings, instance: Instance) -> Agent:
    """The agent that ``model`` names, for one instance.

    Only ``gold`` is given the row; every other agent gets an instance without
    patch, tests and row, and its task later (:class:`Task`).

    Raises:
        ConfigError: unknown agent, or one that cannot be made from these settings.
        DatasetError: the row lacks what the agent needs.
    """
    _known(model.agent)
    if model.agent != "gold":
        instance = dataclasses.replace(
            instance, patch="", test_patch="", fail_to_pass=(), pass_to_pass=(), test_command="", row={}
        )
    agent: Agent = importlib.import_module(AGENTS[model.agent]).create(model, instance)
    return agent


def exit_codes(name: str) -> ExitCodes | None:
    """How an agent words the exit codes of commands to its model: the ``exit_codes`` of its module, if it has one.

    Raises:
        ConfigError: unknown agent.
    """
    read: ExitCodes | None = getattr(importlib.import_module(AGENTS[_known(name)]), "exit_codes", None)
    return read


def warm(name: str) -> None:
    """Import what an agent imports when it first acts: ``warm`` of its module, if it has one.

    Raises:
        ConfigError: unknown agent.
    """
    module = importlib.import_module(AGENTS[_known(name)])
    if prepare := getattr(module, "warm", None):
        prepare()


def needs_model(name: str) -> bool:
    """Whether this agent asks a model.

    Raises:
        ConfigError: unknown agent.
    """
    return _known(name) not in _WITHOUT_MODEL


def check_prompt(model: ModelSettings) -> None:
    """Read the prompt file of a model whose agent asks one, where it names a file.

    Raises:
        ConfigError: it is missing, or no prompt of this agent's.
    """
    if model.prompt_file:
        importlib.import_module(AGENTS[_known(model.agent)]).read_prompt(Path(model.prompt_file))


def bundles(name: str) -> list[str]:
    """Names of the bundles that this agent brings into containers.

    Raises:
        ConfigError: unknown agent.
    """
    if _known(name) != "openhands":
        return []
    from trajmake.agents.openhands import bundle

    return [bundle.name()]


def _known(name: str) -> str:
    if name not in AGENTS:
        raise ConfigError(f"Unknown agent {name!r}.", f"Known: {', '.join(sorted(AGENTS))}.")
    return name

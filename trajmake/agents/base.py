"""Who acts: the protocol every agent fulfils.

Only the task reaches an agent: never the row, the gold patch, the tests or a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from trajmake.engines.base import Container
from trajmake.errors import ConfigError
from trajmake.llm.base import LLM
from trajmake.outcomes import ExitStatus

if TYPE_CHECKING:
    from trajmake.settings import Settings


@dataclass(frozen=True)
class Task:
    """What an agent is told.

    Attributes:
        instance_id: For file names and logs only; no prompt contains it.
        problem_statement: The issue's text, newlines restored.
        workdir: The repository's folder inside the container.
        env: Variables for every command (pagers off, the image's environment).
        events: File on the host for the agent's own record, written as it goes, so that it
            outlives a crash; begun anew. None: no such record.
    """

    instance_id: str
    problem_statement: str
    workdir: str
    env: dict[str, str] = field(default_factory=dict)
    events: Path | None = None


@dataclass(frozen=True)
class AgentLimits:
    """What a run may use (0 means no limit): model calls, US dollars, seconds, tokens.

    The gateway keeps them (:mod:`trajmake.llm.limits`), but for ``command_seconds``; an agent only has to end
    a command that outlasts the run.
    """

    steps: int = 250
    cost_usd: float = 3.0
    seconds: float = 7200
    command_seconds: float = 60
    tokens: int = 0


@dataclass(frozen=True)
class Trajectory:
    """What an agent did.

    Attributes:
        exit_status: How it ended.
        instruction: The first user message, as the model saw it.
        history: Events in OpenHands V0 form (``docs/formats.md``).
        message: What the agent said at the end, or why it stopped.
        native: The agent's own record, kept beside ``output.jsonl`` when given.
        details: What acted, for provenance: version of the agent, digest of its prompt.
    """

    exit_status: ExitStatus
    instruction: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    message: str = ""
    native: dict[str, Any] | None = None
    details: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Mounting(Protocol):
    """What an agent is besides that brings its own programs into the container."""

    def mounts(self, options: Settings) -> Mapping[str, Path]:
        """Folders that the container must see, by their paths in it (see :meth:`Engine.start`).

        Raises:
            EnvironmentBrokenError: they cannot be had.
        """
        ...


class Agent(Protocol):
    """Solves one task in one container. The patch is taken by the caller, afterwards."""

    def solve(self, task: Task, container: Container, llm: LLM | None, limits: AgentLimits) -> Trajectory:
        """Work until done or a limit is reached.

        Raises:
            TrajmakeError: the machine failed (container lost, provider down, ...).
        """
        ...


def parse_templates(path: Path, texts: Iterable[str]) -> None:
    """Read the Jinja2 templates of the prompt file ``path``, so that a broken one costs no container.

    Raises:
        ConfigError: one cannot be read.
    """
    import jinja2

    try:
        for text in texts:
            jinja2.Environment().parse(text)
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(
            f"The prompt file {path} holds a template that is no Jinja2: {error.message}.", "Look at `prompt_file`."
        ) from error

"""An agent that applies the gold patch: it must resolve its instance, or the instance is broken."""

from __future__ import annotations

from trajmake.agents.base import Agent, AgentLimits, Task, Trajectory
from trajmake.agents.history import History
from trajmake.datasets.instance import Instance
from trajmake.engines.base import Container
from trajmake.errors import DatasetError
from trajmake.llm.base import LLM
from trajmake.outcomes import ExitStatus
from trajmake.settings import ModelSettings

_FILE = "/tmp/.trajmake-gold.diff"
# The repository may belong to another user than the container's root.
_APPLY = f"git -c safe.directory='*' apply --whitespace=nowarn {_FILE}"


class GoldAgent:
    """Applies ``patch`` with ``git apply``; one that does not apply is given up, with git's words."""

    def __init__(self, patch: str) -> None:
        self._patch = patch

    def solve(self, task: Task, container: Container, llm: LLM | None, limits: AgentLimits) -> Trajectory:
        """Apply it."""
        history = History()
        history.message("user", task.problem_statement)
        container.write(_FILE, self._patch.encode("utf-8", errors="surrogateescape"))
        cause = history.run(_APPLY)
        result = container.run(
            f"{_APPLY}; status=$?; rm -f {_FILE}; exit $status", timeout=300, cwd=task.workdir, env=task.env
        )
        history.ran(cause, _APPLY, result.text, exit_code=result.exit_code, workdir=task.workdir)
        applied = result.exit_code == 0
        message = "The gold patch is applied." if applied else f"The gold patch does not apply: {result.text.strip()}"
        if applied:
            history.finish(message)
        else:
            history.stop(message)
        status = ExitStatus.SUBMITTED if applied else ExitStatus.GAVE_UP
        return Trajectory(status, task.problem_statement, history.events, message)


def create(model: ModelSettings, instance: Instance) -> Agent:
    """See :func:`trajmake.agents.make`.

    Raises:
        DatasetError: the row has no gold patch.
    """
    if not instance.patch.strip():
        raise DatasetError(
            f"{instance.instance_id} has no gold patch.", "The agent `gold` needs rows with the field `patch`."
        )
    return GoldAgent(instance.patch)

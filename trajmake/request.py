"""What snakemake was asked for, as far as the plan depends on it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    """What snakemake was asked for on its command line.

    Attributes:
        whole: The whole session, not single files or rules.
        forced: Names of rules and files to be made again (``--forcerun``, ``--force``); ``*`` for all.
    """

    whole: bool = True
    forced: frozenset[str] = frozenset()

    @classmethod
    def of(cls, workflow: Any) -> Self:
        """Read it off Snakemake's workflow object."""
        asked = workflow.dag_settings
        names = [*asked.forcerun, *(asked.targets if asked.forcetargets else ())]
        forced = {"*"} if asked.forceall else {os.path.normpath(name) for name in names}
        return cls(whole=set(asked.targets) <= {"all"}, forced=frozenset(forced))


def wants_archive(words: Sequence[str]) -> bool:
    """Whether a command line asks for a report as an archive (``--report report.zip``), not as one HTML file.

    Snakemake tells its workflow nothing of it.
    """
    after = [value for word, value in itertools.pairwise(words) if word == "--report"]
    return any(path.endswith(".zip") for path in [*after, *(word for word in words if word.startswith("--report="))])

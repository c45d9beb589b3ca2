"""A session as its reports show it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trajmake.llm.spending import Spent

if TYPE_CHECKING:
    from trajmake.settings import Settings

Outcome = Mapping[str, Any]


@dataclass(frozen=True)
class ModelRuns:
    """A model's runs: its name in the catalog, its name for people, agent and provider, marked outcomes."""

    model: str
    display_name: str
    configuration: str
    outcomes: Sequence[Outcome]


@dataclass(frozen=True)
class SessionRuns:
    """Everything that is reported of a session.

    Attributes:
        id: Its name.
        dataset: Path of the dataset.
        models: In the order of the configuration.
        invalid_rows: Rows of the dataset that could not be run: place, id, reason.
        predictions: What is to be said of files of predictions.
        spent: What all runs of the session have spent so far.
        budget: US dollars that they may spend; 0 for no limit.
        gpus: Load of the driver's GPUs while agents worked, see :func:`trajmake.live.gpus.summary`.
    """

    id: str
    dataset: str
    models: Sequence[ModelRuns]
    invalid_rows: Sequence[str] = ()
    predictions: Sequence[str] = ()
    spent: Spent = field(default_factory=Spent)
    budget: float = 0.0
    gpus: Sequence[Mapping[str, Any]] = ()

    @property
    def outcomes(self) -> list[Outcome]:
        """Of all runs, model by model."""
        return [outcome for one in self.models for outcome in one.outcomes]


def digest(options: Settings, ids: Sequence[str], notes: Sequence[str]) -> str:
    """sha256 of what a session's reports depend on besides outcomes: which runs there are, how models are called,
    the budget, how runs should look.

    Args:
        options: The settings.
        ids: Of the instances to run.
        notes: Whatever else is said in them.
    """
    shown = ("display_name", "agent", "provider", "model")
    names = {name: [getattr(entry, key) for key in shown] for name, entry in options.chosen.items()}
    wanted = [options.limits.session_usd, options.quality.model_dump()]
    return hashlib.sha256(json.dumps([options.dataset, ids, names, wanted, notes]).encode()).hexdigest()

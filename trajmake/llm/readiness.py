"""Whether a session's models can be asked: what can be said before the first request."""

from __future__ import annotations

import os

from trajmake import agents
from trajmake.errors import BudgetSpentError, ConfigError
from trajmake.llm.spending import Spending
from trajmake.settings import ModelSettings, Settings


def check(settings: Settings, spending: Spending) -> list[str]:
    """What can be said about a session's models before the first request; gives warnings.

    Args:
        settings: The session's.
        spending: Of the session.

    Raises:
        ConfigError: the session has a budget, and the price of a model is unknown; a prompt file is wrong.
    """
    models = {
        name: settings.catalog[name] for name in settings.models if agents.needs_model(settings.catalog[name].agent)
    }
    for model in models.values():
        agents.check_prompt(model)
    unpriced = [name for name, model in models.items() if settings.limits.session_usd and not _has_price(model)]
    if unpriced:
        raise ConfigError(
            f"`limits.session_usd` cannot be kept: the price of {', '.join(unpriced)} is unknown.",
            "Set `prices` of these models (0 for a model of your own), or `limits.session_usd: 0`.",
        )
    try:
        if models:
            spending.check()
        spent = []
    except BudgetSpentError as error:
        spent = [f"{error.message} What is to run of {', '.join(models)} will fail. {error.hint}"]
    return spent + [
        f"{name} needs {model.api_key_env} in the environment; what is to run of it will fail."
        for name, model in models.items()
        if model.api_key_env and not os.environ.get(model.api_key_env)
    ]


def _has_price(model: ModelSettings) -> bool:
    """Whether the cost of this model's answers can be known; imports litellm (seconds) to look into its table."""
    if model.prices or model.provider != "litellm":
        return model.prices is not None
    from trajmake.llm.litellm_provider import is_listed

    return is_listed(model.model)

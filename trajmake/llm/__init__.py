"""Models: who answers an agent, behind one door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trajmake.errors import ConfigError
from trajmake.llm.base import Provider
from trajmake.llm.errors import ContextExceeded, LimitReached
from trajmake.llm.gateway import Gateway
from trajmake.llm.pace import Pace
from trajmake.llm.replay import ExitCodes
from trajmake.llm.retry import Retry
from trajmake.llm.spending import Spending

if TYPE_CHECKING:
    from trajmake.agents.base import AgentLimits
    from trajmake.settings import ModelSettings

__all__ = ["PROVIDERS", "ContextExceeded", "Gateway", "LimitReached", "Retry", "Spending", "open_door", "warm"]


def _litellm(model: ModelSettings, instance_id: str) -> Provider:
    from trajmake.llm.litellm_provider import LiteLLMProvider

    return LiteLLMProvider(
        model.model,
        api_key_env=model.api_key_env,
        base_url=model.base_url,
        temperature=model.temperature,
        top_p=model.top_p,
        max_output_tokens=model.max_output_tokens,
        options=model.options,
    )


def _scripted(model: ModelSettings, instance_id: str) -> Provider:
    from trajmake.llm.scripted import ScriptedProvider
    from trajmake.sessions.layout import safe_name

    return ScriptedProvider(Path(model.replies) / f"{safe_name(instance_id)}.yaml", model=model.model or "scripted")


PROVIDERS: dict[str, Callable[[ModelSettings, str], Provider]] = {"litellm": _litellm, "scripted": _scripted}


def warm(model: ModelSettings) -> None:
    """Import what the provider of a model imports at its first request."""
    if model.provider == "litellm":
        from trajmake.llm import litellm_provider

        litellm_provider.warm()


def open_door(
    model: ModelSettings,
    instance_id: str,
    journal: Path,
    *,
    run_limits: AgentLimits | None = None,
    spending: Spending | None = None,
    exit_codes: ExitCodes | None = None,
    before_request: Callable[[], None] | None = None,
) -> Gateway:
    """The gateway to a configured model for one run.

    Args:
        model: The model's settings.
        instance_id: Chooses the file of a scripted model.
        journal: Folder of the completions, see :class:`Gateway`.
        run_limits, spending, exit_codes, before_request: See :class:`Gateway`.

    Raises:
        ConfigError: unknown provider, or no scripted replies for this instance.
    """
    if model.provider not in PROVIDERS:
        raise ConfigError(f"Unknown provider {model.provider!r}.", f"Known: {', '.join(sorted(PROVIDERS))}.")
    counted_by = f"{model.provider} {model.model} {model.base_url} {model.api_key_env}"
    return Gateway(
        PROVIDERS[model.provider](model, instance_id),
        journal,
        model_name=model.model or model.provider,
        prices=(model.prices.input, model.prices.output) if model.prices else None,
        key_variables=[model.api_key_env] if model.api_key_env else [],
        run_limits=run_limits,
        spending=spending,
        pace=Pace(counted_by, requests=model.requests_per_minute, tokens=model.tokens_per_minute),
        exit_codes=exit_codes,
        before_request=before_request,
    )

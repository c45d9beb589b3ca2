"""``output.jsonl`` and ``metadata.json``: OpenHands V0's ``EvalOutput`` (``docs/formats.md``).

The record of a fault has the same keys and stands in the same place.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trajmake.agents.base import Trajectory
from trajmake.datasets.instance import Instance
from trajmake.llm.base import Completion, Usage
from trajmake.llm.redaction import MASK
from trajmake.sessions import layout
from trajmake.sessions.faults import Fault
from trajmake.settings import ModelSettings
from trajmake.trajectories import provenance

_SECRET = re.compile(r"api.?key|authorization|password|secret|credential|token$", re.IGNORECASE)


def build(
    *,
    instance: Instance,
    trajectory: Trajectory,
    patch: str,
    completions: Sequence[Completion],
    model: ModelSettings,
    started: float,
    ended: float,
    details: Mapping[str, Any],
    dataset: str = "",
    output_dir: str = "",
) -> dict[str, Any]:
    """The record of a run that took place.

    Args:
        instance: What was to be solved; its row is kept as it was read.
        trajectory: What the agent did.
        patch: What it left in the repository.
        completions: What the model answered, in order.
        model: The model's settings.
        started, ended: Unix times.
        details: Further provenance: engine, image id, digests.
        dataset, output_dir: For the fields of that name.
    """
    provided = {
        "exit_status": trajectory.exit_status.value,
        "message": trajectory.message,
        "row_digest": instance.digest,
        "model_asked": model.model,
        "models_answered": sorted({answer.model for answer in completions}),
        "ended": ended,
        "seconds": round(ended - started, 3),
        "steps": len(completions),
        **trajectory.details,
        **details,
    }
    return {
        "instance_id": instance.instance_id,
        "instruction": trajectory.instruction,
        "instance": _shareable(instance.row),
        "test_result": {"git_patch": patch},
        "metadata": _metadata(model, started, provided, dataset, output_dir),
        "history": trajectory.history,
        "metrics": metrics(completions),
        "error": None,
    }


def _shareable(row: dict[str, Any]) -> dict[str, Any]:
    """The row without the signature that the image's URI may hold."""
    uri = row.get("image_storage_uri")
    return row | {"image_storage_uri": layout.public_uri(uri)} if isinstance(uri, str) else row


def fault_output(
    instance_id: str,
    fault: Fault,
    *,
    model: ModelSettings,
    started: float,
    details: Mapping[str, Any] | None = None,
    completions: Sequence[Completion] = (),
) -> dict[str, Any]:
    """The record of a run that the machine prevented: no history, no patch, ``error`` and ``fault`` set.

    Args:
        instance_id: The instance's id.
        fault: What happened.
        model: The model's settings.
        started: Unix time.
        details: Further provenance, when any is known.
        completions: What was bought before the fault.
    """
    return {
        "instance_id": instance_id,
        "instruction": "",
        "instance": {},
        "test_result": {"git_patch": ""},
        "metadata": _metadata(model, started, {"exit_status": None, **(details or {})}, "", ""),
        "history": [],
        "metrics": metrics(completions),
        "error": fault.message,
        "fault": asdict(fault),
    }


def metrics(completions: Sequence[Completion]) -> dict[str, Any]:
    """Cost, tokens and latencies, in sum and one by one.

    ``accumulated_cost`` is None as soon as the cost of one completion is unknown: a sum
    without it would pass for the whole. The known ones are under ``costs``.
    """
    costs = [answer.cost for answer in completions]
    known = [cost for cost in costs if cost is not None]
    last = completions[-1] if completions else None
    total = {name: sum(getattr(answer.usage, name) for answer in completions) for name in asdict(Usage())}
    return {
        "accumulated_cost": sum(known) if len(known) == len(costs) else None,
        "accumulated_token_usage": _usage(last.model if last else "", total, "", last),
        "costs": [{"model": a.model, "cost": a.cost, "timestamp": a.timestamp} for a in completions],
        "response_latencies": [
            {"model": a.model, "latency": a.latency, "response_id": a.response_id} for a in completions
        ],
        "token_usages": [_usage(a.model, asdict(a.usage), a.response_id, a) for a in completions],
    }


def _usage(model: str, tokens: Mapping[str, int], response_id: str, turn: Completion | None) -> dict[str, Any]:
    per_turn = turn.usage.prompt_tokens + turn.usage.completion_tokens if turn else 0
    # 0: OpenHands' own value for a context window that is not known.
    return {"model": model, **tokens, "context_window": 0, "per_turn_token": per_turn, "response_id": response_id}


def _metadata(
    model: ModelSettings, started: float, details: Mapping[str, Any], dataset: str, output_dir: str
) -> dict[str, Any]:
    commit = provenance.checkout()
    return {
        "agent_class": model.agent,
        "llm_config": _llm_config(model),
        "max_iterations": model.steps,
        "eval_output_dir": output_dir,
        "start_time": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started)),
        "git_commit": commit["commit"] if commit else "",
        "dataset": dataset,
        "data_split": "",
        "details": {
            "versions": provenance.versions(),
            "checkout": commit,
            "host": provenance.host(),
            "started": started,
            **details,
        },
    }


def _llm_config(model: ModelSettings) -> dict[str, Any]:
    return {
        "model": model.model,
        "api_key": MASK,
        "base_url": model.base_url or None,
        "temperature": model.temperature,
        "top_p": model.top_p,
        "max_output_tokens": model.max_output_tokens,
        "input_cost_per_token": model.prices.input / 1e6 if model.prices else None,
        "output_cost_per_token": model.prices.output / 1e6 if model.prices else None,
        "provider": model.provider,
        "options": _masked(model.options),
    }


def _masked(value: Any) -> Any:
    """``value`` without what a key's name says is secret, at any depth."""
    if isinstance(value, Mapping):
        return {k: MASK if _SECRET.search(str(k)) else _masked(item) for k, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value

"""A run's time as a drawing: above what the model and its commands took, below what each step cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 1000.0
_LEAST = 1.5  # of a step's width; else a quick one could not be seen


@dataclass(frozen=True)
class Span:
    """A step in the drawing; places and widths are in a thousand parts of its width.

    Attributes:
        number: The step's.
        left: Where it begins.
        thinking: Width of the model's answer.
        acting: Width of the command.
        cost: Its share of the dearest step's cost, 0 to 1.
        failed: Its command failed.
        label: What is said of it.
    """

    number: int
    left: float
    thinking: float
    acting: float
    cost: float
    failed: bool
    label: str


def spans(steps: Sequence[Mapping[str, Any]]) -> list[Span]:
    """The drawing's steps. Only what is known to have taken time has a width beyond the least: pauses are no work."""
    times = [(step["latency"] or 0.0, seconds(step)) for step in steps]
    total = sum(map(sum, times))
    room = max(0.0, WIDTH - _LEAST * len(steps))
    dearest = max((step["cost_usd"] or 0.0 for step in steps), default=0.0)
    least = min(_LEAST, WIDTH / max(1, len(steps)))
    made: list[Span] = []
    left = 0.0
    for step, (latency, ran) in zip(steps, times, strict=True):
        share = room / total if total else 0.0
        width = least + (latency + ran) * share if total else WIDTH / len(steps)
        thinking = width * latency / (latency + ran) if latency + ran else width
        cost = (step["cost_usd"] or 0.0) / dearest if dearest else 0.0
        made.append(
            Span(step["number"], left, thinking, width - thinking, cost, failed(step), _label(step, latency, ran))
        )
        left += width
    return made


def seconds(step: Mapping[str, Any]) -> float:
    """How long a step's command ran, as far as it is known."""
    if step["started"] is None or step["ended"] is None:
        return 0.0
    return max(0.0, float(step["ended"]) - float(step["started"]))


def failed(step: Mapping[str, Any]) -> bool:
    """Whether a step's command ended with another code than 0."""
    return bool(step["exit_code"])


def _label(step: Mapping[str, Any], latency: float, ran: float) -> str:
    parts = [f"Step {step['number']}: {step['action']}"]
    parts += [f"model {latency:.1f} s"] if latency else []
    parts += [f"command {ran:.1f} s"] if ran else []
    parts += [f"${step['cost_usd']:.4f}"] if step["cost_usd"] else []
    parts += [f"exit code {step['exit_code']}"] if failed(step) else []
    return ", ".join(parts)

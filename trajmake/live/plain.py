"""A picture as lines, where there is no terminal to draw in."""

from __future__ import annotations

import time
from collections.abc import Iterator

from trajmake.cli.screen import visible
from trajmake.live import words
from trajmake.live.picture import ENDED, GOING, MEANINGS, RUNNING, SIGNS, STALE, Cell, Picture
from trajmake.reports.texts import RULE

_SAID = (*ENDED, RUNNING, STALE)


def page(picture: Picture) -> str:
    """The whole picture."""
    return "".join(f"{line}\n" for line in words.progress_report(picture).splitlines() if line != RULE)


def changes(before: Picture | None, picture: Picture) -> Iterator[str]:
    """A line for each run with a new state and one for the session, if anything has changed."""
    told = _states(before) if before else {}
    states = _states(picture)
    news = [(run, cell) for run, cell in states.items() if before and cell.state != _state(told.get(run))]
    for (model, instance), cell in news:
        if cell.state in _SAID:
            yield visible(f"{_clock(picture)} {SIGNS[cell.state]} {model}/{instance}: {_account(cell)}")
    if before is None or news or before.phase != picture.phase:
        yield visible(f"{_clock(picture)} {summary(picture)}")
        for load in picture.gpus:
            yield visible(f"{_clock(picture)} {words.gpu(load)}")
    if picture.phase != GOING:
        yield visible(f"{_clock(picture)} session {picture.session}: {words.headline(picture)}")


def summary(picture: Picture) -> str:
    """The session in a line."""
    parts = [f"{picture.ended} of {picture.total} runs", f"{picture.resolved} of {picture.judged} resolved"]
    parts += [f"{picture.counts[state]} {MEANINGS[state]}" for state in _SAID[2:] if picture.counts.get(state)]
    parts.append(words.money(picture))
    if picture.phase == GOING:
        parts += [words.rate(picture), f"left {words.left(picture)}"]
    return ", ".join(parts)


def _states(picture: Picture) -> dict[tuple[str, str], Cell]:
    return {
        (model.name, instance): cell
        for model in picture.models
        for instance, cell in zip(picture.instances, model.cells, strict=True)
        if cell
    }


def _state(cell: Cell | None) -> str:
    return cell.state if cell else ""


def _account(cell: Cell) -> str:
    parts = [MEANINGS[cell.state]]
    if cell.state in ENDED:
        parts += [f"after {cell.seconds} s"] if cell.seconds is not None else []
        parts += [f"{cell.steps} steps"] if cell.steps is not None else []
        parts += [f"{cell.cost_usd:.4f} USD"] if cell.cost_usd is not None else []
    return ", ".join([*parts, *([cell.why] if cell.why else [])])


def _clock(picture: Picture) -> str:
    return time.strftime("%H:%M:%S", time.localtime(picture.at))

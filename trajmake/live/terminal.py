"""A picture drawn in a terminal: what does not fit is wrapped, then folded, never cut off in silence."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from trajmake.cli.screen import visible
from trajmake.live import words
from trajmake.live.picture import (
    COMPLETE,
    ENDED,
    FAULT,
    GOING,
    MEANINGS,
    MISSING,
    PENDING,
    RESOLVED,
    RUNNING,
    SIGNS,
    STALE,
    TESTING,
    TIMEOUT,
    UNRESOLVED,
    Cell,
    Model,
    Picture,
    Running,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {
    RESOLVED: "green",
    UNRESOLVED: "red",
    TIMEOUT: "yellow",
    FAULT: "bold white on red",
    MISSING: "dim red",
    RUNNING: "bold cyan",
    TESTING: "cyan",
    STALE: "bold magenta",
    PENDING: "dim",
}
_FEWEST = 3  # lines for what is running, however many cells there are


def view(picture: Picture, width: int, height: int) -> RenderableType:
    """The whole picture, at most ``height`` lines of ``width`` columns."""
    head = _head(picture, width)
    tail = [_cut(words.gpu(load), width, "dim") for load in picture.gpus] + _legend(picture, width)
    running = [_running(run, picture.at, width) for run in picture.running]
    room = max(1, height - len(head) - len(tail) - 4)
    cells = _cells(picture.models, width, room - min(len(running), _FEWEST))
    room -= len(cells)
    if len(running) > room:
        left_out = len(running) - max(0, room - 1)
        running = [*running[: max(0, room - 1)], Text(f"and {left_out} more", "dim")]
    body = [Text(""), *cells, Text("")] + ([*running, Text("")] if running else [])
    lines = [*head, *body, *tail]
    return Text("\n").join(lines[:height] if len(lines) > height else lines)


def _head(picture: Picture, width: int) -> list[Text]:
    style = {GOING: "cyan", COMPLETE: "green"}.get(picture.phase, "yellow")
    title = Text.assemble((visible(picture.session), "bold"), "  ", (visible(words.headline(picture)), style))
    figures = [
        (f"{picture.ended} of {picture.total} runs", "bold"),
        (f"{picture.resolved} of {picture.judged} resolved", "green"),
        (words.money(picture), ""),
    ]
    if picture.phase == GOING:
        figures += [(words.rate(picture), ""), (f"left {words.left(picture)}", "")]
    line = Text("  ·  ", "dim").join(Text(word, style) for word, style in figures)
    return [_fit(title, width), _bar(picture.counts, picture.total, width), _fit(line, width)]


def _bar(counts: dict[str, int], total: int, width: int) -> Text:
    """States side by side, each as wide as its share; none that occurs is lost."""
    bar = Text()
    order = [*ENDED, TESTING, RUNNING, STALE, PENDING]
    done = filled = 0
    for state in order:
        if number := counts.get(state, 0):
            done += number
            end = max(filled + 1, round(width * done / total))
            sign = "░" if state == PENDING else "█"
            bar.append(sign * min(end - filled, width - filled), "red" if state == FAULT else _STYLES[state])
            filled = min(end, width)
    return bar


def _cells(models: Sequence[Model], width: int, room: int) -> list[Text]:
    """A row of cells for each model; wrapped where it is long, a bar of shares where all would take too many lines."""
    label = min(max((len(visible(model.name)) for model in models), default=0), max(8, width // 4))
    space = max(10, width - label - 2)
    columns = max((len(model.cells) for model in models), default=0)
    wrapped = -(-columns // space) + 1
    lines: list[Text] = []
    for model in models:
        name = _fit(Text(visible(model.name), "bold"), label)
        name.pad_right(label - name.cell_len + 2)
        if wrapped * len(models) <= room:
            for start in range(0, columns, space):
                lines.append((Text(" " * (label + 2)) if start else name) + _signs(model.cells[start : start + space]))
        elif 2 * len(models) <= room or room >= len(models):
            lines.append(name + _bar(model.counts, sum(model.counts.values()), space))
        else:
            continue
        if len(models) > 1 and 2 * len(models) <= room:
            counts = "  ".join(f"{SIGNS[state]} {number}" for state, number in model.counts.items())
            lines.append(Text(" " * (label + 2)) + _fit(Text(counts, "dim"), space))
    return lines


def _signs(cells: Iterable[Cell | None]) -> Text:
    line = Text()
    for state, same in groupby(cell.state if cell else "" for cell in cells):
        line.append(SIGNS.get(state, " ") * len(list(same)), _STYLES.get(state, ""))
    return line


def _running(run: Running, now: float, width: int) -> Text:
    line = Text.assemble(
        (f"{SIGNS[RUNNING]} ", _STYLES[RUNNING]),
        (visible(f"{run.model}/{run.instance}"), "bold"),
        (f"  {_elapsed(now - run.since) if run.since else '?'}  step {run.step}  ", "dim"),
        visible(run.command[: 2 * width]),
    )
    return _fit(line, width)


def _elapsed(seconds: float) -> str:
    hours, rest = divmod(max(0, int(seconds)), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _legend(picture: Picture, width: int) -> list[Text]:
    """What the signs mean and how many there are of each, in as many lines as that takes; the time."""
    parts = [
        Text.assemble((SIGNS[state], _STYLES[state]), (f" {number} {MEANINGS[state]}", "dim"))
        for state, number in picture.counts.items()
    ]
    parts.append(Text(time.strftime("%H:%M:%S", time.localtime(picture.at)), "dim"))
    lines = [parts[0]]
    for part in parts[1:]:
        if lines[-1].cell_len + 3 + part.cell_len > width:
            lines.append(part)
        else:
            lines[-1] = lines[-1] + Text("   ") + part
    return lines


def _cut(said: str, width: int, style: str = "") -> Text:
    return _fit(Text(visible(said), style), width)


def _fit(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line

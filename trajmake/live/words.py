"""A picture in words and figures: what the drawers of plain text share."""

from __future__ import annotations

import time

from trajmake.cli.screen import visible
from trajmake.live.picture import COMPLETE, FAULT, FAULTS, GOING, MEANINGS, SIGNS, Gpu, Picture, Running
from trajmake.reports.texts import RULE, spending


def headline(picture: Picture) -> str:
    """``running, driven by process 123 on host``, or how it ended."""
    counts = picture.counts
    if picture.phase == GOING:
        return f"running, driven by {picture.driver}"
    if picture.phase == COMPLETE:
        return "complete"
    if picture.phase == FAULTS:
        return f"ended; {counts[FAULT]} runs met a fault of the machine: the same snakemake command repeats them"
    return f"not driven by anybody; {picture.total - picture.ended} runs have not ended: the same command goes on"


def money(picture: Picture) -> str:
    """``1.20 of 5 USD``; ``?`` where it cannot be known."""
    if picture.spent is None:
        return "? USD"
    unknown = f" + {picture.spent.unpriced} unpriced" if picture.spent.unpriced else ""
    usd = picture.spent.usd
    return (
        f"{usd:.{2 if usd >= 1 else 4}f}"
        + (f" of {picture.budget_usd:g} USD" if picture.budget_usd else " USD")
        + unknown
    )


def rate(picture: Picture) -> str:
    """``36 runs/h``."""
    return f"{picture.rate:.3g} runs/h" if picture.rate else "? runs/h"


def left(picture: Picture) -> str:
    """``about 2 h 10 min``; ``?`` where there is nothing to estimate from."""
    if picture.total and picture.ended == picture.total:
        return "no run, summaries"
    return "?" if picture.seconds_left is None else f"about {duration(picture.seconds_left)}"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min``, ``2 h 10 min``, ``3 d 4 h``."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def counted(counts: dict[str, int]) -> str:
    """``✓ 3 resolved  ✗ 1 not resolved``."""
    return "  ".join(f"{SIGNS[state]} {number} {MEANINGS[state]}" for state, number in counts.items())


def gpu(load: Gpu) -> str:
    """``GPU 0 NVIDIA A100: 87%, 31.2 of 80.0 GiB``."""
    busy = "?" if load.percent is None else f"{load.percent:.0f}%"
    if load.memory_mib is None or load.total_mib is None:
        return f"GPU {load.name}: {busy}"
    return f"GPU {load.name}: {busy}, {load.memory_mib / 1024:.1f} of {load.total_mib / 1024:.1f} GiB"


def clock(at: float) -> str:
    """A Unix time, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def progress_report(picture: Picture) -> str:
    """``progress_report.txt``, fit for any terminal. Only its line `Updated` changes when nothing else does."""
    counts = picture.counts
    spent = spending(picture.spent, picture.budget_usd) if picture.spent else "?"
    lines = [
        RULE,
        "PROGRESS REPORT",
        RULE,
        f"Session ID: {picture.session}",
        f"Updated: {clock(picture.at)}",
        f"State: {headline(picture)}",
        f"Started: {clock(picture.started) if picture.started else '-'}",
        f"Ended: {picture.ended} of {picture.total} runs ({_percent(picture.ended, picture.total)})",
        f"Runs: {counted(counts)}",
        f"Resolved: {picture.resolved} of {picture.judged} judged ({_percent(picture.resolved, picture.judged)})",
        f"Spent: {spent}",
        f"Rate: {rate(picture) if picture.driver else '-'}",
        f"Time Left: {left(picture) if picture.driver else '-'}",
        *map(gpu, picture.gpus),
        "",
    ]
    for model in picture.models:
        lines += ["-" * 72, f"Model: {model.name}", f"Runs: {counted(model.counts)}"]
        cells = "".join(SIGNS[cell.state] if cell else " " for cell in model.cells)
        lines += [f"  {cells[start : start + 100]}" for start in range(0, len(cells), 100)] + [""]
    if picture.running:
        lines += ["-" * 72, f"Running: {len(picture.running)}", *map(_running, picture.running)]
    return "".join(f"{visible(line)}\n" for line in lines)


def _running(run: Running) -> str:
    what = f": {run.command[:160]}" if run.command else ""
    return f"  {run.model}/{run.instance} since {clock(run.since)}, step {run.step}{what}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "-"

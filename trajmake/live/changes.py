"""What viewers are sent: the picture once, then only what is new in it."""

from __future__ import annotations

from typing import Any

from trajmake.cli.screen import visible
from trajmake.live.picture import ENDED, MEANINGS, SIGNS, TIMEOUT, Picture
from trajmake.sessions import layout

_DRAWN = {TIMEOUT: "◷"}  # the terminal's sign is a coloured picture in browsers, or in no font of theirs
_CODES = {state: number for number, state in enumerate(SIGNS)}


def compact(picture: Picture) -> dict[str, Any]:
    """A picture as a page takes it: states as numbers, texts with nothing invisible, names of files for links."""
    shown = picture.as_json()
    shown["driver"] = visible(picture.driver)
    for run in (*shown["running"], *shown["latest"]):
        run["page"] = f"{run['model']}/{layout.safe_name(run['instance'])}"
        for key in ("model", "instance", "command", "why"):
            if key in run:
                run[key] = visible(run[key])[:2000]
    shown["instances"] = [[visible(name), layout.safe_name(name)] for name in picture.instances]
    shown["models"] = [{"name": visible(model.name), "resolved": model.resolved} for model in picture.models]
    shown["cells"] = [[_CODES[cell.state] if cell else -1 for cell in model.cells] for model in picture.models]
    shown["states"] = [
        {"name": state, "sign": _DRAWN.get(state, sign), "meaning": MEANINGS[state], "ended": state in ENDED}
        for state, sign in SIGNS.items()
    ]
    return shown


def changes(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What a page that has seen ``before`` lacks: everything, or new figures and ``changed`` cells.

    Empty where nothing but the time has changed. A changed cell is its model's and instance's place, and its state.
    """
    same = before and all(before[key] == now[key] for key in ("instances", "states")) and _names(before) == _names(now)
    if not same:
        return now
    if all(before[key] == now[key] for key in now if key != "at"):
        return {}
    cells = [
        [row, column, state]
        for row, (old, new) in enumerate(zip(before["cells"], now["cells"], strict=True))
        if old != new
        for column, state in enumerate(new)
        if old[column] != state
    ]
    figures = {key: value for key, value in now.items() if key not in ("instances", "states", "cells")}
    return figures | {"changed": cells}


def _names(shown: dict[str, Any]) -> list[str]:
    return [model["name"] for model in shown["models"]]

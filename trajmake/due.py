"""Which runs are going to be made, and what they wait for. Asked for every run of a session: it must be cheap."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from trajmake import files
from trajmake.sessions import faults


@dataclass(frozen=True)
class Needs:
    """What a run waits for, by name: its model's turn, its image, its agent's bundles, where they are not here yet."""

    turn: Sequence[str] = ()
    image: Sequence[str] = ()
    bundle: Sequence[str] = ()


def recorded(path: str) -> bool:
    """Whether the record of an image or a bundle is there and is no fault's."""
    try:
        return not faults.of(files.read_json(path))
    except (OSError, ValueError):
        return False


def stands(folder: str, made_for: tuple[str, str]) -> bool:
    """Whether the trajectory in a run's folder is there, is no fault's record, and is what is wanted.

    Args:
        folder: Of the run.
        made_for: Digests of the row and of the model's settings.
    """
    if not os.path.exists(f"{folder}/output.jsonl"):
        return False
    try:
        with open(f"{folder}/metadata.json", encoding="utf-8") as stream:
            details = json.load(stream)["details"]
        found = (details.get("row_digest"), details.get("model_digest"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True  # Snakemake decides: it may be somebody's trajectory from elsewhere
    return details.get("exit_status") is not None and found == made_for

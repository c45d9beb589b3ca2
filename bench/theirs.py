"""The other side of benches: the package swebench 5 in ``.venv-swebench`` (``make swebench``)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".venv-swebench"
PYTHON = FOLDER / "bin" / "python"


def need_swebench() -> str:
    """The installed version; ends the bench with a hint where there is none."""
    script = "import importlib.metadata as m; print(m.version('swebench'))"
    try:
        done = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        done = None
    if done is None or not done.stdout.startswith("5."):
        sys.exit(f"There is no swebench 5 in {FOLDER}.\nHint: make swebench")
    return done.stdout.strip()

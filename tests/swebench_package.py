"""The real package ``swebench``, in an environment of its own: ``make swebench`` makes it.

``SWEBENCH_PYTHON`` names its interpreter. Version 5 is installed there, and in the folder
``swebench4`` beside it version 4, the last one with tables of repositories.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(script: str, *arguments: str, tables: bool = False, text: str = "") -> list[str]:
    """The lines that a script prints in that environment, with this project importable; skips where there is none.

    Args:
        script: Python source.
        arguments: Its arguments.
        tables: With version 4 in the place of 5.
        text: Its standard input.
    """
    python = Path(os.environ.get("SWEBENCH_PYTHON", sys.executable))
    folders = [str(ROOT)]
    if tables:
        folders.insert(0, str(python.parent.parent / "swebench4"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONDONTWRITEBYTECODE": "1"}
    wanted = "4." if tables else "5."
    probe = "import importlib.metadata as m; print(m.version('swebench'))"
    found = subprocess.run([python, "-c", probe], env=environment, text=True, capture_output=True, check=False).stdout
    if not found.startswith(wanted):
        pytest.skip(f"the package swebench {wanted}* is not there (found: {found.strip() or 'none'}): make swebench")
    done = subprocess.run(
        [python, "-c", script, *arguments], env=environment, input=text, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()

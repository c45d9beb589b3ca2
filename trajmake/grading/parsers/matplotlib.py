"""Logs of Matplotlib's pytest runs: mouse buttons in ids by number, as SWE-bench's rows have them."""

from __future__ import annotations

from trajmake.grading.parsers import pytest
from trajmake.grading.parsers.reading import Reading


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    return pytest.read(log.replace("MouseButton.LEFT", "1").replace("MouseButton.RIGHT", "3"))

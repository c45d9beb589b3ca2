"""Logs of tox, which runs pytest or unittest in each of its environments.

A test that several environments ran has the worst of its statuses.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers import pytest, unittest
from trajmake.grading.parsers.reading import Reading, merge

# tox 3 and "tox run-parallel" put the environment before each line.
_PREFIX = re.compile(r"^[\w.-]+ (?:\| |run-test: [^|\n]*\| )", re.M)


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    log = _PREFIX.sub("", log)
    pytests = pytest.read(log)
    if not re.search(r"^Ran \d+ tests? in ", log, re.M):
        return pytests
    return merge(pytests, unittest.read(log))

"""Grading: log → statuses → verdict. Pure functions; no container, no network."""

from __future__ import annotations

import hashlib
from pathlib import Path

from trajmake.grading.facts import RunFacts
from trajmake.grading.log import read_log
from trajmake.grading.parsers import known, parse
from trajmake.grading.records import eval_output, report
from trajmake.grading.repeats import combine
from trajmake.grading.verdict import RequiredTests, State, Verdict, grade, infra_failure

__all__ = [
    "RequiredTests",
    "RunFacts",
    "State",
    "Verdict",
    "code_digest",
    "combine",
    "eval_output",
    "grade",
    "infra_failure",
    "known",
    "parse",
    "read_log",
    "report",
]


def code_digest() -> str:
    """sha256 over the sources a verdict and its record depend on: when it changes, everything is graded again."""
    room = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted(room.rglob("*.py")), room.parent / "diffs.py", room.parent / "sessions" / "outcome.py"]:
        digest.update(path.relative_to(room.parent).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()

"""Logs of Automake's ``make check``, and of harnesses that print ``PASS: name`` likewise.

Ids are the tests' names; ``suite.name``, where a summary names the suite, is a
spelling. An unexpected pass (XPASS) fails the run: FAILED.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers.reading import (
    ERROR,
    FAILED,
    PASSED,
    SKIPPED,
    XFAIL,
    Reading,
    Results,
    doubt,
    lines,
    merge,
)

_TEST = re.compile(r"(PASS|FAIL|SKIP|XFAIL|XPASS|ERROR): (\S.*)$")
_SUITE = re.compile(r"Testsuite summary for (\S+)")
_PASSED = re.compile(r"# PASS: +(\d+)$")
_STATUS = {"PASS": PASSED, "FAIL": FAILED, "SKIP": SKIPPED, "XFAIL": XFAIL, "XPASS": FAILED, "ERROR": ERROR}


def beside(own: Reading, log: str) -> Reading:
    """``own``, and what ``make check`` tells where it ran the programs or where they tell nothing themselves.

    Otherwise a line ``PASS: name`` was printed by a test.
    """
    return own if own.statuses and "Testsuite summary for " not in log else merge(own, read(log))


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    found: list[tuple[str, str]] = []
    results, counted, summarized = Results(), 0, False
    for line in lines(log, whole=True):
        if ": " in line[:7] and (test := _TEST.match(line)):
            found.append((test.group(2), _STATUS[test.group(1)]))
        elif line.startswith("# PASS:") and (passed := _PASSED.match(line)):
            counted += int(passed.group(1))
            summarized = True
        elif suite := _SUITE.match(line):
            for name, status in found:
                results.add(name, status, f"{suite.group(1)}.{name}")
            found = []
    for name, status in found:
        results.add(name, status)
    named = results.passed()
    return results.reading(
        started=summarized, doubt=doubt("make check", closed=True, named=named, counted=counted if summarized else None)
    )

"""Logs of Check (libcheck) programs; passing tests are named with ``CK_VERBOSITY=verbose``.

Ids are ``<test case>:<test>``, for all iterations of a loop test together.
Spellings: the test alone, and ``<file>:<line>``, which stands first on Check's
lines and which some datasets have. What CTest, ``make check`` or TAP tell of
the log is read too.
Format: https://libcheck.github.io/check/doc/check_html/check_3.html#Test-Output
"""

from __future__ import annotations

import re

from trajmake.grading.parsers import automake, ctest, tap
from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, Reading, Results, doubt, lines, merge

_TEST = re.compile(r"(\S.*?:\d+):([PFE]):(.*?):(\w+):(\d+): ")
_SUMMARY = re.compile(r"\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)$")
_STATUS = {"P": PASSED, "F": FAILED, "E": ERROR}


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    readings = [_read_console(log), ctest.read(log)]
    if re.search(r"^1\.\.\d+$", log, re.M):
        readings.append(tap.read(log))
    return automake.beside(merge(*readings), log)


def _read_console(log: str) -> Reading:
    results, runs, closed, named, counted, failed = Results(), 0, 0, 0, 0, 0
    for line in lines(log):
        if line.startswith("Running suite(s):"):
            runs += 1
        elif "Checks: " in line and (summary := _SUMMARY.match(line)):
            checks, failures, errors = map(int, summary.groups())
            closed += 1
            counted += checks - failures - errors
            failed += failures + errors
        elif closed and ":" in line and (test := _TEST.match(line)):
            # Results follow the summary; what looks like one before it was printed by a test.
            place, mark, case, name, _ = test.groups()
            named += mark == "P"
            failed -= mark != "P"
            results.add(f"{case}:{name}", _STATUS[mark], name, place)
    # The results come last: a log that is cut has too few of them.
    whole = not results or (failed == 0 and named in (0, counted))
    trust = doubt(
        "Check", closed=closed >= runs and (whole or named > counted), named=named, counted=counted if closed else None
    )
    return results.reading(started=runs > 0, doubt=trust)

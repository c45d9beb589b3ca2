"""Logs of GoogleTest programs. Ids are ``Suite.Test``, as GoogleTest prints them.

Such programs often run under CTest or ``make check``, or report as JUnit XML:
what those tell of the log is read too.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers import automake, ctest, junit
from trajmake.grading.parsers.reading import FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines, merge

# A result can stand behind what the test printed without a newline; CTest puts "1: " before each line.
_RESULT = re.compile(r"\[ +(OK|FAILED|SKIPPED) +\] ([^\s,]+)(?:, where .*)? \(\d+ ms\)$")
_LISTED = re.compile(r"(?:\d+: )?\[ {2}(FAILED|SKIPPED) +\] ([^\s,]+\.[^\s,]+)(?:, where .*)?$")
_RUN = re.compile(r"\[ RUN      \] (\S+)$")
_START = re.compile(r"(?:\d+: )?\[==========\] Running \d+ tests? from ")
_END = re.compile(r"(?:\d+: )?\[==========\] \d+ tests? from .* ran\.")
_PASSED = re.compile(r"(?:\d+: )?\[  PASSED  \] (\d+) tests?\.")
_STATUS = {"OK": PASSED, "FAILED": FAILED, "SKIPPED": SKIPPED}


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    return automake.beside(merge(read_console(log), junit.read_xml(log), ctest.read(log)), log)


def read_console(log: str) -> Reading:
    """Read what the programs print."""
    results, runs, closed, counted, running = Results(), 0, 0, 0, ""
    for line in lines(log):
        if "] " not in line:
            continue
        if result := _RESULT.search(line):
            results.add(result.group(2), _STATUS[result.group(1)])
            running = ""
        elif begun := _RUN.search(line):
            running = begun.group(1)
        elif listed := _LISTED.match(line):
            results.add(listed.group(2), _STATUS[listed.group(1)])
        elif _START.match(line):
            runs += 1
        elif _END.match(line):
            closed += 1
        elif passed := _PASSED.match(line):
            counted += int(passed.group(1))
    if running and closed < runs:
        # The program died in this test.
        results.add(running, FAILED)
    trust = doubt("GoogleTest", closed=closed >= runs, named=results.passed(), counted=counted if closed else None)
    return results.reading(started=runs > 0, doubt=trust)

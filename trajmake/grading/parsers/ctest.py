"""Logs of CTest. Ids are the tests' names."""

from __future__ import annotations

import re

from trajmake.grading.parsers.reading import FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines

_TEST = re.compile(
    r" *\d+/\d+ Test +#\d+: (.+?) \.{2,} *(Passed|\*\*\*Failed|\*\*\*Not Run(?: \(Disabled\))?|\*\*\*Skipped|\*\*\*\w+)"
)
_LISTED = re.compile(r"\t *\d+ - (.+) \(([^()]+)\)(?: +[\w ]+)?$")
_SUMMARY = re.compile(r"\d+% tests passed, (\d+) tests? failed out of (\d+)")
_SKIPPED = ("Skipped", "Disabled", "Not Run (Disabled)")


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    results, runs, closed, counted = Results(), 0, 0, 0
    for line in lines(log):
        if "Test " in line and (test := _TEST.match(line)):
            mark = test.group(2).removeprefix("***")
            status = PASSED if test.group(2) == "Passed" else SKIPPED if mark in _SKIPPED else FAILED
            results.add(test.group(1), status)
            # CTest counts a skipped test as passed, a disabled one not at all.
            counted -= mark == "Skipped"
        elif line.startswith("Test project "):
            runs += 1
        elif "% tests passed" in line and (summary := _SUMMARY.match(line)):
            closed += 1
            counted += int(summary.group(2)) - int(summary.group(1))
        elif line.startswith("\t") and (listed := _LISTED.match(line)):
            results.add(listed.group(1), SKIPPED if listed.group(2) in _SKIPPED else FAILED)
    trust = doubt("CTest", closed=closed >= runs, named=results.passed(), counted=counted if closed else None)
    return results.reading(started=runs > 0, doubt=trust)

"""Logs of ``meson test``.

Ids are as Meson prints them (``project:suite / name``); the name alone is a
spelling. An unexpected pass fails the run: FAILED.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, XFAIL, Reading, Results, doubt, lines

_RESULT = "OK|FAIL|SKIP|TIMEOUT|ERROR|INTERRUPT|EXPECTEDFAIL|UNEXPECTEDPASS|IGNORED"
_TEST = re.compile(rf" *\d+/\d+ (.+?) +({_RESULT})(?: +\d+\.\d+ ?s(?:.*)?)?$")
_COUNT = re.compile(r"(Ok|OK|Expected Fail|Fail|FAIL|Unexpected Pass|Skipped|SKIP|Timeout|TIMEOUT):? +(\d+) *$")
_RULE = re.compile(r"―{10,}")
_STATUS = {"OK": PASSED, "SKIP": SKIPPED, "IGNORED": SKIPPED, "EXPECTEDFAIL": XFAIL, "ERROR": ERROR}


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    results, is_open, started, inside, counted = Results(), False, False, False, -1
    for line in lines(log):
        if line.startswith("――") and _RULE.match(line):
            # With --verbose a test's output stands between two rules; the first one holds scissors.
            inside = "✀" in line
        elif inside:
            continue
        elif "/" in line and (test := _TEST.match(line)):
            name = test.group(1)
            results.add(name, _STATUS.get(test.group(2), FAILED), name.partition(" / ")[2])
            is_open = started = True
        elif count := _COUNT.match(line):
            is_open, started = False, True
            if count.group(1).upper() == "OK":
                counted = max(counted, 0) + int(count.group(2))
    trust = doubt("Meson", closed=not is_open, named=results.passed(), counted=counted if counted >= 0 else None)
    return results.reading(started=started, doubt=trust)

"""Logs of ``cargo test`` (libtest's pretty format).

Ids are the tests' paths as printed, without ``- should panic``. A path that
several crates of a workspace share is one id, with the worst of their statuses.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers.reading import FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines

_TEST = re.compile(r"test (\S.*?) \.\.\. ?(.*)$")
_END = re.compile(r"(ok|FAILED|ignored)(?:, .*| \(.*\)| <[\d.]+s>)?$")
_RUNNING = re.compile(r"running \d+ tests?$")
_RESULT = re.compile(r"test result: (?:ok|FAILED)\. (\d+) passed; \d+ failed; ")
_STATUS = {"ok": PASSED, "FAILED": FAILED, "ignored": SKIPPED}
_SHOULD_PANIC = " - should panic"


class _Scan:
    def __init__(self) -> None:
        self.results = Results()
        self.pending = ""
        self.in_failures = False
        self.runs = self.closed = self.named = self.counted = 0

    def add(self, test: str, status: str) -> None:
        """One result."""
        self.named += status == PASSED
        self.results.add(test.removesuffix(_SHOULD_PANIC), status, test)


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    scan = _Scan()
    for line in lines(log):
        _take(scan, line)
    trust = doubt(
        "cargo test", closed=scan.closed >= scan.runs, named=scan.named, counted=scan.counted if scan.closed else None
    )
    return scan.results.reading(started=scan.runs > 0, doubt=trust)


def _take(scan: _Scan, line: str) -> None:
    if line.startswith("running ") and _RUNNING.match(line):
        scan.runs += 1
        scan.pending, scan.in_failures = "", False
    elif line.startswith("test result: "):
        match = _RESULT.match(line)
        if match:
            scan.closed += 1
            scan.counted += int(match.group(1))
            scan.pending, scan.in_failures = "", False
    elif line == "failures:":
        scan.pending, scan.in_failures = "", True
    elif scan.in_failures:
        # What failing tests printed.
        return
    elif line.startswith("test ") and not scan.pending and (match := _TEST.match(line)):
        end = _END.match(match.group(2))
        if end:
            scan.add(match.group(1), _STATUS[end.group(1)])
        else:
            # With --nocapture the test's own output comes first.
            scan.pending = match.group(1)
    elif scan.pending and (end := _END.match(line)):
        scan.add(scan.pending, _STATUS[end.group(1)])
        scan.pending = ""

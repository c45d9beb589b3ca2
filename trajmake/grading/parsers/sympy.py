"""Logs of SymPy's own runner, ``bin/test --verbose``.

Ids are ``path/test_x.py:test_y``; the test's name alone, which SWE-bench's rows
have, is a spelling.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, XFAIL, Reading, Results, doubt, lines

_FILE = re.compile(r"(\S+\.py)\[(\d+|\?)\](?: |$)")
_TEST = re.compile(r"(test_\w+) (?:.* )?(ok|F|E|f|X|s|w|K|T)(?: +\[(?:OK|FAIL)\])?$")
_BEGIN = re.compile(r"(test_\w+) ")
_END = re.compile(r"(?:.* )?(ok|F|E|f|X|s|w|K|T)(?: +\[(?:OK|FAIL)\])?$")
_HEADER = re.compile(r"_+ (\S+\.py):(\w+) _+$")
_PASSED = re.compile(r"tests finished: (\d+) passed")
_STATUS = {"ok": PASSED, "F": FAILED, "T": FAILED, "E": ERROR, "K": ERROR, "f": XFAIL, "X": FAILED, "s": SKIPPED}


class _Scan:
    def __init__(self) -> None:
        self.results = Results()
        self.file = self.pending = ""
        self.runs = self.closed = self.counted = 0

    def add(self, test: str, mark: str, file: str = "") -> None:
        """One result."""
        file = file or self.file
        self.results.add(f"{file}:{test}" if file else test, _STATUS.get(mark, SKIPPED), test)


def read(log: str) -> Reading:
    """Read a cleaned log; a slow test that is left out is SKIPPED, an unexpected pass FAILED."""
    scan = _Scan()
    for line in lines(log):
        _take(scan, line)
    trust = doubt(
        "SymPy's runner",
        closed=scan.closed >= scan.runs,
        named=scan.results.passed(),
        counted=scan.counted if scan.closed else None,
    )
    return scan.results.reading(started=scan.runs > 0, doubt=trust)


def _take(scan: _Scan, line: str) -> None:
    if line.startswith("=") and " test process starts " in line:
        scan.runs += 1
        scan.file = scan.pending = ""
    elif "tests finished: " in line and (passed := _PASSED.search(line)):
        scan.closed += 1
        scan.counted += int(passed.group(1))
        scan.file = scan.pending = ""
    elif line.startswith("_") and (header := _HEADER.match(line)):
        scan.pending = ""
        # An exception stands there too; its test has a result already.
        if f"{header.group(1)}:{header.group(2)}" not in scan.results.statuses():
            scan.add(header.group(2), "F", header.group(1))
    elif file := _FILE.match(line):
        scan.file, scan.pending = file.group(1), ""
    elif scan.file and line.startswith("test_"):
        test = _TEST.match(line)
        begin = _BEGIN.match(line + " ")
        if test:
            scan.add(test.group(1), test.group(2))
        scan.pending = "" if test or not begin else begin.group(1)
    elif scan.pending and (end := _END.match(line)):
        scan.add(scan.pending, end.group(1))
        scan.pending = ""

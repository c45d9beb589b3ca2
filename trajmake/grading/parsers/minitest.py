"""Logs of minitest (``-v``), of Rails' runner, which prints the same, and of minitest-reporters.

Ids are ``Class::Sub#test_x``. Without ``-v`` only failures, errors and, where
asked for, skips are named.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines

_OLD = re.compile(r" *(test_\S+) ?\(([\w:]+)\) = \d+\.\d+ s = ([.FESN])$")
_SECONDS = re.compile(r"\d+\.\d+")
_GLUED_SECONDS = re.compile(r"\d+\.\d\d")
_BRACKET = re.compile(r" *([\w:]+#\S+) +\[(PASS|FAIL|ERROR|SKIP)[A-Z]*\]")
_REPORTER = re.compile(r"(?:.*? )? (test_.*?) +(PASS|FAIL|ERROR|SKIP) \(\d+\.\d+s\)$")
_PROBLEM = re.compile(r"(?: *\d+\) )?(Failure|Error|Skipped):$")
_PROBLEM_NAME = re.compile(r"(\S.*?#.+?)(?: \[[^\]]+\])?:$")
_SUMMARY = re.compile(r"(\d+) (?:runs|tests), \d+ assertions, (\d+) failures, (\d+) errors(?:, (\d+) skips)?$")
_STATUS = {".": PASSED, "F": FAILED, "E": ERROR, "S": SKIPPED, "N": SKIPPED}
_WORD = {"PASS": PASSED, "FAIL": FAILED, "ERROR": ERROR, "SKIP": SKIPPED}
_KIND = {"Failure": FAILED, "Error": ERROR, "Skipped": SKIPPED}


class _Scan:
    def __init__(self) -> None:
        self.results = Results()
        self.pending = self.kind = self.class_name = ""
        self.open = self.started = False
        self.blank = True
        self.closed = self.counted = 0


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    scan = _Scan()
    for line in lines(log):
        _take(scan, line)
        scan.blank = not line
    counted = scan.counted if scan.closed else None
    trust = doubt("minitest", closed=not scan.open, named=scan.results.passed(), counted=counted)
    return scan.results.reading(started=scan.started, doubt=trust)


def _take(scan: _Scan, line: str) -> None:
    if scan.kind:
        name = _PROBLEM_NAME.match(line.lstrip())
        if name:
            scan.results.add(name.group(1), _KIND[scan.kind])
        scan.kind = ""
    elif line in ("# Running:", "# Running tests:"):
        scan.open = scan.started = True
    elif " s = " in line:
        _result(scan, line)
    elif line.endswith((")", "]")) and _reporter(scan, line):
        scan.open = scan.started = True
    elif line.endswith(("Failure:", "Error:", "Skipped:")) and (problem := _PROBLEM.match(line)):
        scan.kind = problem.group(1)
    elif " assertions, " in line and (summary := _SUMMARY.match(line)):
        runs, *others = (int(number or 0) for number in summary.groups())
        scan.counted += runs - sum(others)
        scan.closed += 1
        scan.open, scan.started, scan.pending = False, True, ""
    elif "#" in line and _begun(line):
        scan.pending = _begun(line)
    elif scan.blank and line:
        # minitest-reporters: a class stands behind a blank line.
        scan.class_name = line


def _result(scan: _Scan, line: str) -> None:
    """A result; what the test printed can stand before it, also over several lines."""
    old = _OLD.match(line)
    if old:
        scan.results.add(f"{old.group(2)}#{old.group(1)}", _STATUS[old.group(3)])
        return
    if line[-6:-1] != " s = " or line[-1] not in _STATUS:
        return
    name, _, seconds = line[:-6].rpartition(" = ")
    if not (_SECONDS.fullmatch(seconds) and "#" in name):
        name = _begun(line) or scan.pending
        if not (name and _GLUED_SECONDS.fullmatch(line[-10:-6])):
            return
    scan.results.add(name, _STATUS[line[-1]])
    scan.pending = ""


def _begun(line: str) -> str:
    """The test whose name and " = " begin the line; names with blanks are minitest::Spec's."""
    name, separator, _ = f"{line} ".partition(" = ")
    return name if separator and "#" in name else ""


def _reporter(scan: _Scan, line: str) -> bool:
    bracket = _BRACKET.match(line)
    if bracket:
        scan.results.add(bracket.group(1), _WORD[bracket.group(2)])
        return True
    test = _REPORTER.match(line)
    if test and scan.class_name:
        scan.results.add(f"{scan.class_name}#{test.group(1)}", _WORD[test.group(2)])
        return True
    return False

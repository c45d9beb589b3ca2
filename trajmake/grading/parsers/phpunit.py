"""Logs of PHPUnit: ``--testdox``, ``--debug``, ``--teamcity``, JUnit XML, and the list of problems.

Ids are ``Namespace\\Class::testMethod``, with ``with data set …`` behind it where
the test has data sets; the method without its data sets is a spelling.
``--testdox`` prints sentences instead of names ("Adds two numbers"): the method
is put together again from it (``testAddsTwoNumbers``, spelling
``test_adds_two_numbers``), and so is the class, which loses its ``Test``.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers import junit
from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines

_SECTION = re.compile(r"There (?:was|were) \d+ (.+?)s?:$")
_ITEM = re.compile(r"\d+\) ([\w\\]+::.+)$")
_DATA = re.compile(r"(.*?)( with data set (?:#\d+|\".*?\"(?= \(|$)|\".*\"))(?: \(.*\))?$")
_TALLY = re.compile(r"OK \((\d+) tests?, \d+ assertions?\)$")
_COUNTS = re.compile(r"Tests: (\d+), Assertions: \d+(?:, .*)?\.$")
_LOST = re.compile(r"(?:Errors|Failures|Skipped|Incomplete): (\d+)")
_DOX_CLASS = re.compile(r"(\S.*?) \(([\w\\]+)\)$")
_DOX = re.compile(r" ([✔✘↩∅☢⚠]) (.+?)(?: +\d+ ms| \[[\d.]+ ms\])?$")
_DEBUG = re.compile(r"Test '(.+)' (started|ended)$")
_EVENT = re.compile(r"Test (Passed|Failed|Errored|Skipped|Marked Incomplete) \((.+)\)$")
_TEAMCITY = re.compile(r"##teamcity\[(testStarted|testFailed|testIgnored|testFinished) name='((?:[^'|]|\|.)*)'(.*)\]$")
_LOCATION = re.compile(r"locationHint='php_qn://[^']*?::\\?([\w\\]+)::")
_DOX_STATUS = {"✔": PASSED, "✘": FAILED, "↩": SKIPPED, "∅": SKIPPED, "☢": PASSED, "⚠": FAILED}
_EVENT_STATUS = {"Passed": PASSED, "Failed": FAILED, "Errored": ERROR, "Skipped": SKIPPED, "Marked Incomplete": SKIPPED}
_PROBLEMS = {"error": ERROR, "failure": FAILED, "skipped test": SKIPPED, "incomplete test": SKIPPED, "warning": FAILED}


class _Scan:
    def __init__(self) -> None:
        self.results = Results()
        self.ended: list[str] = []
        self.section = self.dox_class = self.plain_class = self.team_class = ""
        self.team_status = PASSED
        self.runs = self.closed = self.counted = 0
        self.blank = True

    def add(self, test: str, status: str, *spellings: str) -> None:
        """One result by the test's full name."""
        match = _DATA.match(test)
        name, method = (match.group(1) + match.group(2), match.group(1)) if match else (test, "")
        self.results.add(name, status, method, *spellings)


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    scan = _Scan()
    for line in lines(log):
        _take(scan, line)
        scan.blank = not line
    _assume_passed(scan)
    for cases, _ in junit.cases(log) if "<testsuite" in log else ():
        for case in cases:
            name = case.attributes.get("class") or case.class_name.replace(".", "\\")
            scan.add(f"{name}::{case.name}", case.status)
    closed = scan.closed >= scan.runs
    trust = doubt("PHPUnit", closed=closed, named=scan.results.passed(), counted=scan.counted if scan.closed else None)
    return scan.results.reading(started=scan.runs > 0, doubt=trust)


def _take(scan: _Scan, line: str) -> None:
    if line.startswith("PHPUnit ") and " by Sebastian Bergmann" in line:
        scan.runs += 1
        scan.section = scan.dox_class = ""
    elif (line.startswith("OK (") and (ok := _TALLY.match(line))) or (ok := _COUNTS.match(line)):
        scan.closed += 1
        scan.counted += int(ok.group(1)) - sum(map(int, _LOST.findall(line)))
        scan.section = scan.dox_class = ""
    elif line.startswith("There w") and (section := _SECTION.match(line)):
        scan.section = section.group(1)
    elif scan.section:
        item = _ITEM.match(line)
        if item and scan.section in _PROBLEMS:
            scan.add(item.group(1), _PROBLEMS[scan.section])
    elif line.startswith("##teamcity["):
        _teamcity(scan, line)
    elif line.startswith("Test "):
        _debug(scan, line)
    else:
        _testdox(scan, line)


def _debug(scan: _Scan, line: str) -> None:
    """``--debug``: events since PHPUnit 10; before, only that a test started and ended."""
    event = _EVENT.match(line)
    if event:
        scan.add(event.group(2), _EVENT_STATUS[event.group(1)])
        return
    debug = _DEBUG.match(line)
    if debug and debug.group(2) == "ended":
        scan.ended.append(debug.group(1))


def _assume_passed(scan: _Scan) -> None:
    """Tests that ended and are in no list of problems passed, if PHPUnit counted as many.

    It lists skipped and incomplete tests only when asked to (``--verbose``).
    """
    if not scan.ended or not scan.closed:
        return
    listed = scan.results.statuses()
    passed = [test for test in scan.ended if _DATA.sub(r"\1\2", test) not in listed]
    if len(passed) <= scan.counted:
        for test in passed:
            scan.add(test, PASSED)


def _teamcity(scan: _Scan, line: str) -> None:
    match = _TEAMCITY.match(line)
    if not match:
        return
    kind, name, rest = match.groups()
    if kind == "testStarted":
        location = _LOCATION.search(rest)
        scan.team_class = location.group(1) if location else ""
        scan.team_status = PASSED
    elif kind == "testFailed":
        scan.team_status = FAILED
    elif kind == "testIgnored":
        scan.team_status = SKIPPED
    elif scan.team_class:
        name = re.sub(r"\|(.)", r"\1", name)
        scan.add(f"{scan.team_class}::{name}", scan.team_status)


def _testdox(scan: _Scan, line: str) -> None:
    test = _DOX.match(line)
    if test:
        if scan.dox_class:
            _sentence(scan, test.group(1), test.group(2))
        return
    if line and scan.blank and not line.startswith(" "):
        named = _DOX_CLASS.match(line)
        scan.dox_class = named.group(2) if named else line if re.fullmatch(r"\w+", line) else ""
        scan.plain_class = named.group(1) if named else scan.dox_class


def _sentence(scan: _Scan, mark: str, sentence: str) -> None:
    words, _, data = sentence.partition(" with data set ")
    data = f" with data set {data}" if data else ""
    camel = "test" + "".join(word[:1].upper() + word[1:] for word in words.split())
    snake = "test_" + "_".join(words.split())
    short, full = scan.dox_class, scan.dox_class if scan.dox_class.endswith("Test") else f"{scan.dox_class}Test"
    spellings = [f"{name}::{method}{data}" for name in (full, short) for method in (camel, snake, snake.lower())]
    scan.add(f"{full}::{camel}{data}", _DOX_STATUS[mark], *spellings[1:], f"{scan.plain_class} > {sentence}")

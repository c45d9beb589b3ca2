"""Logs of Catch2 programs: the reporters console, compact, xml, junit, tap and automake.

Ids are the test cases' names. The console names passing test cases only with
``--success``; its sections are no tests of their own. In JUnit XML sections
are: there ids are ``<program>.global.<case>/<section>``, and the case is a
spelling. What CTest or ``make check`` tell of the log is read too.
Format: https://github.com/catchorg/Catch2/blob/devel/docs/reporters.md
"""

from __future__ import annotations

import re
from html import unescape

from trajmake.grading.parsers import automake, ctest, junit, tap
from trajmake.grading.parsers.reading import FAILED, PASSED, SKIPPED, XFAIL, Reading, Results, doubt, lines, merge

_RULE = re.compile(r"-{79}$")
_RESULT = re.compile(r"\S.*: (PASSED|FAILED|SKIPPED)(:| - .*)$")
_TALLY = re.compile(r"(?:All tests passed \(|test cases: +\d+ \||No tests ran)")
_AUTOMAKE = re.compile(r":test-result: (PASS|FAIL|XFAIL|SKIP) (.+)$")
_CASE = re.compile(r'<TestCase name="([^"]*)"(.*?)</TestCase>', re.S)
_OVERALL = re.compile(r'<OverallResult success="(true|false)"(?: skips="(\d+)")?')
_WORD = {"PASS": PASSED, "PASSED": PASSED, "FAIL": FAILED, "FAILED": FAILED, "XFAIL": XFAIL}


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    readings = [_read_console(log), ctest.read(log)]
    if "<Catch" in log:
        readings.append(_read_xml(log))
    if "<testsuite" in log:
        readings.append(_read_junit(log))
    if re.search(r"^(?:# rng-seed: \d+|TAP version \d+|1\.\.\d+)$", log, re.M):
        readings.append(tap.read(log))
    return automake.beside(merge(*readings), log)


def _read_console(log: str) -> Reading:
    """Each block of results has a title between two rules: the case, its sections, a rule, and where it is."""
    results, title, case, is_open = Results(), False, "", False
    for line in lines(log, whole=True):
        if line.startswith("----") and _RULE.match(line):
            title = not title
            case = "" if title else case
        elif title:
            case = case or line.strip()
        elif case and (found := _RESULT.match(line)):
            results.add(case, _WORD.get(found.group(1), SKIPPED))
            is_open = True
        elif _TALLY.match(line):
            is_open, case = False, ""
        elif line.startswith(":test-result: ") and (word := _AUTOMAKE.match(line)):
            results.add(word.group(2), _WORD.get(word.group(1), SKIPPED))
    return results.reading(started=False, doubt=doubt("Catch2", closed=not is_open))


def _read_xml(log: str) -> Reading:
    """The ``xml`` reporter; a failure that its tags allow is a success there."""
    results = Results()
    for match in _CASE.finditer(log):
        overall = _OVERALL.search(match.group(2))
        if overall:
            skipped = overall.group(2) not in (None, "0")
            status = FAILED if overall.group(1) == "false" else SKIPPED if skipped else PASSED
            results.add(unescape(match.group(1)), status)
    whole = log.count("<Catch") <= log.count("</Catch")
    return results.reading(started=True, doubt=doubt("Catch2", closed=whole))


def _read_junit(log: str) -> Reading:
    results, closed = Results(), True
    for found, whole in junit.cases(log):
        closed = closed and whole
        for case in found:
            name = case.name.partition("/")[0]
            results.add(f"{case.class_name}.{case.name}", case.status, case.name, name)
    return results.reading(started=True, doubt=doubt("Catch2", closed=closed))

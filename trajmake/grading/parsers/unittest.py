"""Logs of ``python -m unittest -v`` and of Django's runner, which prints the same.

Ids are ``module.Class.test``. Python 3.11 and later print
``test_x (module.Class.test_x)``, earlier ones ``test_x (module.Class)``.
"""

from __future__ import annotations

import re

from trajmake.grading.matching import unittest_id
from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, XFAIL, Reading, worst

_TEST = re.compile(r" *(\S+ \([\w<>]+\.[\w.<>]+\))(?: \[.*?\])?(?: \(.*\))?(?: \.\.\. ?(.*))?")
_HEADER = re.compile(r"(FAIL|ERROR|UNEXPECTED SUCCESS): (\S+ \([\w<>]+\.[\w.<>]+\))(.*)")
_ENDING = re.compile(r"(ok|OK|FAIL|ERROR|expected failure|unexpected success|skipped(?: ['\"].*|))$")
# Django prints its migrations to stdout: where that is a file, the first test stands behind the last one.
_MIGRATION = re.compile(r"^ +Applying [\w.]+\.\.\.(?=\S+ \()", re.M)
_RAN = re.compile(r"Ran (\d+) tests? in [\d.]+s")
_STATUS = {
    "ok": PASSED,
    "OK": PASSED,
    "FAIL": FAILED,
    "ERROR": ERROR,
    "UNEXPECTED SUCCESS": FAILED,
    "unexpected success": FAILED,
    "expected failure": XFAIL,
}


def read(log: str) -> Reading:
    """Read a cleaned log; ids as ``module.Class.test``."""
    return _read(log, django=False)


def read_django(log: str) -> Reading:
    """Read a cleaned log; ids as SWE-bench has them for Django: ``test_x (module.Class)``.

    A test with a docstring goes by the docstring's first line too, since that is
    where the result stands.
    """
    return _read(_MIGRATION.sub("", log), django=True)


class _Scan:
    """The results so far, and the test whose result is awaited."""

    def __init__(self) -> None:
        self.results: list[tuple[str, str, str]] = []
        self.ran = 0
        self.closed = self.started = False
        self._test = self._shown = self._ending = ""
        self._dots = False

    def begin(self, test: str, after_dots: str | None) -> None:
        """A test's name; without dots its docstring follows on the next line."""
        self.finish()
        self._test = self._shown = test
        self.started, self.closed = True, False
        self._dots = after_dots is not None
        self.line(after_dots or "")

    def line(self, text: str) -> None:
        """What follows a test's name: docstring, printed output, its result."""
        if not self._test:
            return
        if not self._dots:
            doc, dots, text = text.rpartition(" ... ")
            self._shown, self._dots = (doc.strip(), True) if dots else (self._shown, False)
        match = _ENDING.search(text.rstrip())
        # A class whose setUpClass fails prints a bare ERROR behind the test before it. Nothing is
        # lost by passing over it: failures and errors are named again in the summary.
        if match and not (self._ending and match.group(1) in ("FAIL", "ERROR")):
            self._ending = match.group(1)

    def finish(self) -> None:
        """The next test or the summary begins: what came last is the result."""
        if self._test and self._ending:
            status = SKIPPED if self._ending.startswith("skipped") else _STATUS[self._ending]
            self.results.append((self._test, self._shown, status))
        self._test = self._ending = ""


def _read(log: str, *, django: bool) -> Reading:
    scan = _Scan()
    for line in log.split("\n"):
        _take(scan, line)
    scan.finish()
    statuses = worst(pair for result in scan.results for pair in _named(result, django=django))
    return Reading(statuses, scan.started or scan.ran > 0 or scan.closed, _doubt(scan))


def _take(scan: _Scan, line: str) -> None:
    if line.startswith(("=====", "-----")):
        scan.finish()
        return
    ran = _RAN.match(line) if line.startswith("Ran ") else None
    if ran:
        scan.finish()
        scan.ran += int(ran.group(1))
        scan.closed = True
        return
    header = _HEADER.match(line)
    if header:
        scan.finish()
        test = header.group(2)
        scan.results.append((test, test, _STATUS[header.group(1)]))
        return
    test = _TEST.fullmatch(line) if "(" in line else None
    if not test:
        scan.line(line)
        return
    scan.begin(test.group(1), test.group(2))
    if test.group(2) and _TEST.fullmatch(test.group(2)):
        # Before Python 3.12 a test whose subtests failed leaves its line open.
        _take(scan, test.group(2))


def _named(result: tuple[str, str, str], *, django: bool) -> list[tuple[str, str]]:
    test, shown, status = result
    if not django:
        return [(unittest_id(test), status)]
    return [(test, status)] if shown == test else [(test, status), (shown, status)]


def _doubt(scan: _Scan) -> str:
    if scan.started and not scan.closed:
        return "unittest started and never printed how many tests it ran"
    passed = len({test for test, _, status in scan.results if status == PASSED})
    if scan.closed and passed > scan.ran:
        return f"the log names {passed} passed tests, but unittest ran {scan.ran}"
    return ""

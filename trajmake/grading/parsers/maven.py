"""Logs of Maven's Surefire and Failsafe plug-ins.

Ids are ``<class>.<test>``, and ``<class>`` for a class as a whole: by default
the console names only tests that fail, and classes. Where each test is run by
a command of its own (``mvn test -Dtest=Class#test``, as SWE-bench does), what
stands behind ``-Dtest=`` is an id too, and the build's result is the test's.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines, merge

_LEVEL = re.compile(r"(?:\[(?:INFO|ERROR|WARNING|WARN)\] ?)+")
_TIME = r"Time elapsed: [\d.,]+ s(?:ec)?"
_CLASS = re.compile(
    rf"Tests run: (\d+), Failures: (\d+), Errors: (\d+), Skipped: (\d+), {_TIME}"
    r"(?: *<<< (?:FAILURE|ERROR)!)?(?: -{1,2} in (\S+))?(?: \[.*\])?$"
)
_RUNNING = re.compile(r"Running ([\w.$]+)$")
_TEST = re.compile(rf"(\S.*?) +(?:-- )?{_TIME} *(?:<<< (FAILURE|ERROR)!|(<<< SKIPPED!|skipped))?$")
_OLD_NAME = re.compile(r"([^.()]+(?:\(.*\))?(?:\[.*\])?)\(([\w.$]+)\)")
_SINGLE = re.compile(r"\bmvnw?\b.* -Dtest=(\S+)")
_BUILD = re.compile(r"BUILD (SUCCESS|FAILURE|ERROR)$")


def read(log: str) -> Reading:
    """Read a cleaned log, and the JUnit reports in it."""
    from trajmake.grading.parsers import junit

    return merge(read_console(log), junit.read_xml(log))


class _Scan:
    def __init__(self) -> None:
        self.results = Results()
        self.running = ""
        self.single: list[str] = []
        self.open = self.started = False


def read_console(log: str) -> Reading:
    """Read what the plug-ins print."""
    scan = _Scan()
    for line in lines(log):
        if "Tests run:" in line or "Time elapsed:" in line or "unning " in line:
            _report(scan, line)
        elif "BUILD " in line:
            _build(scan, line)
        elif "-Dtest=" in line and (match := _SINGLE.search(line)):
            scan.single.append(match.group(1).strip("'\""))
        elif "T E S T S" in line:
            scan.open = scan.started = True
    return scan.results.reading(started=scan.started, doubt=doubt("Maven", closed=not scan.open))


def _report(scan: _Scan, line: str) -> None:
    # Two processes write: a line can begin behind the end of another.
    text = _LEVEL.split(line)[-1].strip()
    running = _RUNNING.match(text)
    if running:
        scan.running = running.group(1)
        return
    whole = _CLASS.match(text)
    if whole:
        run, failures, errors, skipped = map(int, whole.groups()[:4])
        name = whole.group(5) or scan.running
        if run and name:
            status = ERROR if errors else FAILED if failures else SKIPPED if skipped == run else PASSED
            scan.results.add(name, status, f'"{name}"')
        return
    test = _TEST.match(text)
    if test:
        old = _OLD_NAME.fullmatch(test.group(1))
        name = f"{old.group(2)}.{old.group(1)}" if old else test.group(1)
        failed = {"FAILURE": FAILED, "ERROR": ERROR, None: PASSED}[test.group(2)]
        scan.results.add(name, SKIPPED if test.group(3) else failed, f'"{name}"')


def _build(scan: _Scan, line: str) -> None:
    build = _BUILD.match(_LEVEL.split(line)[-1].strip())
    if not build:
        return
    scan.open = False
    if scan.single:
        scan.results.add(scan.single.pop(0), PASSED if build.group(1) == "SUCCESS" else FAILED)

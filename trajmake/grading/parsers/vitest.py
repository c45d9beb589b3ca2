# ruff: noqa: RUF001 (the characters are the runners' own)
"""Logs of Vitest: the verbose reporter, the default one, and the JSON document.

Ids are ``file > describe > test``; the path without the file and the title alone
are spellings. The default reporter names the tests of a file without their
groups, and none of a file in which all pass: there the file is the test.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers import jest_json
from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines, merge

_TIME = r"(?: +\d+(?:\.\d+)? ?m?s)?"
_FILE = re.compile(rf" ?([✓❯×↓✗]) (?:\|[^|]+\| )?(\S+) \(\d+ tests?(?: \|[^)]*)?\){_TIME}(?: \[skipped\])?$")
_TEST = re.compile(rf"( *)([✓×↓□✗]) (?:\|[^|]+\| )?(.+?)(?: \(retry x\d+\)| \(repeat x\d+\))*{_TIME}(?: \[skipped\])?$")
_GROUP = re.compile(rf"( +)❯ (.+?)(?: \(\d+\))?{_TIME}$")
_FAILURE = re.compile(r" FAIL  (?:\|[^|]+\| )?(.+?)(?: \[ \S+ \])?$")
_SUMMARY = re.compile(r" +Tests  (?:.* )?\(\d+\)$")
_PASSED = re.compile(r"(\d+) (?:passed|expected fail)")
_STATUS = {"✓": PASSED, "×": FAILED, "✗": FAILED, "↓": SKIPPED, "□": SKIPPED}


class _Scan:
    def __init__(self) -> None:
        self.results = Results()
        self.files: dict[str, str] = {}
        self.named: set[str] = set()
        self.file = ""
        self.groups: list[tuple[int, str]] = []
        self.printed = self.failures = False
        self.open = False
        self.runs = self.closed = self.counted = 0

    def test(self, indent: int, mark: str, title: str) -> None:
        """A test's line: the whole path of the verbose reporter, or a title under its file."""
        while self.groups and self.groups[-1][0] >= indent:
            self.groups.pop()
        path = title.split(" > ") if indent <= 1 else [self.file, *(name for _, name in self.groups), title]
        self.add(path, _STATUS[mark])

    def add(self, path: list[str], status: str) -> None:
        """One result."""
        self.named.add(path[0])
        self.results.add(" > ".join(path), status, " > ".join(path[1:]), path[-1])


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    scan = _Scan()
    for line in lines(log):
        _take(scan, line)
    named = scan.results.passed()
    for file, status in scan.files.items():
        if file not in scan.named:
            scan.results.add(file, status)
    closed = scan.closed >= scan.runs and not scan.open
    trust = doubt("Vitest", closed=closed, named=named, counted=scan.counted if scan.closed else None)
    own = scan.results.reading(started=scan.runs > 0, doubt=trust)
    return merge(own, jest_json.read(log)) if '"testResults"' in log else own


def _take(scan: _Scan, line: str) -> None:
    if line.startswith(("stdout | ", "stderr | ")):
        scan.printed = True
    elif scan.printed:
        scan.printed = bool(line)
    elif line.startswith(" RUN  v"):
        scan.runs += 1
        scan.failures = False
    elif line.startswith("⎯"):
        scan.failures = True
    elif line.startswith(" FAIL  "):
        _failure(scan, line)
    elif _SUMMARY.match(line):
        scan.closed += 1
        scan.open = False
        scan.counted += sum(map(int, _PASSED.findall(line)))
    elif not scan.failures:
        _progress(scan, line)


def _progress(scan: _Scan, line: str) -> None:
    if line.lstrip()[:1] not in _STATUS and "❯ " not in line[:40]:
        return
    file = _FILE.match(line)
    if file:
        scan.file, scan.groups, scan.open = file.group(2), [], True
        status = {"✓": PASSED, "↓": SKIPPED}.get(file.group(1), FAILED)
        scan.files[scan.file] = status if status != FAILED else ERROR
        return
    test = _TEST.match(line)
    if test and (scan.file or " > " in test.group(3)):
        scan.open = True
        scan.test(len(test.group(1)), test.group(2), test.group(3))
        return
    group = _GROUP.match(line)
    if group and scan.file:
        scan.groups = [item for item in scan.groups if item[0] < len(group.group(1))]
        scan.groups.append((len(group.group(1)), group.group(2)))


def _failure(scan: _Scan, line: str) -> None:
    """The list of failures names tests whole, and files in which none could run."""
    match = _FAILURE.match(line)
    if match and " > " in match.group(1):
        scan.add(match.group(1).split(" > "), FAILED)
    elif match:
        scan.named.add(match.group(1))
        scan.results.add(match.group(1), ERROR)

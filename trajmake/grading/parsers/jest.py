# ruff: noqa: RUF001 (the characters are the runners' own)
"""Logs of Jest's own reporter, best with ``--verbose``.

Ids are ``describe > describe > test``. Datasets made with SWE-bench's parser
have the test's title alone, others Jest's full name (titles joined by blanks):
both are spellings. Without ``--verbose`` Jest names no passing test; then the
files are the tests.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines

_HEADING = re.compile(r"(PASS|FAIL)\s+(?:\S+ )*?(\S+\.\w+)(?: \([\d.]+ m?s\))?$")
_TEST = re.compile(r"( +)([✓√✕×○✎]) (.+?)(?: \([\d.]+ m?s\))?$")
_GROUP = re.compile(r"( +)(\S.*)$")
_BULLET = re.compile(r" +● (.+)$")
_SUMMARY = re.compile(r"Tests: +(?:.*, )?\d+ total$")
_PASSED = re.compile(r"(\d+) passed")
_STATUS = {"✓": PASSED, "√": PASSED, "✕": FAILED, "×": FAILED, "○": SKIPPED, "✎": SKIPPED}
_LABEL = {"○": "skipped ", "✎": "todo "}
_COUNT_ONLY = re.compile(r"skipped \d+ tests?|todo \d+ tests?")


class _Scan:
    def __init__(self) -> None:
        self.results = Results()
        self.files: dict[str, str] = {}
        self.named: set[str] = set()
        self.bullets: list[tuple[str, str]] = []
        self.file = ""
        self.in_tree = False
        self.groups: list[tuple[int, str]] = []
        self.closed = True
        self.counted = 0

    def heading(self, status: str, file: str) -> None:
        self.file, self.in_tree, self.closed, self.groups = file, True, False, []
        self.files[file] = status if self.files.get(file) != "FAIL" else "FAIL"

    def tree(self, line: str) -> None:
        """A line of the tree of tests under a file's heading; a blank line ends it."""
        if not line.strip():
            self.in_tree = False
            return
        test = _TEST.match(line)
        if test:
            self._test(len(test.group(1)), test.group(2), test.group(3))
            return
        group = _GROUP.match(line)
        if group:
            self._leave(len(group.group(1)))
            self.groups.append((len(group.group(1)), group.group(2)))

    def _test(self, indent: int, mark: str, title: str) -> None:
        self._leave(indent)
        if _COUNT_ONLY.fullmatch(title):
            return
        title = title.removeprefix(_LABEL.get(mark, ""))
        path = [name for _, name in self.groups] + [title]
        self.named.add(self.file)
        self.results.add(" > ".join(path), _STATUS[mark], title, " ".join(path))

    def _leave(self, indent: int) -> None:
        while self.groups and self.groups[-1][0] >= indent:
            self.groups.pop()


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    scan = _Scan()
    for line in lines(log):
        _take(scan, line)
    named = scan.results.passed()
    for file, title in scan.bullets:
        if file not in scan.named:
            path = title.split(" › ")
            scan.results.add(" > ".join(path), FAILED, path[-1], " ".join(path))
    for file, status in scan.files.items():
        if file not in scan.named:
            scan.results.add(file, PASSED if status == "PASS" else ERROR)
    return scan.results.reading(
        started=bool(scan.files), doubt=doubt("Jest", closed=scan.closed, named=named, counted=scan.counted)
    )


def _take(scan: _Scan, line: str) -> None:
    if ("PASS" in line or "FAIL" in line) and not line.startswith(" "):
        heading = _HEADING.search(line.rstrip())
        if heading:
            scan.heading(heading.group(1), heading.group(2))
            return
    if line.startswith("Tests:") and _SUMMARY.match(line.rstrip()):
        scan.closed, scan.in_tree = True, False
        scan.counted += sum(map(int, _PASSED.findall(line)))
        return
    bullet = _BULLET.match(line) if "● " in line else None
    if bullet:
        scan.in_tree = False
        title = bullet.group(1)
        if scan.file and title not in ("Test suite failed to run", "Console"):
            scan.bullets.append((scan.file, title))
    elif scan.in_tree:
        scan.tree(line)

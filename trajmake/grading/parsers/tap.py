"""Logs in the Test Anything Protocol: node's test runner, tap, tape, Vitest, Check and many more.

Ids are descriptions, of subtests with their parents': ``parent > child``. The
description alone, and with the dash before it, are spellings.
Format: https://testanything.org/tap-version-14-specification.html
"""

from __future__ import annotations

import re

from trajmake.grading.parsers.reading import FAILED, PASSED, SKIPPED, XFAIL, Reading, Results, doubt, lines

_RESULT = re.compile(r"( *)(not )?ok\b(?: (\d+))?(?: - | -$| |$)(.*)$")
_DIRECTIVE = re.compile(r"(?<!\\)#\s*(SKIP|TODO)\S*\b", re.I)
_COMMENT = re.compile(r"(?<!\\)\s# ?(?:time=.*|SKIP.*|TODO.*)$", re.I)
_PLAN = re.compile(r"1\.\.(\d+)(?: *#.*)?$")
_SUBTEST = re.compile(r"( *)# Subtest: (.*)$")


class _Scan:
    def __init__(self) -> None:
        self.results = Results()
        self.parents: list[tuple[int, str]] = []
        self.roots = self.planned = self.versions = self.plans = 0
        self.block = -1
        self.bailed = False

    def leave(self, indent: int) -> None:
        """Forget parents that do not contain what stands at ``indent``."""
        while self.parents and self.parents[-1][0] >= indent:
            self.parents.pop()


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    scan = _Scan()
    for line in lines(log):
        _take(scan, line)
    closed = scan.plans >= scan.versions and scan.roots >= scan.planned and not scan.bailed
    if scan.roots and not scan.plans:
        closed = False
    return scan.results.reading(started=scan.versions + scan.plans > 0, doubt=doubt("the TAP producer", closed=closed))


def _take(scan: _Scan, line: str) -> None:
    text = line.lstrip()
    if scan.block >= 0:
        if text == "..." or (text and len(line) - len(text) < scan.block):
            scan.block = -1
        if text == "..." or scan.block >= 0:
            return
    if text == "---" and line != text:
        scan.block = len(line) - len(text)
    elif text.startswith(("ok", "not ok")):
        match = _RESULT.match(line)
        if match:
            _result(scan, match)
    elif text.startswith("# Subtest: "):
        match = _SUBTEST.match(line)
        if match:
            scan.leave(len(match.group(1)))
            scan.parents.append((len(match.group(1)), _unescaped(match.group(2))))
    elif line.startswith("TAP version "):
        scan.versions += 1
    elif line.startswith("1.."):
        match = _PLAN.match(line)
        if match:
            scan.plans += 1
            scan.planned += int(match.group(1))
    elif line.startswith("Bail out!"):
        scan.bailed = True


def _result(scan: _Scan, match: re.Match[str]) -> None:
    indent, rest = len(match.group(1)), match.group(4)
    opens = rest.endswith("{")
    rest = rest[:-1].rstrip() if opens else rest
    directive = _DIRECTIVE.search(rest)
    name = _unescaped(_COMMENT.sub("", rest).strip()) or f"test {match.group(3) or scan.roots + 1}"
    scan.leave(indent)
    scan.roots += indent == 0
    path = [parent for _, parent in scan.parents] + [name]
    status = _status(failed=bool(match.group(2)), directive=directive.group(1).upper() if directive else "")
    scan.results.add(" > ".join(path), status, name, f"- {name}")
    if opens:
        scan.parents.append((indent, name))


def _status(*, failed: bool, directive: str) -> str:
    """A test to do that fails is no failure; one that is "ok" was mostly not run at all."""
    if directive == "TODO":
        return XFAIL if failed else SKIPPED
    if directive == "SKIP":
        return SKIPPED
    return FAILED if failed else PASSED


def _unescaped(name: str) -> str:
    return name.replace("\\#", "#").replace("\\\\", "\\")

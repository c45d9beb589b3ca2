"""Which part of a test log speaks of a test: for a person to read, no part of a verdict.

Reports of failures have a heading with the test's name in the logs of pytest, unittest, Go and Jest. Of other tests,
and in other logs, the part is the lines that name the test, of a failed one with those around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from trajmake.grading.log import clean
from trajmake.grading.matching import unittest_id

_MOST = 120  # lines of one part
_HEADS = (
    re.compile(r"_{3,} (.+?) _{3,}"),  # pytest
    re.compile(r"(?:ERROR|FAIL): (\S.*)"),  # unittest
    re.compile(r"=== (?:RUN|CONT|NAME)\s+(\S+)"),  # Go
    re.compile(r"\s*● (.+)"),  # Jest
)
_ENDS = re.compile(r"={3,}.*|Ran \d+ tests? in .*|_{3,} .+ _{3,}|=== (?:RUN|CONT|NAME).*|\s*● .+|FAIL\t.*|ok  \t.*")
_GO = re.compile(r"(?:^|/)((?:Test|Example|Fuzz|Benchmark)\w*(?:/.*)?)$")
_SHORT = re.compile(r"(?:FAILED|ERROR) (\S.*?)(?: - .*)?$")
_JEST = " \u203a "  # between a suite and its test
_SUCCESS = re.compile(r"pass|\bok\b|✓|✔|√|skip|xfail|--- ", re.IGNORECASE)


class LogParts:
    """A log, looked into by test.

    Args:
        log: As it was read.
    """

    def __init__(self, log: str) -> None:
        self._log = clean(log)
        self._lines = self._log.split("\n")

    def of_failed(self, test: str) -> str:
        """What the log says of a test that failed; empty where nothing names it."""
        names = list(_names(test))
        for name in names:
            if name in self._sections:
                start, end = self._sections[name]
                return _short(self._lines[start:end])
        for name in names:
            if name in self._summary:
                return self._lines[self._summary[name]]
        return next((found for name in names if (found := self._naming(name))), "")

    def of_passed(self, test: str) -> str:
        """The line that says that a test passed; empty where none does."""
        for name in _names(test):
            if name in self._successes:
                return self._lines[self._successes[name]]
        return ""

    @cached_property
    def _sections(self) -> dict[str, tuple[int, int]]:
        """First and last line of each report of a failure, by the names in its heading."""
        found: dict[str, tuple[int, int]] = {}
        titles: list[str] = []
        start = 0
        for number, line in enumerate([*self._lines, "=" * 9]):
            if titles and _ENDS.fullmatch(line):
                for title in titles:
                    found.setdefault(title, (start, number))
                titles = []
            for pattern in _HEADS:
                if head := pattern.fullmatch(line):
                    title = head[1].strip()
                    titles, start = [title, unittest_id(title), title.replace(_JEST, " ")], number
                    break
        return found

    @cached_property
    def _summary(self) -> dict[str, int]:
        """Line numbers of pytest's short summary, by test."""
        heads = ((number, _SHORT.match(line)) for number, line in enumerate(self._lines))
        return {head[1]: number for number, head in heads if head}

    @cached_property
    def _successes(self) -> dict[str, int]:
        """Line numbers by the words of lines that speak of success, and by what stands before their status."""
        found: dict[str, int] = {}
        for number, line in enumerate(self._lines):
            if len(line) < 2000 and _SUCCESS.search(line):
                said = re.sub(r" \.\.\. \w+$", "", line.strip())
                for word in (*line.split(), said, unittest_id(said)):
                    found.setdefault(word, number)
        return found

    def _naming(self, name: str) -> str:
        """The first places that name a test as a word, with the lines around them."""
        shown: dict[int, str] = {}
        if (first := self._log.find(name)) < 0:
            return ""
        pattern = re.compile(rf"(?<![\w/.-]){re.escape(name)}(?![\w/-])")
        for hit in pattern.finditer(self._log, max(0, first - 1)):
            number = self._log.count("\n", 0, hit.start())
            around = range(max(0, number - 2), min(len(self._lines), number + 9))
            shown |= {place: self._lines[place] for place in around}
            if len(shown) > _MOST // 2:
                break
        return _short([shown[place] for place in sorted(shown)])


def _names(test: str) -> Iterator[str]:
    """What a log may call a test, the whole id first."""
    yield test
    if (dotted := unittest_id(test)) != test:
        yield dotted
    if "::" in test:
        _, *parts = test.split("::")
        yield ".".join(parts)
        yield parts[-1]
    elif go := _GO.search(test):
        yield go[1]
    elif "." in dotted and " " not in dotted:
        yield dotted.rpartition(".")[2]


def _short(lines: list[str]) -> str:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    if len(lines) > _MOST:
        half = _MOST // 2
        lines = [*lines[:half], f"[… {len(lines) - 2 * half:,} lines left out …]", *lines[-half:]]
    return "\n".join(lines)

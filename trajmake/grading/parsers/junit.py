"""JUnit XML inside a log, tables of ``class,test,status``, and what Maven and Gradle print.

Ids are ``<class>.<test>``. The same in double quotes (as some datasets have
it) and the test's name alone are spellings.
Format: https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report.xsd
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from xml.parsers import expat

from trajmake.grading.parsers import gradle, maven
from trajmake.grading.parsers.reading import (
    ERROR,
    FAILED,
    PASSED,
    SKIPPED,
    XFAIL,
    Reading,
    Results,
    doubt,
    lines,
    merge,
)

_START = re.compile(r"<testsuites?[\s>]")
_ROW = re.compile(r'\s*"?([\w.$]+),([^,"]+),(PASS|FAIL|ERROR|SKIP)(?:ED|PED)?"?,?\s*', re.I)
_ROW_STATUS = {"PASS": PASSED, "FAIL": FAILED, "ERROR": ERROR, "SKIP": SKIPPED}
_PIECE = 16 * 1024
_NOT_RUN = ("notrun", "disabled", "skipped", "suppressed")


@dataclass
class Case:
    """One ``testcase`` element: its attributes, and the names of the elements inside that tell its outcome."""

    attributes: dict[str, str]
    outcomes: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The test's name."""
        return self.attributes.get("name", "")

    @property
    def class_name(self) -> str:
        """The test's class."""
        return self.attributes.get("classname", "")

    @property
    def status(self) -> str:
        """A failure that is also marked as skipped was expected (Catch2)."""
        if self.outcomes & {"failure", "error"} and "skipped" in self.outcomes:
            return XFAIL
        if "error" in self.outcomes:
            return ERROR
        if "failure" in self.outcomes:
            return FAILED
        marks = (self.attributes.get("status", "").lower(), self.attributes.get("result", "").lower())
        return SKIPPED if "skipped" in self.outcomes or any(mark in _NOT_RUN for mark in marks) else PASSED


def cases(log: str) -> Iterator[tuple[list[Case], bool]]:
    """The test cases of each JUnit document in the log, and whether the document is whole."""
    position = 0
    while found := _START.search(log, position):
        document = _Document()
        length = document.read(log, found.start())
        yield document.cases, document.whole
        position = found.start() + max(length, 1)


class _Document:
    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.whole = False
        self._case: Case | None = None
        self._depth = 0
        self._case_depth = 0
        self._ended = 0
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler, self._parser.EndElementHandler = self._start, self._end

    def read(self, text: str, start: int) -> int:
        """Read from ``start`` to the end of the document, or to where it breaks off; how many characters that were."""
        data, position = b"", start
        # Whatever stands behind the document's end is "junk after document element" to the parser.
        with suppress(expat.ExpatError):
            while not self.whole and position < len(text):
                piece = text[position : position + _PIECE].encode("utf-8", "replace")
                position += _PIECE
                data += piece
                self._parser.Parse(piece, False)
        if self.whole:
            return len(data[: self._ended].decode("utf-8", "ignore"))
        return (
            len(data[: self._parser.ErrorByteIndex].decode("utf-8", "ignore"))
            if self._parser.ErrorCode
            else len(text) - start
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if tag == "testcase":
            self._case, self._case_depth = Case(attributes), self._depth
        elif self._case is not None and self._depth == self._case_depth + 1:
            self._case.outcomes.add(tag)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.whole, self._ended = True, self._parser.CurrentByteIndex + len(tag) + 3
        if tag == "testcase" and self._case is not None:
            self.cases.append(self._case)
            self._case = None


def read_xml(log: str) -> Reading:
    """Read the JUnit documents of a cleaned log, whichever framework wrote them."""
    results, closed, started = Results(), True, False
    for found, whole in cases(log):
        started = True
        closed = closed and whole
        for case in found:
            name = f"{case.class_name}.{case.name}" if case.class_name else case.name
            results.add(name, case.status, case.name, f'"{name}"')
    return results.reading(started=started, doubt=doubt("the JUnit report", closed=closed))


def read(log: str) -> Reading:
    """Read a cleaned log of Java tests, in whatever form it tells of them."""
    return merge(read_xml(log), _read_table(log), maven.read_console(log), gradle.read_console(log))


def _read_table(log: str) -> Reading:
    results = Results()
    for line in lines(log):
        match = _ROW.fullmatch(line) if line.count(",") in (2, 3) else None
        if match:
            name = f"{match.group(1)}.{match.group(2).strip()}"
            results.add(name, _ROW_STATUS[match.group(3).upper()], f'"{name}"')
    return results.reading(started=False)

"""Logs of RSpec: its JSON document, JUnit XML, the documentation format, and the list of failed examples.

Ids are full descriptions (``Array#first when empty is nil``). Of the JSON
document, RSpec's own ids (``./spec/a_spec.rb[1:2]``) are spellings.
Format: https://rspec.info/features/3-13/rspec-core/formatters/json-formatter/
"""

from __future__ import annotations

import re
from itertools import pairwise

from trajmake.grading.parsers import junit
from trajmake.grading.parsers.documents import number, records, text, values
from trajmake.grading.parsers.reading import FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines

_DOCUMENT = re.compile(r'\{\s*"version"\s*:\s*"[^"]*",\s*"(?:seed"\s*:\s*\d+,\s*")?examples"')
_LINE = re.compile(r"( *)(\S.*)$")
_MARK = re.compile(r"(.*) \((?:FAILED - \d+|(PENDING: .*))\)$")
_FAILED = re.compile(r"rspec '?(\./\S+?(?::\d+|\[[\d:]+\]))'? # (.+)$")
_TRANSFORMED = re.compile(r"(\S.*) - (passed|failed|pending)$")
_SUMMARY = re.compile(
    r"(\d+) examples?, (\d+) failures?(?:, (\d+) pending)?(?:, \d+ errors? occurred outside of examples)?$"
)
_CONSTANT = re.compile(r"[A-Z]\w*(?:::[A-Z]\w*)*$")
_STATUS = {"passed": PASSED, "failed": FAILED, "pending": SKIPPED}


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    document = _read_json(log)
    if document.started:
        return document
    return junit.read_xml(log) if "<testsuite" in log else _read_text(log)


def _read_json(log: str) -> Reading:
    results, documents, whole, counted = Results(), 0, 0, 0
    for value, complete in values(log, _DOCUMENT):
        documents += 1
        whole += complete
        summary = value.get("summary") if complete else None
        counted += (
            number(summary, "example_count") - number(summary, "failure_count") - number(summary, "pending_count")
        )
        for example in records(value, "examples"):
            name, status = text(example.get("full_description")), _STATUS.get(text(example.get("status")))
            if name and status:
                results.add(name, status, text(example.get("id")))
    trust = doubt("RSpec", closed=documents == whole, named=results.passed(), counted=counted if whole else None)
    return results.reading(started=documents > 0, doubt=trust)


class _Scan:
    def __init__(self) -> None:
        self.results = Results()
        self.lines: list[tuple[int, str]] = []
        self.groups: list[tuple[int, str]] = []
        self.blank = True
        self.listed = False
        self.closed = self.counted = 0


def _read_text(log: str) -> Reading:
    scan = _Scan()
    for line in lines(log):
        _take(scan, line)
    _flush(scan)
    is_open = bool(scan.groups) and not scan.closed
    counted = scan.counted if scan.closed else None
    trust = doubt("RSpec", closed=not is_open, named=scan.results.passed(), counted=counted)
    return scan.results.reading(started=scan.closed > 0, doubt=trust)


def _take(scan: _Scan, line: str) -> None:
    summary = _SUMMARY.match(line) if " example" in line else None
    if summary:
        total, failures, pending = (int(found or 0) for found in summary.groups())
        scan.closed += 1
        scan.counted += total - failures - pending
    elif line.startswith(("rspec ./", "rspec './")) and (failed := _FAILED.match(line)):
        scan.results.add(failed.group(2), FAILED, failed.group(1))
    elif line.endswith((" - passed", " - failed", " - pending")) and (example := _TRANSFORMED.match(line)):
        scan.results.add(example.group(1), _STATUS[example.group(2)])
    elif line in ("Failures:", "Failed examples:") or line.startswith(("Pending: (", "Finished in ")):
        _flush(scan)
        scan.groups, scan.listed = [], False
    elif not line:
        _flush(scan)
    else:
        _tree(scan, line)
    scan.blank = not line


def _tree(scan: _Scan, line: str) -> None:
    """A line of the documentation format: groups are followed by deeper lines, examples are not."""
    match = _LINE.match(line)
    if not match:
        return
    indent, name = len(match.group(1)), match.group(2)
    if indent == 0:
        # A group at the top stands behind a blank line; anything else there was printed.
        if scan.blank:
            scan.lines, scan.listed = [(0, name)], True
        return
    if scan.listed and indent % 2 == 0:
        scan.lines.append((indent, name))


def _flush(scan: _Scan) -> None:
    """The end of a block: now each line's children are known."""
    groups: list[tuple[int, str]] = list(scan.groups)
    for position, (indent, name) in enumerate(scan.lines):
        groups = [group for group in groups if group[0] < indent]
        following = scan.lines[position + 1][0] if position + 1 < len(scan.lines) else 0
        if following > indent or indent == 0:
            groups.append((indent, name))
            continue
        mark = _MARK.match(name)
        status = PASSED if not mark else SKIPPED if mark.group(2) else FAILED
        scan.results.add(_joined([*(group for _, group in groups), mark.group(1) if mark else name]), status)
    scan.lines = []
    scan.groups = groups if scan.listed else []


def _joined(parts: list[str]) -> str:
    """The full description: RSpec leaves out the blank between a class and ``#method`` or ``.method``."""
    name = parts[0]
    for before, part in pairwise(parts):
        name += part if part.startswith(("#", ".", "::")) and _CONSTANT.match(before) else f" {part}"
    return name

"""Results of ``jest --json`` (Vitest's JSON reporter writes the same), or its lines ``[PASSED] name``.

Ids are ``describe > describe > test``, as SWE-bench's own transformation of this
document prints them; Jest's full name and the title alone are spellings.
Format: https://jestjs.io/docs/configuration#testresultsprocessor-string
"""

from __future__ import annotations

import re
from typing import Any

from trajmake.grading.parsers.documents import number, records, text, values
from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines

_DOCUMENT = re.compile(r'\{\s*"(?:num[A-Z]\w+|testResults|openHandles|snapshot|startTime|success)"\s*:')
_ASSERTION = re.compile(r'\{\s*"ancestorTitles"\s*:')
_LINE = re.compile(r" *\[(PASSED|FAILED|PENDING|SKIPPED|TODO|DISABLED)\] (.+?)$")
_STATUS = {
    "passed": PASSED,
    "failed": FAILED,
    "pending": SKIPPED,
    "skipped": SKIPPED,
    "disabled": SKIPPED,
    "todo": SKIPPED,
}


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    results = Results()
    documents = whole = counted = 0
    for value, complete in values(log, _DOCUMENT):
        if complete and not records(value, "testResults"):
            continue
        documents += 1
        if complete:
            whole += 1
            counted += number(value, "numPassedTests")
            for file in records(value, "testResults"):
                _file(results, file)
    if documents > whole:
        # Cut, or something was printed into it: its tests are still whole objects.
        for value, _ in values(log, _ASSERTION):
            _assertion(results, value)
    for match in filter(None, map(_LINE.match, lines(log, whole=True))):
        path = match.group(2).split(" > ")
        results.add(match.group(2), _STATUS[match.group(1).lower()], path[-1], " ".join(path))
    trust = doubt("Jest", closed=documents == whole, named=results.passed(), counted=counted if whole else None)
    return results.reading(started=documents > 0, doubt=trust)


def _file(results: Results, file: dict[str, Any]) -> None:
    assertions = records(file, "assertionResults")
    for assertion in assertions:
        _assertion(results, assertion)
    if file.get("status") == "failed" and not any(a.get("status") == "failed" for a in assertions):
        results.add(text(file.get("name")), ERROR)


def _assertion(results: Results, assertion: object) -> None:
    if not isinstance(assertion, dict):
        return
    title, status = text(assertion.get("title")), _STATUS.get(text(assertion.get("status")))
    if title and status:
        ancestors = assertion.get("ancestorTitles")
        path = [text(name) for name in ancestors] if isinstance(ancestors, list) else []
        results.add(" > ".join([*filter(None, path), title]), status, title, text(assertion.get("fullName")))

"""Results of mocha's reporters ``json-stream`` (one event per line) and ``json`` (one document).

Ids are mocha's full titles (titles joined by blanks). Spellings: the title
alone, and ``[abcde] title``, where ``abcde`` are the first five digits of the
sha1 of the file's path as mocha prints it.
Format: https://mochajs.org/#json-stream
"""

from __future__ import annotations

import hashlib
import re

from trajmake.grading.parsers.documents import number, records, text, values
from trajmake.grading.parsers.reading import FAILED, PASSED, SKIPPED, Reading, Results, doubt

_EVENT = re.compile(r'\["(?:start|pass|fail|pending|end)",\s*\{')
_DOCUMENT = re.compile(r'\{\s*"stats"\s*:\s*\{\s*"suites"')
_STATUS = {"pass": PASSED, "fail": FAILED, "pending": SKIPPED}


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    results = Results()
    opened = closed = counted = 0
    for event, complete in values(log, _EVENT):
        if not complete or len(event) != 2:
            continue
        kind, test = event
        opened += kind == "start"
        closed += kind == "end"
        if kind == "end":
            counted += number(test, "passes")
        elif kind in _STATUS:
            _add(results, test, _STATUS[kind])
    for document, complete in values(log, _DOCUMENT):
        opened += 1
        if complete:
            closed += 1
            counted += number(document.get("stats"), "passes")
            _document(results, document)
    trust = doubt("mocha", closed=closed >= opened, named=results.passed(), counted=counted if closed else None)
    return results.reading(started=opened > 0, doubt=trust)


def _document(results: Results, document: object) -> None:
    for key, status in (("passes", PASSED), ("failures", FAILED), ("pending", SKIPPED)):
        for test in records(document, key):
            _add(results, test, status)


def _add(results: Results, test: object, status: str) -> None:
    if not isinstance(test, dict):
        return
    title, full, file = (text(test.get(key)) for key in ("title", "fullTitle", "file"))
    if full or title:
        digest = hashlib.sha1(file.encode(), usedforsecurity=False).hexdigest()[:5]
        results.add(full or title, status, title, f"[{digest}] {title}" if file else "")

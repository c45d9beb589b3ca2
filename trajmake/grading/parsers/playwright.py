# ruff: noqa: RUF001, RUF002 (the characters are the runners' own)
"""Logs of Playwright's runner: the list, line and dot reporters, and the JSON document.

Ids are ``[project] › file › describe › test``, without lines and columns, which
move. With them, without project and file, and the title alone are spellings. A
test that passes when it is repeated passed (Playwright calls it flaky). Logs
without any such result are read as SWE-Lancer's, whose Playwright tests run
under pytest.
Format: https://playwright.dev/docs/test-reporters
"""

from __future__ import annotations

import re
from typing import Any

from trajmake.grading.parsers import exitcode
from trajmake.grading.parsers.documents import number, records, text, values
from trajmake.grading.parsers.reading import FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines, merge

_RESULT = re.compile(r" +([✓✘✔✗x]|ok|-) +\d+ (\S.*?)(?: \((?:retry|repeat) #\d+\))?(?: \([\d.]+m?s\))?$")
_PLACE = re.compile(r"((?:\[[^\]]+\] › )?\S[^›]*?):\d+:\d+ › (.+)$")
_RUNNING = re.compile(r"Running (\d+) tests? using \d+ workers?")
_COUNT = re.compile(r"  (\d+) (passed|failed|flaky|skipped|did not run|interrupted)(?: \([\d.]+m?s?h?\))?$")
_LISTED = re.compile(r" {4}(\S.*?)(?: ─+)?$")
_DOCUMENT = re.compile(r'\{\s*"config"\s*:\s*\{')
_STATUS = {"✓": PASSED, "✔": PASSED, "ok": PASSED, "-": SKIPPED}
_JSON_STATUS = {"expected": PASSED, "flaky": PASSED, "skipped": SKIPPED}
_LISTS = {"failed": FAILED, "interrupted": FAILED, "flaky": PASSED}


class _Scan:
    def __init__(self) -> None:
        self.latest: dict[str, str] = {}
        self.failed: set[str] = set()
        self.failures = 0
        self.results = Results()
        self.listing = ""
        self.runs = self.closed = self.counted = self.unclosed = 0
        self.open = False

    def end(self) -> None:
        """The run is over: the last attempt at each test was its result.

        A failure that is not in the list of failures was expected (``test.fail()``).
        """
        listed = not self.open and self.failures == len(self.failed)
        for place, status in self.latest.items():
            expected = status == FAILED and listed and place not in self.failed
            _add(self.results, place, PASSED if expected else status)
        self.latest, self.failed, self.failures = {}, set(), 0


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    scan = _Scan()
    for line in lines(log):
        _take(scan, line)
    scan.end()
    counted = scan.counted if scan.closed else None
    closed = not scan.open and not scan.unclosed
    trust = doubt("Playwright", closed=closed, named=scan.results.passed(), counted=counted)
    own = scan.results.reading(started=scan.runs > 0, doubt=trust)
    own = merge(own, _read_json(log)) if '"suites"' in log else own
    return own if own.started else exitcode.read(log)


def _take(scan: _Scan, line: str) -> None:
    if _RUNNING.match(line):
        scan.unclosed += scan.open
        scan.end()
        scan.runs += 1
        scan.open, scan.listing = True, ""
        return
    count = _COUNT.match(line)
    if count and scan.runs:
        scan.listing = count.group(2)
        scan.counted += int(count.group(1)) if scan.listing in ("passed", "flaky") else 0
        scan.failures += int(count.group(1)) if _LISTS.get(scan.listing) == FAILED else 0
        scan.closed += 1
        scan.open = False
        return
    listed = _LISTED.match(line) if scan.listing in _LISTS else None
    if listed and _PLACE.match(listed.group(1)):
        scan.latest[listed.group(1)] = _LISTS[scan.listing]
        if _LISTS[scan.listing] == FAILED:
            scan.failed.add(listed.group(1))
        return
    scan.listing = ""
    result = _RESULT.match(line) if " › " in line and scan.open else None
    if result and _PLACE.match(result.group(2)):
        scan.latest[result.group(2)] = _STATUS.get(result.group(1), FAILED)


def _add(results: Results, place: str, status: str) -> None:
    match = _PLACE.match(place)
    if match:
        file, path = match.groups()
        results.add(f"{file} › {path}", status, place, path, path.rpartition(" › ")[2])


def _read_json(log: str) -> Reading:
    results, documents, whole, counted = Results(), 0, 0, 0
    for value, complete in values(log, _DOCUMENT):
        if complete and not records(value, "suites"):
            continue
        documents += 1
        whole += complete
        stats = value.get("stats") if complete else None
        counted += number(stats, "expected") + number(stats, "flaky")
        for suite in records(value, "suites"):
            _suite(results, suite, [])
    trust = doubt("Playwright", closed=documents == whole, named=results.passed(), counted=counted if whole else None)
    return results.reading(started=documents > 0, doubt=trust)


def _suite(results: Results, suite: dict[str, Any], above: list[str]) -> None:
    """The outermost suite is the file itself."""
    path = [*above, text(suite.get("title"))]
    for inner in records(suite, "suites"):
        _suite(results, inner, path)
    for spec in records(suite, "specs"):
        for test in records(spec, "tests"):
            project = text(test.get("projectName"))
            file = f"[{project}] › {path[0]}" if project else path[0]
            titles = " › ".join([*path[1:], text(spec.get("title"))])
            place = f"{file}:{spec.get('line')}:{spec.get('column')} › {titles}"
            _add(results, place, _JSON_STATUS.get(text(test.get("status")), FAILED))

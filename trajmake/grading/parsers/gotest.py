"""Logs of ``go test``, as text (``-v``) and as JSON (``-json``).

Ids are ``<package path>/<Test>[/<subtest>]``; the test without its package is a
spelling. A package that fails without a failing test (it does not compile,
exits early, times out) has an entry of its own: ERROR.
Format: https://pkg.go.dev/cmd/test2json
"""

from __future__ import annotations

import json
import re
from typing import Any

from trajmake.grading.parsers.documents import text
from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines

# A result can stand behind what the test printed without a newline.
_RESULT = re.compile(r"--- (PASS|FAIL|SKIP): (\S+) \(\d+\.\d+s\)$")
_RUN = re.compile(r"=== RUN +(\S+)$")
_PACKAGE = re.compile(r"(ok|FAIL|---|\?) *\t(\S+)(?:\t\S.*| \[.*\])$")
_STATUS = {"PASS": PASSED, "FAIL": FAILED, "SKIP": SKIPPED, "pass": PASSED, "fail": FAILED, "skip": SKIPPED}


class _Package:
    """The tests of one package's run, until the line or event that ends it."""

    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []
        self.running: dict[str, None] = {}

    def run(self, test: str) -> None:
        """A test starts."""
        self.running[test] = None

    def end(self, test: str, status: str) -> None:
        """A test ends."""
        self.results.append((test, status))
        self.running.pop(test, None)

    def close(self, results: Results, package: str, *, failed: bool) -> None:
        """The package ends; a test that started and did not end took it down."""
        tests = [*self.results, *((test, ERROR) for test in self.running)] if failed else self.results
        for test, status in tests:
            results.add(f"{package}/{test}" if package else test, status, test)
        if failed and package and not any(status in (FAILED, ERROR) for _, status in tests):
            results.add(package, ERROR)


def read(log: str) -> Reading:
    """Read a cleaned log of ``go test -v``; without ``-v`` only failures are named."""
    results, package, started, packages, verdict = Results(), _Package(), False, 0, ""
    for line in lines(log):
        if "--- " in line and (match := _RESULT.search(line)):
            package.end(match.group(2), _STATUS[match.group(1)])
            started, verdict = True, ""
        elif line.startswith("=== RUN") and (match := _RUN.match(line)):
            package.run(match.group(1))
            started, verdict = True, ""
        elif "\t" in line and (match := _PACKAGE.match(line)):
            package.close(results, match.group(2), failed=match.group(1) == "FAIL")
            package, started, packages = _Package(), True, packages + 1
        elif line in ("PASS", "FAIL"):
            verdict = line
    # A test binary that is run by hand prints PASS or FAIL and no package.
    closed = bool(verdict and not packages) or not (package.results or package.running)
    package.close(results, "", failed=verdict == "FAIL")
    return results.reading(started=started, doubt=doubt("go test", closed=closed))


class _Events:
    def __init__(self) -> None:
        self.results = Results()
        self.packages: dict[str, _Package] = {}
        self.started = False


def read_json(log: str) -> Reading:
    """Read a cleaned log of ``go test -json``: one event per line, other lines between them."""
    events = _Events()
    for line in log.split("\n"):
        event = _event(line)
        if event is None:
            # A package that does not compile is no event before Go 1.24.
            match = _PACKAGE.match(line) if line.startswith("FAIL\t") else None
            if match:
                events.results.add(match.group(2), ERROR)
                events.started = True
        else:
            _take(events, event)
    for name, package in events.packages.items():
        package.close(events.results, name, failed=False)
    return events.results.reading(started=events.started, doubt=doubt("go test", closed=not events.packages))


def _event(line: str) -> dict[str, Any] | None:
    start = line.find("{")
    if start < 0 or '"Action"' not in line:
        return None
    try:
        event = json.JSONDecoder().raw_decode(line, start)[0]
    except (json.JSONDecodeError, RecursionError):
        return None
    return event if isinstance(event, dict) and event.get("Package") else None


def _take(events: _Events, event: dict[str, Any]) -> None:
    name, test, action = text(event.get("Package")), text(event.get("Test")), text(event.get("Action"))
    package = events.packages.setdefault(name, _Package())
    events.started = True
    if action == "run" and test:
        package.run(test)
    elif action in _STATUS and test:
        package.end(test, _STATUS[action])
    elif action == "output" and test:
        # Behind printed text without a newline, test2json does not see the result.
        match = _RESULT.search(text(event.get("Output")).rstrip())
        if match and match.group(2) == test and match.start():
            package.end(test, _STATUS[match.group(1)])
    elif action in _STATUS:
        package.close(events.results, name, failed=action == "fail")
        del events.packages[name]

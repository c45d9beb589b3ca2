"""Logs of pytest: the short test summary (``-rA``) and the lines of verbose mode.

Ids are whole: blanks, brackets and `` - `` inside parameters stay. (SWE-bench's
own parser cuts them at the first blank; the ids that datasets took from it are
matched by :mod:`trajmake.grading.matching`.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, Reading, worst

_STATUS = "PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS"
_SUMMARY = re.compile(rf"(?:\[gw\d+\] *(?:\[ *\d+%\] *)?)?({_STATUS}) (\S.*)")
_VERBOSE = re.compile(rf"(\S.*?::.*?) ({_STATUS})(?: \(.*\))?(?:\s+\[[^\]]*\]|\s+[\d.]+\w+)?\s*")
# pytest 9 prints "SUBFAILED[why] id - reason"; the older plug-in "[why] (i=1) SUBFAIL id - reason".
_SUBTEST = re.compile(r"(?:[\[(].*[\])] )?SUBFAIL(?:ED)?(?:[\[(].*?[\])])* (\S+::.*)")
_COUNTED = r"\d+ [a-z]+(?: [a-z]+)?"
_FOOTER = re.compile(
    rf"(?:=+ )?((?:{_COUNTED}(?:, {_COUNTED})*)|no tests ran) in [\d.]+ ?s(?:econds)?(?: \([^)]*\))?(?: =+)?"
)
_PASSED_COUNT = re.compile(r"(\d+) passed")
_CAPTURED = re.compile(r"-{3,} Captured \w+ \w+ -{3,}")
_HEADING = re.compile(r"(?:=+ .+ =+|_{2,} .+ _{2,})")
_NO_ID = re.compile(r"\[ *\d+%?\]")
_PATH = re.compile(r"\S*(?:/\S*|\.\w+)")
_OPTION = re.compile(r"(.*?)\[(.*)\]")


@dataclass
class _Scan:
    results: list[tuple[str, str]] = field(default_factory=list)
    started: bool = False
    open_session: bool = False
    footers: int = 0
    counted: int = 0
    at_footer: int = 0


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    scan = _scan(log)
    results = scan.results
    if scan.footers and not scan.open_session:
        # What stands behind the closing line was not printed by pytest.
        results = results[: scan.at_footer]
    statuses = worst(results)
    return Reading(statuses, scan.started or bool(statuses), _doubt(scan, statuses))


def read_options(log: str) -> Reading:
    """As :func:`read`; an absolute path given as parameter loses its folders.

    So do the ids of requests, pylint and pydicom in SWE-bench: their temporary
    folders differ from machine to machine.
    """
    reading = read(log)
    statuses = worst((_short_option(name), status) for name, status in reading.statuses.items())
    return Reading(statuses, reading.started, reading.doubt)


def read_seaborn(log: str) -> Reading:
    """As :func:`read`, but only what passed or failed is a result, as SWE-bench reads seaborn's logs."""
    reading = read(log)
    kept = {name: status for name, status in reading.statuses.items() if status in (PASSED, FAILED)}
    return Reading(kept, reading.started, reading.doubt)


def _short_option(name: str) -> str:
    match = _OPTION.search(name)
    if not match:
        return name
    main, option = match.groups()
    if option.startswith("/") and not option.startswith("//") and "*" not in option:
        option = "/" + option.split("/")[-1]
    return f"{main}[{option}]"


def _scan(log: str) -> _Scan:
    scan = _Scan()
    captured = False
    lines = log.split("\n")
    last = lines.pop()
    for line in lines:
        start = line[:3]
        if start in ("---", "===", "___", "== ", "__ "):
            line = line.rstrip()
            if _CAPTURED.fullmatch(line):
                captured = True
                continue
            captured = captured and not _HEADING.fullmatch(line)
        if captured:
            # What a program printed is no result, whatever it looks like.
            continue
        _take(scan, line)
    if not scan.open_session or _FOOTER.fullmatch(last.strip()):
        # A log that was cut ends in half an id, which can be another test's.
        _take(scan, last)
    return scan


def _take(scan: _Scan, line: str) -> None:
    if line.startswith("=") and " test session starts " in line:
        scan.started = scan.open_session = True
        return
    if " in " in line:
        footer = _FOOTER.fullmatch(line.strip())
        if footer:
            scan.footers += 1
            scan.counted += sum(map(int, _PASSED_COUNT.findall(footer.group(1))))
            scan.at_footer = len(scan.results)
            scan.open_session = False
            return
    result = _result(line)
    if result:
        scan.results.append(result)


def _result(line: str) -> tuple[str, str] | None:
    match = _SUMMARY.match(line)
    if match:
        status, rest = match.group(1), match.group(2).rstrip()
        name = rest if status == PASSED else _without_reason(rest)
        return _named(name, status)
    if "::" not in line:
        return None
    match = _VERBOSE.fullmatch(line)
    if match:
        return _named(match.group(1), match.group(2))
    match = _SUBTEST.match(line) if "SUBFAIL" in line else None
    return (_without_reason(match.group(1)), FAILED) if match else None


def _named(name: str, status: str) -> tuple[str, str] | None:
    if status == "XPASS" or _NO_ID.match(name):
        # "SKIPPED [2] tests/test_x.py:7: reason" counts tests and names none.
        return None
    if "::" not in name:
        # A file that could not be collected; anything else is some program's own "ERROR ...".
        return (name, status) if status in (ERROR, FAILED, SKIPPED) and _PATH.fullmatch(name) else None
    return name, status


def _without_reason(rest: str) -> str:
    """The id in ``id - reason``, where the id's parameters can hold `` - `` too."""
    head, dash, _ = rest.partition(" - ")
    if not dash or "[" not in head or head.endswith("]"):
        return head
    inside, bracket, _ = rest.partition("] - ")
    if bracket:
        return inside + "]"
    return rest if rest.endswith("]") else head


def _doubt(scan: _Scan, statuses: dict[str, str]) -> str:
    if scan.open_session:
        return "pytest started a session and never printed the line that closes it"
    passed = sum(status == PASSED for status in statuses.values())
    if passed and not scan.footers:
        # The session's first line can be lost in a buffer; a run that came to its end always counts.
        return "the log names passed tests, but pytest never printed the line that counts them"
    if passed > scan.counted:
        return f"the log names {passed} passed tests, but pytest counted {scan.counted}"
    return ""

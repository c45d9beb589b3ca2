"""Logs of Gradle builds that print test events, and the JUnit reports in them.

Ids are as Gradle prints them, ``<class> > <test>``; ``<class>.<test>`` is a
spelling, with and without the method's parentheses and double quotes.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers.reading import FAILED, PASSED, SKIPPED, Reading, Results, doubt, lines, merge

_RESULT = re.compile(
    r"(?:Gradle Test Run \S+ > Gradle Test Executor \d+ > )?([\w.$]+(?: > .+)) (PASSED|FAILED|SKIPPED)$"
)
_NAME = re.compile(r"(?:Gradle Test Run \S+ > Gradle Test Executor \d+ > )?([\w.$]+(?: > \S.*))$")
_BUILD = re.compile(r"BUILD (?:SUCCESSFUL|FAILED)(?: in .*)?$")
_STATUS = {"PASSED": PASSED, "FAILED": FAILED, "SKIPPED": SKIPPED}


def read(log: str) -> Reading:
    """Read a cleaned log, and the JUnit reports in it."""
    from trajmake.grading.parsers import junit

    return merge(read_console(log), junit.read_xml(log))


def read_console(log: str) -> Reading:
    """Read what Gradle prints."""
    results, is_open, pending = Results(), False, ""
    for line in lines(log):
        line = line.strip()
        if " > " in line and not line.startswith(">"):
            match = _RESULT.match(line)
            name = None if match else _NAME.match(line)
            if match:
                _add(results, match.group(1), match.group(2))
                is_open, pending = True, ""
            elif name:
                pending = name.group(1)
        elif line in _STATUS and pending:
            # Another process wrote between a test's name and its result.
            _add(results, pending, line)
            pending = ""
        elif line.startswith("BUILD ") and _BUILD.match(line):
            is_open = False
    return results.reading(started=False, doubt=doubt("Gradle", closed=not is_open))


def _add(results: Results, name: str, status: str) -> None:
    dotted = name.replace(" > ", ".")
    plain = dotted.removesuffix("()")
    results.add(name, _STATUS[status], dotted, plain, f'"{plain}"')

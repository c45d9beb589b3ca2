"""SWE-Lancer's way: pytest's exit code is the result of all tests of the instance.

The test command prints it as ``pytest_exit_code: N`` (SWE-Lancer writes a file
of that name). 0 passes, 1 fails, all else is an error. Tests that pytest names
have their own results, which a bad exit code overrides. Ids are the tests'
names; with their file they are spellings. Where the log names no test, it is
``test_expensify_0000``, SWE-Lancer's name for it.
"""

from __future__ import annotations

import re

from trajmake.grading.parsers import pytest
from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, Reading, Results

_CODE = re.compile(r"\b(?:pytest[_ ]exit[_ ]code|exit[_ ]code|return ?code)\b\W{1,4}(\d{1,3})\b", re.I)
_NAMED = re.compile(r"\S*?\btest\w*\.py::(test_\w+)|\b(test_expensify_\d+)\b")
_DEFAULT = "test_expensify_0000"


def read(log: str) -> Reading:
    """Read a cleaned log (see :func:`trajmake.grading.log.clean`)."""
    results = Results()
    own = pytest.read(log)
    for name, status in own.statuses.items():
        if "::" in name:
            results.add(name.rpartition("::")[2], status, name)
    codes = {int(code) for code in _CODE.findall(log)}
    if codes:
        # A code that a patch prints cannot cover up the true one: the worst counts.
        overall = PASSED if codes == {0} else FAILED if codes <= {0, 1} else ERROR
        named = {name: match.group() for match in _NAMED.finditer(log) for name in match.groups() if name}
        known = results.statuses()
        for name, spelling in (named or {_DEFAULT: ""}).items():
            if overall != PASSED or name not in known:
                results.add(name, overall, spelling)
    return results.reading(started=own.started or bool(codes), doubt=own.doubt)

"""Finding a required test among the tests of a log: exactly, never by substring."""

from __future__ import annotations

import re
from collections.abc import Mapping

from trajmake.grading.parsers.reading import PASSED, XFAIL, worst

_UNITTEST = re.compile(r"(\S+) \(([\w.<>]+)\)")
_DOTTED = re.compile(r"[\w.<>]+")


def unittest_id(name: str) -> str:
    """A unittest's name in any of its spellings as ``module.Class.test``.

    ``test_x (m.C)``, ``test_x (m.C.test_x)`` and the doubled ``m.C.test_x.test_x``,
    which datasets took from logs of Python 3.11 and later, are one test. Any
    other name comes back as it is.
    """
    match = _UNITTEST.fullmatch(name)
    dotted = f"{match.group(2)}.{match.group(1)}" if match else name
    if _DOTTED.fullmatch(dotted):
        parts = dotted.split(".")
        if len(parts) > 2 and parts[-1] == parts[-2]:
            return ".".join(parts[:-1])
    return dotted


class Statuses:
    """The tests of a log, looked up by required id."""

    def __init__(self, statuses: Mapping[str, str]) -> None:
        self._statuses = statuses
        self._by_unittest_id: dict[str, str] | None = None

    def status(self, required: str) -> str | None:
        """The status of ``required``, or None when the log does not have it.

        An id as it is; else one unittest in another spelling; else an id that was
        cut at its first blank (more ``[`` than ``]``), by prefix, when all tests
        it can stand for agree whether they pass.
        """
        if required in self._statuses:
            return self._statuses[required]
        spelled = self._unittests().get(unittest_id(required))
        if spelled is not None:
            return spelled
        if required.count("[") > required.count("]"):
            return self._of_cut_id(required)
        return None

    def _of_cut_id(self, required: str) -> str | None:
        found = [status for name, status in self._statuses.items() if name.startswith(required)]
        agree = len({status in (PASSED, XFAIL) for status in found}) == 1
        return worst((required, status) for status in found)[required] if agree else None

    def _unittests(self) -> dict[str, str]:
        if self._by_unittest_id is None:
            self._by_unittest_id = worst(
                (unittest_id(name), status) for name, status in self._statuses.items() if "::" not in name
            )
        return self._by_unittest_id

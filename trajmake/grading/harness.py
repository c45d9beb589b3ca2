"""Logs saved by SWE-bench's own harness, versions 1 to 5: their ``>>>>> …`` lines.

- 1.x writes ``>>>>> Applied Patch (test)``, ``(pred)``, then the tests' output, and
  what went wrong: patch application, ``Init`` and ``Reset``, errors, timeouts.
- 2.x is a shell trace (``+ …``); the tests' patch must have said "Applied patch".
- 3.x and later put ``>>>>> Start Test Output`` and ``>>>>> End Test Output`` around the
  output, as traced lines (``+ : '>>>>> …'``); 5.x adds ``>>>>> Test Exit Code: N``.
- From 2.x on a timeout is a last line ``Timeout error: N seconds exceeded.``

As in SWE-bench's ``get_logs_eval`` a mark counts wherever it stands in a line.
"""

from __future__ import annotations

import re
from typing import Any

from trajmake.grading.facts import RunFacts

_APPLIED = ">>>>> Applied Patch (pred"
_TESTS_APPLIED = ">>>>> Applied Patch (test"
_START, _END = ">>>>> Start Test Output", ">>>>> End Test Output"
_MARK = ">>>>> "
# Not ">>>>>>> theirs", which a merge conflict prints.
_KNOWN = re.compile(
    r"(?<!>)>>>>> (?:Applied Patch|Patch Apply Failed|Init (?:Failed|Succeeded|Timed Out)|Reset Failed"
    r"|Tests (?:Errored|Timed Out)|All Tests Passed|Some Tests Failed|(?:Start|End) Test Output|Test Exit Code)"
)
_TRACED_APPLY = re.compile(r"^\++ git apply ", re.M)
_EXIT_CODE = re.compile(r">>>>> Test Exit Code:\s*(-?\d+)")
_TIMEOUT = re.compile(r">>>>> Tests Timed Out|^Timeout error: \d+ seconds exceeded", re.M)
_BROKEN = re.compile(
    r"(?:>>>>> (?:Init Failed|Init Timed Out|Reset Failed|Tests Errored)|Failed to reset task environment).*"
)
_NOT_APPLIED = re.compile(r">>>>> Patch Apply Failed.*")
# One stamp per line, as container runtimes and continuous integration put it: [2024-05-01T10:00:00.123456Z]
_STAMP = re.compile(r"^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]? ?", re.M)


def tests_of(log: str) -> tuple[str, RunFacts]:
    """The tests' part of a saved log, and what the log says of the run.

    A log without any such line is the tests' output as it stands.

    Args:
        log: The whole log.
    """
    log = _without_stamps(log)
    known: dict[str, Any] = {"patch_exists": True, "patch_applied": True, "test_patch_applied": True}
    said = _marked(log)
    if not said and not _traced(log):
        return log, RunFacts(**known)
    code = _EXIT_CODE.search(said)
    known["exit_code"] = int(code.group(1)) if code else None
    known["timed_out"] = bool(_TIMEOUT.search(said))
    if broken := _BROKEN.search(said):
        message = f"SWE-bench's harness could not run the tests: {broken.group().strip()[:300]}"
        known["fault"] = {"reason": "environment_broken", "message": message, "hint": ""}
    applied = log.rfind(_APPLIED)
    if failed := _failure(said, applied >= 0):
        known |= {"patch_applied": "(test" in failed, "test_patch_applied": False, "patch_error": failed}
    return _part(log, said, applied, known)


def _marked(log: str) -> str:
    """The lines that the harness may have written; searched for as plain text, for logs are long."""
    lines = []
    for mark in (_MARK, "Failed to reset task environment", "Timeout error: "):
        found = log.find(mark)
        while found >= 0:
            end = log.find("\n", found)
            end = len(log) if end < 0 else end
            line = log[log.rfind("\n", 0, found) + 1 : end]
            if mark != _MARK or _KNOWN.search(line):
                lines.append(line)
            found = log.find(mark, end)
    return "\n".join(lines)


def _traced(log: str) -> bool:
    return "+ git apply " in log and bool(_TRACED_APPLY.search(log))


def _part(log: str, said: str, applied: int, known: dict[str, Any]) -> tuple[str, RunFacts]:
    if _START in log:
        known["log_complete"] = _END in log or known["timed_out"]
        return log.split(_START)[1].split(_END)[0], RunFacts(**known)
    if applied >= 0:
        known["log_complete"] = _TESTS_APPLIED in log
        return log[log.find("\n", applied) + 1 :], RunFacts(**known)
    if _traced(log):
        known["test_patch_applied"] = known["test_patch_applied"] and "applied patch" in log.lower()
    elif _MARK in said:
        known["log_complete"] = False
    return log, RunFacts(**known)


def _failure(said: str, applied: bool) -> str:
    """The line that says which patch did not apply; of several tries the last decides."""
    failures = [found.group().strip() for found in _NOT_APPLIED.finditer(said)]
    if applied:
        failures = [line for line in failures if "(pred" not in line]
    return failures[-1] if failures else ""


def _without_stamps(log: str) -> str:
    """``log`` without the time before each of its lines, when each has one."""
    head = log[:4096].split("\n")[:-1][:20]
    if len(head) > 1 and all(_STAMP.match(line) for line in head):
        return _STAMP.sub("", log)
    return log

"""The verdict on one patch: a pure function of row, patch, log and run facts.

Semantics of SWE-bench 5.0.2 where it defines the answer. Beyond it:

- a run whose log cannot be the account of a finished run (the runner started
  and never closed, or counted fewer passes than are named) is rejected;
- a fault of the machine is a state of its own, never "unresolved".

What a log cannot show: code under test runs in the runner's own process, so a
patch can forge a complete and consistent session, closing line and counts
included, and end the process with 0. For that there is the control run
(:mod:`trajmake.evaluation.control`), whose findings come with the run facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trajmake.datasets.instance import Instance
from trajmake.diffs import touched_paths
from trajmake.grading import infrastructure
from trajmake.grading.facts import RunFacts as RunFacts
from trajmake.grading.log import clean
from trajmake.grading.matching import Statuses
from trajmake.grading.parsers import official, read
from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, SKIPPED, XFAIL, Reading

OUTPUT_KEPT = 50_000
"""Characters of the log's end that a verdict carries."""


class State(StrEnum):
    """What became of an instance; each has exactly one."""

    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    EMPTY_PATCH = "empty_patch"
    INFRA_FAILURE = "infra_failure"


@dataclass(frozen=True)
class RequiredTests:
    """How the required tests came out, ids as the row has them."""

    fail_to_pass_success: tuple[str, ...] = ()
    fail_to_pass_failed: tuple[str, ...] = ()
    pass_to_pass_success: tuple[str, ...] = ()
    pass_to_pass_failed: tuple[str, ...] = ()

    @property
    def satisfied(self) -> bool:
        """Every required test is as it must be."""
        return not self.fail_to_pass_failed and not self.pass_to_pass_failed


@dataclass(frozen=True)
class Verdict:
    """What the tests say about a patch.

    Attributes:
        instance_id: The row's.
        state: See :class:`State`.
        message: Why it is so, when the tests alone do not say; one sentence.
        infra_failure_reason: Of a fault, its reason (:class:`trajmake.errors.Reason`).
        patch_is_none: There is no trajectory that could have given a patch.
        patch_exists: The patch is not empty.
        patch_applied: The patch was applied.
        test_patch_applied: The tests' patch was applied.
        timed_out: The tests were killed at their timeout.
        rejected: The log is not believed.
        tests: The required tests; None when there was nothing to grade. For an
            empty patch they show what the unchanged repository does.
        passed, failed, errors: Tests of the whole log by status.
        output: The end of the log; when it was cut, its first line says so.
        statuses: Every test of the log, by any id a row can have for it.
        flaky: Tests that came out differently in repeated runs.
        warnings: What deviated without being an error.
    """

    instance_id: str
    state: State
    message: str = ""
    infra_failure_reason: str = ""
    patch_is_none: bool = False
    patch_exists: bool = False
    patch_applied: bool = False
    test_patch_applied: bool = False
    timed_out: bool = False
    rejected: bool = False
    tests: RequiredTests | None = None
    passed: int = 0
    failed: int = 0
    errors: int = 0
    output: str = ""
    statuses: Mapping[str, str] = field(default_factory=dict, repr=False)
    flaky: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def resolved(self) -> bool:
        """Whether the instance counts as resolved."""
        return self.state is State.RESOLVED


def grade(instance: Instance, patch: str, log: str, run: RunFacts) -> Verdict:
    """Judge ``patch`` by the log of its test run.

    Args:
        instance: The row.
        patch: The model's patch as it was tested; "" for a saved log without it (``run.patch_exists`` counts).
        log: The test run's output (:func:`trajmake.grading.log.read_log`).
        run: How the test run went.

    Raises:
        ConfigError: the row names a test output parser that does not exist.
    """
    common: dict[str, Any] = {
        "instance_id": instance.instance_id,
        "patch_exists": bool(patch.strip()) or run.patch_exists,
        "patch_applied": run.patch_applied,
        "test_patch_applied": run.test_patch_applied,
        "timed_out": run.timed_out,
        "output": tail(log),
        "warnings": run.warnings,
    }
    if run.fault is not None:
        return _infra(common, str(run.fault.get("reason", "internal")), str(run.fault.get("message", "")))
    if common["patch_exists"] and not run.patch_applied:
        return Verdict(state=State.UNRESOLVED, message=f"The patch does not apply: {run.patch_error}", **common)
    if not common["patch_exists"] and not run.head_commit:
        return Verdict(state=State.EMPTY_PATCH, message="The patch is empty; no test was run.", **common)
    if not run.test_patch_applied:
        return _infra(common, "environment_broken", "The tests' patch does not apply to the image's repository.")
    log = clean(log)
    reading = _read(instance, log)
    common |= _counts(reading)
    if run.killed and not run.out_of_memory:
        message = f"The patch ends its test run with {run.killed}; without the patch the tests come to their end."
        return _failed(common, instance, reading, message)
    if run.timed_out:
        return _failed(common, instance, reading, "The tests did not end before their timeout.")
    if not reading.statuses and not (reading.started and _silence_counts(instance)):
        return _nothing_ran(common, instance, patch, log, run, reading)
    rejection = _rejection(reading, run)
    if rejection and run.out_of_memory:
        return _starved(common, instance, reading, run, f"Memory ran out during the tests; {rejection}")
    if rejection:
        return Verdict(state=_unless_empty(common), message=rejection, rejected=True, **common)
    tests = required_tests(instance, reading.by_any_id)
    if tests.satisfied and common["patch_exists"]:
        return Verdict(state=State.RESOLVED, tests=tests, **common)
    if run.out_of_memory and not tests.satisfied:
        return _starved(common, instance, reading, run, "Memory ran out during the tests.")
    return Verdict(state=_unless_empty(common), tests=tests, **common)


def infra_failure(instance_id: str, fault: Mapping[str, Any]) -> Verdict:
    """The verdict where the machine ended a stage before the grading.

    Args:
        instance_id: The row's.
        fault: That stage's fault record: ``reason``, ``message``.
    """
    common = {"instance_id": instance_id, "patch_is_none": True}
    return _infra(common, str(fault.get("reason", "internal")), str(fault.get("message", "")))


def required_tests(instance: Instance, statuses: dict[str, str]) -> RequiredTests:
    """Sort the row's required tests by how they came out.

    PASSED and XFAIL pass; a skipped PASS_TO_PASS test is maintained; whatever
    else, and what the log does not name, fails. Where SWE-bench's row says
    ``fail_only`` (its parser names failures alone), what is not FAILED passes.
    """
    if _only_failures_count(instance):
        failed = {name for name, status in statuses.items() if status == FAILED}
        return _sorted(instance, set(instance.fail_to_pass) - failed, set(instance.pass_to_pass) - failed)
    found = Statuses(statuses)
    passing = {name for name in instance.fail_to_pass if found.status(name) in (PASSED, XFAIL)}
    maintained = {name for name in instance.pass_to_pass if found.status(name) in (PASSED, XFAIL, SKIPPED)}
    return _sorted(instance, passing, maintained)


def _sorted(instance: Instance, passing: set[str], maintained: set[str]) -> RequiredTests:
    return RequiredTests(
        tuple(name for name in instance.fail_to_pass if name in passing),
        tuple(name for name in instance.fail_to_pass if name not in passing),
        tuple(name for name in instance.pass_to_pass if name in maintained),
        tuple(name for name in instance.pass_to_pass if name not in maintained),
    )


def _only_failures_count(instance: Instance) -> bool:
    return instance.row.get("eval_type") == "fail_only"


def _silence_counts(instance: Instance) -> bool:
    """Whether a run that shows no test at all is judged by that, as SWE-bench does where a suite ran."""
    return _only_failures_count(instance) or _is_official(instance)


def _is_official(instance: Instance) -> bool:
    return instance.test_output_parser.startswith(official.PREFIX)


def _read(instance: Instance, log: str) -> Reading:
    if _is_official(instance):
        return official.read(instance.test_output_parser, log, instance.row)
    return read(instance.test_output_parser, log)


def tail(log: str, kept: int = OUTPUT_KEPT) -> str:
    """The end of a log, where the summary is; a first line says what was cut."""
    if len(log) <= kept:
        return log
    return f"[{len(log) - kept} characters cut; the whole log is in test_output.txt]\n{log[-kept:]}"


def _rejection(reading: Reading, run: RunFacts) -> str:
    """Why the log is not believed; empty when it is."""
    if reading.doubt:
        return f"The log is rejected: {reading.doubt}."
    if run.forged:
        return f"The log is rejected: tests that were made to fail pass all the same, as {run.forged[0]} does."
    if not run.log_complete:
        return "The log is rejected: the lines of the harness that saved it say that it does not reach the tests' end."
    failing = any(status in (FAILED, ERROR) for status in reading.statuses.values())
    if run.exit_code not in (None, 0) and reading.statuses and not failing:
        return f"The log is rejected: the test command ended with {run.exit_code}, but no test in it failed."
    return ""


def _nothing_ran(
    common: dict[str, Any], instance: Instance, patch: str, log: str, run: RunFacts, reading: Reading
) -> Verdict:
    if run.out_of_memory:
        return _starved(common, instance, reading, run, "Memory ran out before any test had a result.")
    judged = set(touched_paths(instance.test_patch))
    paths = [path for path in touched_paths(patch) if path not in judged]
    reason, message = infrastructure.cause(log, paths, run.exit_code, started=reading.started)
    if reason:
        return _infra(common, reason, message)
    return _failed(common, instance, reading, message)


def _failed(common: dict[str, Any], instance: Instance, reading: Reading, message: str) -> Verdict:
    tests = required_tests(instance, reading.by_any_id) if reading.statuses else None
    return Verdict(state=_unless_empty(common), message=message, tests=tests, **common)


def _starved(common: dict[str, Any], instance: Instance, reading: Reading, run: RunFacts, message: str) -> Verdict:
    """Memory ran out: by the patch, where the tests without it stay within the container's."""
    if run.killed:
        return _failed(common, instance, reading, f"{message} Without the patch the container's memory suffices.")
    return _infra(common, "out_of_memory", message)


def _infra(common: dict[str, Any], reason: str, message: str) -> Verdict:
    return Verdict(state=State.INFRA_FAILURE, message=message, infra_failure_reason=reason, **common)


def _unless_empty(common: dict[str, Any]) -> State:
    return State.UNRESOLVED if common["patch_exists"] else State.EMPTY_PATCH


def _counts(reading: Reading) -> dict[str, Any]:
    values = list(reading.statuses.values())
    counts = {"passed": values.count(PASSED), "failed": values.count(FAILED), "errors": values.count(ERROR)}
    return {**counts, "statuses": reading.by_any_id}

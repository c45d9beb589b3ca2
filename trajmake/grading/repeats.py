"""Repeated test runs: one verdict out of several, and the tests that disagree with themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trajmake.datasets.instance import Instance
from trajmake.grading.parsers.reading import PASSED, SKIPPED, XFAIL
from trajmake.grading.verdict import RequiredTests, State, Verdict


def combine(instance: Instance, verdicts: Sequence[Verdict], *, ignore_flaky: bool = False) -> Verdict:
    """The verdict on a patch whose tests were run several times.

    A required test passes when it passed every time. A run without results (a fault
    of the machine, a timeout, a rejected log) decides alone, a fault first.

    Args:
        instance: The row.
        verdicts: One per run, in order; at least one.
        ignore_flaky: Leave required tests that disagree with themselves out of the
            verdict, as long as one of FAIL_TO_PASS remains.
    """
    first = verdicts[0]
    if len(verdicts) == 1:
        return first
    warnings = tuple(dict.fromkeys(line for verdict in verdicts for line in verdict.warnings))
    decisive = [verdict for verdict in verdicts if verdict.state is State.INFRA_FAILURE]
    decisive += [verdict for verdict in verdicts if verdict.tests is None or verdict.timed_out]
    if decisive:
        return replace(decisive[0], warnings=warnings)
    flaky = _flaky(instance, verdicts)
    ignored = set(flaky) if ignore_flaky else set()
    tests = _in_all(verdicts, ignored)
    resolved = tests.satisfied and bool(tests.fail_to_pass_success) and first.patch_exists
    state = State.RESOLVED if resolved else State.UNRESOLVED if first.patch_exists else State.EMPTY_PATCH
    return replace(
        first, state=state, tests=tests, flaky=flaky, warnings=warnings, message=_message(instance, flaky, ignored)
    )


def _flaky(instance: Instance, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Every test, required ones first, that one run has otherwise than another."""
    required = [name for name in (*instance.fail_to_pass, *instance.pass_to_pass) if _differs(name, verdicts)]
    names = {name for verdict in verdicts for name in verdict.statuses}
    others = {name for name in names if len({_kind(verdict.statuses.get(name)) for verdict in verdicts}) > 1}
    return tuple(dict.fromkeys([*required, *sorted(others)]))


def _differs(name: str, verdicts: Sequence[Verdict]) -> bool:
    return len({name in _succeeding(verdict) for verdict in verdicts}) > 1


def _succeeding(verdict: Verdict) -> set[str]:
    tests = verdict.tests or RequiredTests()
    return {*tests.fail_to_pass_success, *tests.pass_to_pass_success}


def _kind(status: str | None) -> str | None:
    return "passes" if status in (PASSED, XFAIL) else status if status in (SKIPPED, None) else "fails"


def _in_all(verdicts: Sequence[Verdict], ignored: set[str]) -> RequiredTests:
    """The required tests but for the ignored ones: successful where they are so in every run."""
    steady = set.intersection(*map(_succeeding, verdicts))
    first = verdicts[0].tests or RequiredTests()
    f2p = [*first.fail_to_pass_success, *first.fail_to_pass_failed]
    p2p = [*first.pass_to_pass_success, *first.pass_to_pass_failed]
    return RequiredTests(
        tuple(name for name in f2p if name in steady and name not in ignored),
        tuple(name for name in f2p if name not in steady and name not in ignored),
        tuple(name for name in p2p if name in steady and name not in ignored),
        tuple(name for name in p2p if name not in steady and name not in ignored),
    )


def _message(instance: Instance, flaky: Sequence[str], ignored: set[str]) -> str:
    required = {*instance.fail_to_pass, *instance.pass_to_pass} & set(flaky)
    if not required:
        return ""
    what = "left out of the verdict" if ignored else "counted as failed"
    return f"{len(required)} required tests disagree with themselves and are {what}: {', '.join(sorted(required)[:5])}"

"""Test runs that ended by a kill: the machine's doing, or the patch's.

A killed command leaves the same log whoever killed it: the host's out-of-memory
killer, an operator, or code under test that kills its own runner; nor does one say
whose memory it was that ran out in the container. So such a run
is repeated, in a fresh container, and the repeat counts. Where that is killed too,
the unpatched repository decides: if its tests are killed as well, it is the machine;
if they end by themselves, it is the patch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trajmake.errors import Reason
from trajmake.grading.facts import RunFacts

_SIGNALS = {137: "SIGKILL", 143: "SIGTERM"}  # 128 + the signal's number, as a shell has it

TestRun = Callable[[str, Path], RunFacts]
"""Test a patch in a fresh container, whole log to a file."""


def killed(run: RunFacts) -> str:
    """The signal that ended the test command, or a process of it for want of memory; "" where it ended otherwise.

    Not at its timeout, which has a state of its own.
    """
    if run.timed_out:
        return ""
    if run.out_of_memory and run.exit_code != 0:
        return _SIGNALS[137]
    return _SIGNALS.get(run.exit_code or 0, "")


def settled(run_tests: TestRun, patch: str, log: Path) -> RunFacts:
    """Test ``patch``; where the tests are killed, find out by whom.

    Args:
        run_tests: Raises what :func:`trajmake.evaluation.run_tests` raises.
        patch: The model's patch.
        log: File for the log of the run that counts; that of the unpatched
            repository, where it is needed, is ``NAME.unpatched.txt`` beside it.

    Returns:
        The facts of the run that counts. They hold a fault where the machine kills the
        tests, ``killed`` where the patch does, and a warning where the repeat counts.
        Where memory runs out without the patch too, that they say so is enough for the verdict.
    """
    first = run_tests(patch, log)
    signal = killed(first)
    if not signal:
        return first
    again = run_tests(patch, log)
    if not killed(again):
        how = "ran out of memory" if first.out_of_memory else f"was killed from outside ({signal})"
        warning = f"A test run {how} and was repeated; this is the repeat."
        return replace(again, warnings=(*again.warnings, warning))
    unpatched = run_tests("", log.with_name(f"{log.stem}.unpatched{log.suffix}")) if patch.strip() else again
    if not killed(unpatched):
        return replace(again, killed=killed(again))
    if again.out_of_memory:
        return again
    message = f"The test command was killed ({signal}) in every run, also without the patch."
    hint = "Look for the host's out-of-memory killer (`dmesg`), and for whoever kills processes of containers."
    return replace(again, fault={"reason": str(Reason.CONTAINER_LOST), "message": message, "hint": hint})

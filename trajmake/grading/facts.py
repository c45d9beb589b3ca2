"""How a test run went: what ``run_tests`` writes beside the log and ``grade`` reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from trajmake.errors import TrajmakeError


@dataclass(frozen=True)
class RunFacts:
    """``test_run.json``: the circumstances of one test run.

    Attributes:
        exit_code: Of the whole test command; None when it is not known (a saved
            log without these facts) or was never started.
        seconds: Wall time of the test command.
        patch_exists: The model's patch is not empty.
        patch_applied: It was applied, whole.
        patch_method: What applied it: ``git apply``, ``git apply --3way`` or ``patch``.
        patch_error: What the last attempt said when none did.
        test_patch_applied: The tests' patch was applied, or is empty.
        timed_out: The test command was killed at its timeout.
        peak_memory: Bytes, when the engine knows.
        out_of_memory: Memory ran out in the container.
        killed: The signal that ended the test command, or a process of it for want of memory, where the patch is
            to blame (``trajmake.evaluation.killed``).
        log_complete: The log holds the run to its end, as far as one can tell.
        forged: Tests that passed although they had been made to fail (``trajmake.evaluation.control``).
        engine: Name of the engine.
        image_id: ``sha256:…`` of the image.
        head_commit: The commit at which the image brings the repository; empty when
            there was no run, because nothing was proposed.
        base_commit_found: The row's base commit is in the repository.
        warnings: What deviates without being an error, one sentence each.
        fault: The machine's fault that ended the run (``reason``, ``message``,
            ``hint``), or None.
        repeats: The facts of the second and further runs of the same tests.
    """

    exit_code: int | None = None
    seconds: float = 0.0
    patch_exists: bool = False
    patch_applied: bool = False
    patch_method: str = ""
    patch_error: str = ""
    test_patch_applied: bool = False
    timed_out: bool = False
    peak_memory: int | None = None
    out_of_memory: bool = False
    killed: str = ""
    log_complete: bool = True
    forged: tuple[str, ...] = ()
    engine: str = ""
    image_id: str = ""
    head_commit: str = ""
    base_commit_found: bool = False
    warnings: tuple[str, ...] = ()
    fault: dict[str, Any] | None = None
    repeats: tuple[RunFacts, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        repeats = [run.to_dict() for run in self.repeats]
        lists = {"warnings": list(self.warnings), "forged": list(self.forged)}
        return {**asdict(self), **lists, "repeats": repeats}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """From :meth:`to_dict`; keys of later versions are passed over."""
        names = {field.name for field in fields(cls)}
        known = {key: item for key, item in value.items() if key in names}
        for name in ("warnings", "forged"):
            known[name] = tuple(known.get(name, ()))
        known["repeats"] = tuple(cls.from_dict(run) for run in known.get("repeats", ()))
        return cls(**known)

    @classmethod
    def of_fault(cls, error: TrajmakeError) -> Self:
        """Facts of a run that the machine ended."""
        return cls(fault={"reason": str(error.reason), "message": error.message, "hint": error.hint})

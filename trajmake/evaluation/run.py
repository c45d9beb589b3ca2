"""The test run: base state, model's patch, judge's files, tests' patch, test command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from trajmake import files
from trajmake.datasets.instance import Instance
from trajmake.diffs import touched_paths
from trajmake.engines.base import Container
from trajmake.errors import DatasetError
from trajmake.evaluation import repository
from trajmake.evaluation.control import can_fail, make_fail
from trajmake.evaluation.killed import settled
from trajmake.evaluation.protection import protected_paths
from trajmake.grading.facts import RunFacts
from trajmake.grading.log import read_log
from trajmake.grading.matching import Statuses
from trajmake.grading.parsers.reading import ERROR, FAILED, PASSED, XFAIL
from trajmake.grading.verdict import grade
from trajmake.snapshot import Snapshot
from trajmake.workspace import QUIET, environment_script, find_repository, find_script


def eval_script(instance: Instance) -> str:
    """The shell script that runs the tests, exactly as :func:`run_tests` runs it.

    It stands alone: in the prepared container, ``bash eval.sh`` does the same.
    """
    exports = "".join(f"export {key}={value}\n" for key, value in QUIET.items())
    return (
        "#!/bin/bash\n"
        f"{find_script(instance.repo_path)}"
        f"{exports}"
        f"entered=$({environment_script()})\n"
        'if [ -n "$entered" ]; then . "$entered"; cd -- "$found"; fi\n'
        "unset found place entered\n"
        f"{instance.test_command}\n"
    )


@dataclass(frozen=True)
class _Runs:
    """Test runs of one instance, each in a container of its own."""

    instance: Instance
    start: Callable[[], Container]
    timeout: float
    engine: str

    def __call__(self, patch: str, log: Path, change: Callable[[Container, str], object] | None = None) -> RunFacts:
        """Test ``patch``; ``change`` is called with container and repository before the tests start."""
        with self.start() as container:
            workdir, warnings = find_repository(container, self.instance.repo_path)
            base = repository.base(container, workdir, self.instance.base_commit)
            facts = RunFacts(
                patch_exists=bool(patch.strip()),
                engine=self.engine,
                image_id=container.image_id,
                head_commit=base.head_commit,
                base_commit_found=base.base_commit_found,
                warnings=warnings + base.warnings,
            )
            snapshot = Snapshot(container, workdir)
            facts = _prepare(self.instance, patch, snapshot, facts)
            snapshot.remove()
            if (facts.patch_exists and not facts.patch_applied) or not facts.test_patch_applied:
                which = "tests' patch" if facts.patch_applied or not facts.patch_exists else "patch"
                files.write_text(log, f"The {which} does not apply; no test was run.\n{facts.patch_error}\n")
                return facts
            if change is not None:
                change(container, workdir)
            script = eval_script(self.instance)
            result = container.run(script, timeout=self.timeout, cwd=workdir, log=log)
            used = container.facts()
            return replace(
                facts,
                exit_code=result.exit_code,
                seconds=round(result.seconds, 3),
                timed_out=result.timed_out,
                peak_memory=used.peak_memory,
                out_of_memory=used.out_of_memory,
            )


def run_tests(
    instance: Instance,
    patch: str,
    start: Callable[[], Container],
    *,
    timeout: float,
    log: Path,
    engine: str = "",
    control: bool = True,
) -> RunFacts:
    """Test ``patch`` in a fresh container of the instance's image.

    Args:
        instance: The row.
        patch: The model's patch; "" tests the repository as it is.
        start: Starts a container of the instance's image. Called once, and again for the
            control run and where tests are killed (:mod:`trajmake.evaluation.killed`):
            nothing that a run leaves behind tells the next one which it is.
        timeout: Seconds for the test command.
        log: File on the host for the whole output, streamed. Where the tests
            could not be started, it says why.
        engine: The engine's name, for the record.
        control: Where the verdict would be "resolved", run once more with the tests made
            to fail (:mod:`trajmake.evaluation.control`); its log is ``test_output.control.txt``.

    Raises:
        DatasetError: the row has no test command.
        EnvironmentBrokenError: no repository, or no git that can read it.
        ContainerLostError: the container went away.
    """
    if not instance.test_command.strip():
        raise DatasetError(f"Instance {instance.instance_id} has no test_command.", "Give the row one.")
    runs = _Runs(instance, start, timeout, engine)
    facts = settled(runs, patch, log)
    if control and can_fail(instance) and grade(instance, patch, read_log(log), facts).resolved:
        facts = replace(facts, forged=_forged(runs, patch, log.with_name(f"{log.stem}.control{log.suffix}")))
    return facts


def _forged(runs: _Runs, patch: str, log: Path) -> tuple[str, ...]:
    """Tests that were made to fail and pass all the same; all of them where the run has no failure to show.

    An honest run reports them as failed. One that falls silent when it meets
    them may have met somebody's trouble with the machine, and gets a second chance.
    """
    expected: tuple[str, ...] = ()

    def change(container: Container, workdir: str) -> None:
        nonlocal expected
        expected = make_fail(container, workdir, runs.instance)

    for _ in range(2):
        facts = runs(patch, log, change)
        statuses = grade(runs.instance, patch, read_log(log), facts).statuses
        if not expected or {FAILED, ERROR, XFAIL} & set(statuses.values()):
            found = Statuses(statuses)
            return tuple(name for name in expected if found.status(name) == PASSED)
    return expected


def _prepare(instance: Instance, patch: str, snapshot: Snapshot, facts: RunFacts) -> RunFacts:
    """Bring the work tree into the state in which the tests are run."""
    tree = snapshot.take()
    model = repository.apply(snapshot, patch)
    facts = replace(facts, patch_applied=model.applied, patch_method=model.method, patch_error=model.error)
    if facts.patch_exists and not model.applied:
        return facts
    protected = protected_paths(instance, patch)
    repository.put_back(snapshot, tree, [*protected, *touched_paths(instance.test_patch)])
    undone = tuple(f"{path}: the patch's change was undone, since {why}." for path, why in protected.items())
    tests = repository.apply(snapshot, instance.test_patch)
    return replace(
        facts,
        warnings=facts.warnings + undone,
        test_patch_applied=tests.applied or not instance.test_patch.strip(),
        patch_error=facts.patch_error or tests.error,
    )

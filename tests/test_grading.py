"""Verdicts: what logs and run facts mean, and how a verdict is written down."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from trajmake import grading
from trajmake.datasets.instance import Instance
from trajmake.errors import ConfigError, ContainerLostError
from trajmake.grading import RunFacts, State, eval_output, grade, infra_failure, report
from trajmake.grading.verdict import OUTPUT_KEPT
from trajmake.sessions.faults import Fault

DIFF = "--- a/pkg/mod.py\n+++ b/pkg/mod.py\n@@ -1 +1 @@\n-a\n+b\n"
INSTANCE = Instance(
    instance_id="o__r-1",
    repo="o/r",
    base_commit="0" * 40,
    problem_statement="It is wrong.",
    patch=DIFF,
    test_patch="--- a/t.py\n+++ b/t.py\n@@ -1 +1 @@\n-a\n+b\n",
    fail_to_pass=("t.py::a", "t.py::b"),
    pass_to_pass=("t.py::c",),
    language="python",
    test_command="pytest -rA",
    test_output_parser="python/parse_log_pytest",
    image_storage_uri="",
)
RAN = RunFacts(exit_code=0, patch_exists=True, patch_applied=True, test_patch_applied=True, head_commit="0" * 40)


def log_of(**statuses: str) -> str:
    """A log as pytest writes it, with these results for ``t.py``."""
    lines = [f"{status} t.py::{name}" for name, status in statuses.items()]
    passed = sum(status == "PASSED" for status in statuses.values())
    head = "===== test session starts =====\n===== short test summary info =====\n"
    return head + "\n".join(lines) + f"\n===== {passed} passed in 0.10s =====\n"


@pytest.mark.parametrize(
    ("statuses", "exit_code", "state"),
    [
        ({"a": "PASSED", "b": "PASSED", "c": "PASSED"}, 0, State.RESOLVED),
        ({"a": "XFAIL", "b": "PASSED", "c": "XFAIL"}, 0, State.RESOLVED),
        ({"a": "PASSED", "b": "PASSED", "c": "SKIPPED"}, 0, State.RESOLVED),
        ({"a": "PASSED", "b": "PASSED", "c": "PASSED", "other": "FAILED"}, 1, State.RESOLVED),
        ({"a": "PASSED", "b": "PASSED", "c": "PASSED"}, None, State.RESOLVED),
        ({"a": "SKIPPED", "b": "PASSED", "c": "PASSED"}, 0, State.UNRESOLVED),
        ({"a": "XPASS", "b": "PASSED", "c": "PASSED"}, 0, State.UNRESOLVED),
        ({"a": "PASSED", "c": "PASSED"}, 0, State.UNRESOLVED),
        ({"a": "PASSED", "b": "FAILED", "c": "PASSED"}, 1, State.UNRESOLVED),
        ({"a": "PASSED", "b": "ERROR", "c": "PASSED"}, 1, State.UNRESOLVED),
        ({"a": "PASSED", "b": "PASSED", "c": "FAILED"}, 1, State.UNRESOLVED),
        ({"a": "PASSED", "b": "PASSED"}, 0, State.UNRESOLVED),
        ({"a": "PASSED", "b": "PASSED", "c": "PASSED"}, 1, State.UNRESOLVED),
    ],
)
def test_semantics(statuses: dict[str, str], exit_code: int | None, state: State) -> None:
    """SWE-bench 5.0.2, case by case."""
    assert grade(INSTANCE, DIFF, log_of(**statuses), replace(RAN, exit_code=exit_code)).state is state


def test_nothing_to_keep_is_kept() -> None:
    """An empty PASS_TO_PASS is satisfied."""
    instance = replace(INSTANCE, pass_to_pass=())
    assert grade(instance, DIFF, log_of(a="PASSED", b="PASSED"), RAN).resolved


def test_rejected_log_shows_no_tests() -> None:
    """A command that fails while no test does: the passes it prints are not repeated."""
    verdict = grade(INSTANCE, DIFF, log_of(a="PASSED", b="PASSED", c="PASSED"), replace(RAN, exit_code=3))
    assert verdict.rejected and "ended with 3" in verdict.message
    assert "tests_status" not in report(verdict)["o__r-1"]


def test_unfinished_run_is_rejected() -> None:
    """All required tests passed, but the session never closed."""
    cut = log_of(a="PASSED", b="PASSED", c="PASSED").rsplit("\n", 2)[0] + "\n"
    verdict = grade(INSTANCE, DIFF, cut, RAN)
    assert (verdict.state, verdict.rejected) == (State.UNRESOLVED, True)


def test_patch_that_does_not_apply() -> None:
    """Unresolved, with the reason and without tests."""
    run = replace(RAN, exit_code=None, patch_applied=False, test_patch_applied=False, patch_error="corrupt patch at 3")
    verdict = grade(INSTANCE, DIFF, "", run)
    entry = report(verdict)["o__r-1"]
    assert verdict.state is State.UNRESOLVED
    assert entry == {
        "patch_is_None": False,
        "patch_exists": True,
        "patch_successfully_applied": False,
        "resolved": False,
    }
    details = eval_output({}, verdict)["pilot2_eval_details"]
    assert details["failed_apply_patch"] and "corrupt patch at 3" in details["error_message"]


def test_timeout() -> None:
    """What passed until then does not resolve."""
    verdict = grade(
        INSTANCE, DIFF, log_of(a="PASSED", b="PASSED", c="PASSED"), replace(RAN, timed_out=True, exit_code=137)
    )
    assert verdict.state is State.UNRESOLVED
    assert eval_output({}, verdict)["pilot2_eval_details"]["test_timeout"]


def test_silence_that_ends_well_is_the_patchs_doing() -> None:
    """`os._exit(0)` at import must not make the machine guilty; without a patch nobody but it is."""
    assert grade(INSTANCE, DIFF, "\n", replace(RAN, exit_code=0)).state is State.UNRESOLVED
    assert grade(INSTANCE, "", "\n", replace(RAN, exit_code=0, patch_exists=False)).state is State.INFRA_FAILURE


def test_repeats_that_disagree_are_flaky() -> None:
    """Worst of all runs, unless flaky tests are ignored; a test no run needs is listed all the same."""
    good = grade(INSTANCE, DIFF, log_of(a="PASSED", b="PASSED", c="PASSED", x="FAILED"), replace(RAN, exit_code=1))
    bad = grade(INSTANCE, DIFF, log_of(a="PASSED", b="FAILED", c="PASSED", x="PASSED"), replace(RAN, exit_code=1))
    assert good.resolved
    for verdicts in ([good, bad, good], [bad, good, good]):
        verdict = grading.combine(INSTANCE, verdicts)
        assert (verdict.state, verdict.flaky) == (State.UNRESOLVED, ("t.py::b", "t.py::x"))
        assert report(verdict)["o__r-1"]["flaky"] == ["t.py::b", "t.py::x"]
        ignoring = grading.combine(INSTANCE, verdicts, ignore_flaky=True)
        assert ignoring.resolved and ignoring.tests is not None
        assert ignoring.tests.fail_to_pass_success == ("t.py::a",)
    assert grading.combine(INSTANCE, [good, good]).flaky == ()


def test_ignoring_flaky_tests_never_proves_a_fix_by_nothing() -> None:
    """All of FAIL_TO_PASS flaky: no test is left that could show the fix."""
    good = grade(INSTANCE, DIFF, log_of(a="PASSED", b="PASSED", c="PASSED"), RAN)
    bad = grade(INSTANCE, DIFF, log_of(a="FAILED", b="FAILED", c="PASSED"), replace(RAN, exit_code=1))
    assert grading.combine(INSTANCE, [good, bad], ignore_flaky=True).state is State.UNRESOLVED


def test_a_repeat_that_the_machine_failed_decides() -> None:
    """A fault of one run is a fault; one that timed out is no pass."""
    good = grade(INSTANCE, DIFF, log_of(a="PASSED", b="PASSED", c="PASSED"), RAN)
    lost = grade(INSTANCE, DIFF, "", RunFacts.of_fault(ContainerLostError("gone")))
    late = grade(INSTANCE, DIFF, log_of(a="PASSED", b="PASSED", c="PASSED"), replace(RAN, timed_out=True))
    assert grading.combine(INSTANCE, [good, lost]).state is State.INFRA_FAILURE
    assert grading.combine(INSTANCE, [good, late]).state is State.UNRESOLVED


def test_facts_of_repeats_survive_their_file() -> None:
    facts = replace(RAN, warnings=("HEAD is not the base",), forged=("t.py::a",), repeats=(replace(RAN, exit_code=1),))
    assert RunFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts


def test_forged_results_are_rejected_and_warnings_reported() -> None:
    """What the control run found outweighs a perfect log; warnings reach the report."""
    run = replace(RAN, forged=("t.py::a",), warnings=("HEAD is not the base",))
    verdict = grade(INSTANCE, DIFF, log_of(a="PASSED", b="PASSED", c="PASSED"), run)
    assert (verdict.state, verdict.rejected) == (State.UNRESOLVED, True)
    assert report(verdict)["o__r-1"]["warnings"] == ["HEAD is not the base"]


def test_only_failures_count_where_the_row_says_so() -> None:
    """SWE-bench's `fail_only`: its parsers name failures alone; nothing at all is still no run."""
    instance = replace(INSTANCE, row={"eval_type": "fail_only"})
    assert grade(instance, DIFF, log_of(x="PASSED"), RAN).resolved
    assert not grade(instance, DIFF, log_of(b="FAILED"), replace(RAN, exit_code=1)).resolved
    assert not grade(instance, DIFF, "", RAN).resolved


@pytest.mark.parametrize(
    ("log", "exit_code", "reason"),
    [
        ("bash: line 3: pytest: command not found\n", 127, "environment_broken"),
        ("/usr/bin/python: No module named pytest\n", 1, "environment_broken"),
        ("", 127, "environment_broken"),
        ("ERROR: file or directory not found: t.py\n\n===== no tests ran in 0.00s =====\n", 4, "environment_broken"),
        ("fork: Cannot allocate memory\n", 1, "out_of_memory"),
        ("OSError: [Errno 28] No space left on device\n", 1, "disk_full"),
    ],
)
def test_broken_environment_is_no_verdict(log: str, exit_code: int, reason: str) -> None:
    """No test ran, and nothing leads to the patch."""
    verdict = grade(INSTANCE, DIFF, log, replace(RAN, exit_code=exit_code))
    assert (verdict.state, verdict.infra_failure_reason) == (State.INFRA_FAILURE, reason)
    entry = report(verdict)["o__r-1"]
    assert (entry["infra_failure"], entry["infra_failure_reason"], entry["resolved"]) == (True, reason, False)


@pytest.mark.parametrize(
    "log",
    [
        "ImportError while loading conftest '/r/conftest.py'.\npkg/mod.py:1: in <module>\nE   SyntaxError\n",
        "ModuleNotFoundError: No module named 'pkg.mod'\n",
        "/r/pkg/mod.py: line 1: foo: command not found\n",
        "===== test session starts =====\ncollected 0 items\n===== no tests ran in 0.00s =====\n",
    ],
)
def test_patch_that_stops_the_tests_is_unresolved(log: str) -> None:
    """No test ran, and the log leads to the patch, or the runner itself did start."""
    verdict = grade(INSTANCE, DIFF, log, replace(RAN, exit_code=4))
    assert verdict.state is State.UNRESOLVED
    assert verdict.message


def test_a_name_that_only_ends_alike_is_not_the_patch() -> None:
    """``xpkg/mod.py`` is another file."""
    log = "xpkg/mod.py broke\nbash: pytest: command not found\n"
    assert grade(INSTANCE, DIFF, log, replace(RAN, exit_code=127)).state is State.INFRA_FAILURE


def test_out_of_memory_is_no_verdict_unless_all_is_well() -> None:
    """A run that memory ended says nothing; one that passed all the same does."""
    starved = replace(RAN, out_of_memory=True, exit_code=137)
    for log in ("", log_of(a="PASSED"), log_of(a="PASSED", b="FAILED", c="PASSED")):
        assert grade(INSTANCE, DIFF, log, starved).infra_failure_reason == "out_of_memory"
        by_the_patch = grade(INSTANCE, DIFF, log, replace(starved, killed="SIGKILL"))
        assert by_the_patch.state is State.UNRESOLVED and "Memory ran out" in by_the_patch.message
    whole = log_of(a="PASSED", b="PASSED", c="PASSED")
    assert grade(INSTANCE, DIFF, whole, replace(starved, exit_code=0)).resolved


def test_fault_of_the_run_travels() -> None:
    """A container that went away is nobody's verdict, whatever the log says."""
    run = RunFacts.of_fault(ContainerLostError("Container x is gone.", "Run it again."))
    verdict = grade(INSTANCE, DIFF, log_of(a="PASSED", b="PASSED", c="PASSED"), RunFacts.from_dict(run.to_dict()))
    assert (verdict.state, verdict.infra_failure_reason) == (State.INFRA_FAILURE, "container_lost")


def test_fault_of_the_trajectory_travels() -> None:
    """There is no patch to judge."""
    fault = Fault("generate", "provider_down", "No answer.", "Wait.", 9, 1)
    verdict = infra_failure("o__r-1", asdict(fault))
    line = eval_output({"instance_id": "o__r-1", "error": "No answer."}, verdict)
    assert (line["resolved"], line["infra_failure"], line["infra_failure_reason"]) == (False, True, "provider_down")
    assert line["pilot2_eval_details"]["error_eval"]
    assert report(verdict)["o__r-1"]["patch_is_None"]


def test_empty_patch() -> None:
    """Its own state, run or not; where it was run, the tests show what the instance is worth."""
    assert grade(INSTANCE, "", "", RunFacts()).state is State.EMPTY_PATCH
    run = replace(RAN, patch_exists=False, patch_applied=False)
    verdict = grade(INSTANCE, " \n", log_of(a="PASSED", b="PASSED", c="PASSED"), run)
    assert (verdict.state, verdict.resolved) == (State.EMPTY_PATCH, False)
    assert verdict.tests is not None and verdict.tests.satisfied
    assert report(verdict)["o__r-1"]["patch_exists"] is False
    broken = grade(INSTANCE, "", "bash: pytest: command not found\n", replace(run, exit_code=127))
    assert broken.state is State.INFRA_FAILURE


def test_unknown_parser_raises() -> None:
    """The row is at fault, and the message helps to mend it."""
    with pytest.raises(ConfigError, match="go/parse_log_pytest"):
        grade(replace(INSTANCE, test_output_parser="go/parse_log_pytest"), DIFF, "", RAN)


def test_cut_and_doubled_ids_are_required_as_they_are() -> None:
    """Ids in the report are the row's, though the log spells them otherwise."""
    instance = replace(INSTANCE, fail_to_pass=("t.py::p[a", "t.py::q[x"), pass_to_pass=("t.py::a",))
    log = log_of(**{"p[a b]": "PASSED", "p[a c]": "PASSED", "q[x 1]": "PASSED", "q[x 2]": "FAILED", "ab": "PASSED"})
    verdict = grade(instance, DIFF, log, replace(RAN, exit_code=1))
    status = report(verdict)["o__r-1"]["tests_status"]
    assert status["FAIL_TO_PASS"] == {"success": ["t.py::p[a"], "failure": ["t.py::q[x"]}
    assert status["PASS_TO_PASS"] == {"success": [], "failure": ["t.py::a"]}


def test_report_has_swebench_form() -> None:
    """Keys and nesting of SWE-bench's own report.json."""
    verdict = grade(INSTANCE, DIFF, log_of(a="PASSED", b="FAILED", c="PASSED"), replace(RAN, exit_code=1))
    nothing: dict[str, list[str]] = {"success": [], "failure": []}
    assert report(verdict) == {
        "o__r-1": {
            "patch_is_None": False,
            "patch_exists": True,
            "patch_successfully_applied": True,
            "resolved": False,
            "tests_status": {
                "FAIL_TO_PASS": {"success": ["t.py::a"], "failure": ["t.py::b"]},
                "PASS_TO_PASS": {"success": ["t.py::c"], "failure": []},
                "FAIL_TO_FAIL": nothing,
                "PASS_TO_FAIL": nothing,
            },
        }
    }


def test_eval_output_is_the_trajectory_and_the_verdict() -> None:
    """The line before it stays as it is; the details have every key of the format."""
    line = {"instance_id": "o__r-1", "history": [1], "error": None}
    log = "early\n" * OUTPUT_KEPT + log_of(a="PASSED", b="PASSED", c="PASSED", d="FAILED", e="ERROR")
    record = json.loads(json.dumps(eval_output(line, grade(INSTANCE, DIFF, log, replace(RAN, exit_code=1)))))
    assert {key: record[key] for key in line} == line
    assert list(record)[-2:] == ["resolved", "pilot2_eval_details"]
    assert record["resolved"] is True
    details = record["pilot2_eval_details"]
    assert list(details) == [
        "instance_id", "resolved", "failed_apply_patch", "failed_apply_test_patch", "error_eval", "test_timeout",
        "tests_passed", "tests_failed", "tests_error", "fail_to_pass_success", "fail_to_pass_failed",
        "pass_to_pass_success", "pass_to_pass_failed", "test_output", "error_message",
    ]  # fmt: skip
    assert (details["tests_passed"], details["tests_failed"], details["tests_error"]) == (3, 1, 1)
    first, _, rest = details["test_output"].partition("\n")
    assert first == f"[{len(log) - OUTPUT_KEPT} characters cut; the whole log is in test_output.txt]"
    assert rest == log[-OUTPUT_KEPT:]


def test_run_facts_survive_json_and_later_versions() -> None:
    """A key that a later version adds is passed over."""
    facts = replace(RAN, warnings=("w",), peak_memory=5, fault={"reason": "x"})
    value = json.loads(json.dumps(facts.to_dict()))
    assert RunFacts.from_dict(value | {"new": 1}) == facts


def test_code_digest_follows_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grading is repeated exactly when something that decides has changed."""
    room = tmp_path / "grading"
    room.mkdir()
    (tmp_path / "sessions").mkdir()
    decide = ("grading/x.py", "diffs.py", "sessions/outcome.py")
    for name in ("grading/__init__.py", *decide, "grading/notes.txt", "other.py"):
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(grading, "__file__", str(room / "__init__.py"))
    before = grading.code_digest()
    for name in ("grading/notes.txt", "other.py"):
        (tmp_path / name).write_text("2")
        assert grading.code_digest() == before
    for name in decide:
        (tmp_path / name).write_text("2")
        assert grading.code_digest() != before
        before = grading.code_digest()

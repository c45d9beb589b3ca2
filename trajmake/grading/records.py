"""Verdicts as other tools read them: SWE-bench's ``report.json`` and ``eval_output.jsonl``."""

from __future__ import annotations

from typing import Any

from trajmake.grading.verdict import RequiredTests, State, Verdict


def report(verdict: Verdict) -> dict[str, Any]:
    """SWE-bench's ``report.json`` of one instance: ``{instance_id: {...}}``.

    Form of SWE-bench 5.0.2 (``swebench.harness.grading.get_eval_report``);
    ``patch_successfully_applied`` says what happened to the patch, also where
    that harness, for want of a log, writes false.
    """
    record: dict[str, Any] = {
        "patch_is_None": verdict.patch_is_none,
        "patch_exists": verdict.patch_exists,
        "patch_successfully_applied": verdict.patch_exists and verdict.patch_applied,
        "resolved": verdict.resolved,
    }
    record |= _infra_keys(verdict)
    if verdict.tests is not None:
        record["tests_status"] = _tests_status(verdict.tests)
    if verdict.flaky:
        record["flaky"] = list(verdict.flaky)
    if verdict.warnings:
        record["warnings"] = list(verdict.warnings)
    return {verdict.instance_id: record}


def eval_output(trajectory_line: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """The line of ``eval_output.jsonl``: the trajectory's line, then the verdict."""
    line = {**trajectory_line, "resolved": verdict.resolved, **_infra_keys(verdict)}
    line["pilot2_eval_details"] = _details(verdict)
    return line


def _infra_keys(verdict: Verdict) -> dict[str, Any]:
    if verdict.state is not State.INFRA_FAILURE:
        return {}
    return {"infra_failure": True, "infra_failure_reason": verdict.infra_failure_reason}


def _tests_status(tests: RequiredTests) -> dict[str, dict[str, list[str]]]:
    return {
        "FAIL_TO_PASS": {"success": list(tests.fail_to_pass_success), "failure": list(tests.fail_to_pass_failed)},
        "PASS_TO_PASS": {"success": list(tests.pass_to_pass_success), "failure": list(tests.pass_to_pass_failed)},
        "FAIL_TO_FAIL": {"success": [], "failure": []},
        "PASS_TO_FAIL": {"success": [], "failure": []},
    }


def _details(verdict: Verdict) -> dict[str, Any]:
    tests = verdict.tests or RequiredTests()
    infra = verdict.state is State.INFRA_FAILURE
    return {
        "instance_id": verdict.instance_id,
        "resolved": verdict.resolved,
        "failed_apply_patch": verdict.patch_exists and not verdict.patch_applied and not infra,
        "failed_apply_test_patch": verdict.patch_applied and not verdict.test_patch_applied,
        "error_eval": infra or verdict.rejected,
        "test_timeout": verdict.timed_out,
        "tests_passed": verdict.passed,
        "tests_failed": verdict.failed,
        "tests_error": verdict.errors,
        "fail_to_pass_success": list(tests.fail_to_pass_success),
        "fail_to_pass_failed": list(tests.fail_to_pass_failed),
        "pass_to_pass_success": list(tests.pass_to_pass_success),
        "pass_to_pass_failed": list(tests.pass_to_pass_failed),
        "test_output": verdict.output,
        "error_message": verdict.message,
    }

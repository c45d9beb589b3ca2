"""Files that SWE-bench's tools read: predictions and the run report (schema version 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trajmake.outcomes import ExitStatus, Status


def predictions(model: str, records: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """``{instance_id, model_name_or_path, model_patch}`` per trajectory; faults and missing predictions made none."""
    return [
        {
            "instance_id": str(record["instance_id"]),
            "model_name_or_path": model,
            "model_patch": str(record["test_result"]["git_patch"]),
        }
        for record in records
        if record["metadata"]["details"].get("exit_status") not in (None, ExitStatus.NO_PREDICTION)
    ]


def run_report(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """SWE-bench's run report: what was submitted, completed, resolved; a broken machine counts as ``error``."""
    tried = (o for o in outcomes if o["status"] != Status.MISSING)
    submitted = {o["instance_id"] for o in tried if o["fault_stage"] in (None, "run_tests", "grade")}
    error = {o["instance_id"] for o in outcomes if o["resolved"] is None} & submitted
    empty = {o["instance_id"] for o in outcomes if not o["patch_bytes"]} & submitted - error
    completed = submitted - error - empty
    resolved = {o["instance_id"] for o in outcomes if o["resolved"]} & completed
    groups = {
        "completed_ids": completed,
        "incomplete_ids": {o["instance_id"] for o in outcomes} - submitted,
        "empty_patch_ids": empty,
        "submitted_ids": submitted,
        "resolved_ids": resolved,
        "unresolved_ids": completed - resolved,
        "error_ids": error,
    }
    return {
        "total_instances": len(outcomes),
        "submitted_instances": len(submitted),
        "completed_instances": len(completed),
        "resolved_instances": len(resolved),
        "unresolved_instances": len(completed - resolved),
        "empty_patch_instances": len(empty),
        "error_instances": len(error),
        **{name: sorted(ids) for name, ids in groups.items()},
        "schema_version": 2,
    }

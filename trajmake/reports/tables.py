"""``results.csv``: one row per model and instance."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

# The first five are the users' own header; the rest follows.
COLUMNS = {
    "Model": "model",
    "Instance_ID": "instance_id",
    "Status": "status",
    "Duration_Seconds": "seconds",
    "Exit_Code": "exit_code",
    "Verdict": "verdict",
    "Resolved": "resolved",
    "Agent_Exit": "exit_status",
    "Steps": "steps",
    "Cost_USD": "cost_usd",
    "Prompt_Tokens": "prompt_tokens",
    "Completion_Tokens": "completion_tokens",
    "History_Entries": "history_entries",
    "Patch_Bytes": "patch_bytes",
    "Tests_Executed": "tests_executed",
    "Flags": "flags",
    "F2P_Passed": "fail_to_pass_passed",
    "F2P_Total": "fail_to_pass_total",
    "P2P_Passed": "pass_to_pass_passed",
    "P2P_Total": "pass_to_pass_total",
    "Fault_Stage": "fault_stage",
    "Fault_Reason": "fault_reason",
    "Fault_Message": "fault_message",
    "Quality_OK": "quality",
    "Patch_Size_OK": "quality_patch_size",
    "History_OK": "quality_history",
    "Tests_Executed_OK": "quality_tests_executed",
    "Required_Tests_OK": "quality_required_tests",
    "No_Error": "quality_no_error",
}


def results_csv(outcomes: Iterable[Mapping[str, Any]]) -> str:
    """The table, in the order given; unknown values are empty cells, never 0.

    Args:
        outcomes: As :func:`trajmake.sessions.quality.marked` gives them.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for outcome in outcomes:
        writer.writerow([_cell(outcome[key]) for key in COLUMNS.values()])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(flag["kind"] for flag in value)
    if value is None:
        return ""
    if isinstance(value, float):
        return round(value, 6)  # dollars; more digits are noise of the sum
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value.split()) if isinstance(value, str) else value

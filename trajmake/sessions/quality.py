"""Whether a run looks as one should: five checks and what they come to, apart from every verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trajmake.settings.sections import QualitySettings

CHECKS = {
    "quality_patch_size": "patch size",
    "quality_history": "history",
    "quality_tests_executed": "tests executed",
    "quality_required_tests": "required tests",
    "quality_no_error": "no error",
}
"""Key in a marked outcome → what it is called."""


def marked(outcomes: Iterable[Mapping[str, Any]], wanted: QualitySettings) -> list[dict[str, Any]]:
    """The outcomes, each with a value for every one of ``CHECKS`` and with ``quality``, whether all hold.

    They are None for a run that is not finished.
    """
    return [{**outcome, **_checks(outcome, wanted)} for outcome in outcomes]


def summary(outcomes: Sequence[Mapping[str, Any]]) -> str:
    """Of marked outcomes, how many are as they should be, and by how many a check is failed: one line."""
    finished = [outcome for outcome in outcomes if outcome["quality"] is not None]
    failed = Counter(name for outcome in finished for key, name in CHECKS.items() if not outcome[key])
    why = f" (failed: {', '.join(f'{name} {number}' for name, number in sorted(failed.items()))})" if failed else ""
    return f"{sum(outcome['quality'] for outcome in finished)} of {len(finished)} runs pass every check{why}"


def _checks(outcome: Mapping[str, Any], wanted: QualitySettings) -> dict[str, bool | None]:
    if "unfinished" in outcome:
        return dict.fromkeys([*CHECKS, "quality"])
    number = {key: outcome[key] or 0 for key in ("patch_bytes", "history_entries", "tests_executed")}
    required = {kind: outcome[f"{kind}_total"] or 0 for kind in ("fail_to_pass", "pass_to_pass")}
    held: dict[str, bool | None] = {
        "quality_patch_size": wanted.patch_bytes_min <= number["patch_bytes"] <= wanted.patch_bytes_max,
        "quality_history": wanted.history_min <= number["history_entries"] <= wanted.history_max,
        "quality_tests_executed": number["tests_executed"] >= wanted.tests_executed_min,
        "quality_required_tests": required["fail_to_pass"] >= wanted.fail_to_pass_min
        and required["pass_to_pass"] >= wanted.pass_to_pass_min,
        "quality_no_error": not outcome["fault_reason"],
    }
    return held | {"quality": all(held.values())}

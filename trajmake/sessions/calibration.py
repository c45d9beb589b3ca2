"""``calibration.csv``: which instances can tell a fix from none.

``gold`` must resolve an instance and ``empty`` must not; each row of the file says
what they did, and the row's digest, so that a changed row is not taken for a
calibrated one.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from trajmake.errors import DatasetError
from trajmake.grading.verdict import State

HINT = "Run `snakemake -j 4 calibrate` first, or set `only_valid: false`."
_COLUMNS = ("Instance_ID", "State", "Gold", "Empty", "Disagreeing", "Flaky", "Message", "Row_Digest")


class Calibrated(StrEnum):
    """What calibration says of an instance."""

    VALID = "valid"
    BROKEN = "broken"
    FLAKY = "flaky"
    UNKNOWN = "unknown"  # the machine met a fault; the next run repeats it


@dataclass(frozen=True)
class Calibration:
    """One instance's row.

    Attributes:
        instance_id: The instance's id.
        state: Of the list above.
        gold, empty: Verdicts of the two agents.
        disagreeing: Required ids that are not as the dataset says: they fail with the
            true fix, or FAIL_TO_PASS ones pass without it, PASS_TO_PASS ones do not.
        flaky: Required ids that disagree with themselves (``evaluation.repeats``).
        message: Why, when the ids do not say.
        digest: The dataset row's.
    """

    instance_id: str
    state: Calibrated
    gold: str
    empty: str
    disagreeing: tuple[str, ...]
    flaky: tuple[str, ...]
    message: str
    digest: str


def judge(
    gold: Mapping[str, Any], empty: Mapping[str, Any], reports: Sequence[Mapping[str, Any]], digest: str
) -> Calibration:
    """Calibrate one instance.

    Args:
        gold, empty: Outcomes (``outcome.json``) of the two agents.
        reports: Their ``report.json`` in that order.
        digest: The row's.
    """
    fixed, unfixed = (next(iter(report.values())).get("tests_status", {}) for report in reports)
    failing = [*_ids(fixed, "FAIL_TO_PASS", "failure"), *_ids(fixed, "PASS_TO_PASS", "failure")]
    passing = _ids(unfixed, "FAIL_TO_PASS", "success")
    lost = _ids(unfixed, "PASS_TO_PASS", "failure")
    required = {name for kinds in (*fixed.values(), *unfixed.values()) for ids in kinds.values() for name in ids}
    flaky = tuple(dict.fromkeys(i for o in (gold, empty) for i in o.get("flaky", ()) if i in required))
    state, message = _state(gold, empty, bool(passing) and not _ids(unfixed, "FAIL_TO_PASS", "failure") and not lost)
    if flaky and state is not Calibrated.UNKNOWN:
        state = Calibrated.FLAKY
    disagreeing = tuple(dict.fromkeys([*failing, *passing, *lost]))
    names = (gold["instance_id"], state, gold["verdict"], empty["verdict"])
    return Calibration(*names, disagreeing, flaky, message, digest)


def _state(gold: Mapping[str, Any], empty: Mapping[str, Any], passes_unfixed: bool) -> tuple[Calibrated, str]:
    if gold["verdict"] == State.INFRA_FAILURE:
        return Calibrated.UNKNOWN, f"gold: {gold['fault_message'] or gold['message']}"
    if gold["verdict"] != State.RESOLVED:
        return Calibrated.BROKEN, f"The true fix does not resolve it. {gold['message']}".strip()
    # Where the true fix's tests run, the environment is whole: tests that cannot even start without it are no fault.
    if empty["verdict"] == State.INFRA_FAILURE and empty["fault_reason"] != "environment_broken":
        return Calibrated.UNKNOWN, f"empty: {empty['fault_message'] or empty['message']}"
    if passes_unfixed:
        return Calibrated.BROKEN, "Its tests pass without any fix."
    return Calibrated.VALID, ""


def _ids(status: Mapping[str, Any], kind: str, how: str) -> list[str]:
    return list(status.get(kind, {}).get(how, ()))


def to_csv(rows: Iterable[Calibration]) -> str:
    """The file's text; lists of ids are JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        lists = (json.dumps(ids, ensure_ascii=False) if ids else "" for ids in (row.disagreeing, row.flaky))
        writer.writerow([row.instance_id, row.state, row.gold, row.empty, *lists, row.message, row.digest])
    return text.getvalue()


def read(path: Path | str) -> dict[str, tuple[Calibrated, str]]:
    """Instance id → state and row digest.

    Raises:
        DatasetError: there is no such file, or it is no calibration.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return {row["Instance_ID"]: (Calibrated(row["State"]), row["Row_Digest"]) for row in rows}
    except FileNotFoundError as error:
        raise DatasetError(f"`only_valid` is set, but there is no calibration {path}.", HINT) from error
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{path} is not a calibration: {error}.", HINT) from error


def digest(path: Path | str) -> str:
    """sha256 of a calibration; empty where there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def valid_ids(path: Path | str, ids: Sequence[str], digest: Callable[[str], str]) -> list[str]:
    """Those of ``ids`` that are valid by the calibration ``path``, in their order.

    Raises:
        DatasetError: there is none, it lacks some of them or has them from another
            state of their row, or no instance is valid.
    """
    known = read(path)
    settled = {i for i, (state, _) in known.items() if state is not Calibrated.UNKNOWN}
    stale = [i for i in ids if i not in settled or known[i][1] != digest(i)]
    if stale:
        raise DatasetError(
            f"{path} does not calibrate {len(stale)} of {len(ids)} instances as they are now: "
            f"{', '.join(stale[:3])}{' ...' if len(stale) > 3 else ''}.",
            HINT,
        )
    valid = [i for i in ids if known[i][0] is Calibrated.VALID]
    if not valid:
        raise DatasetError(f"No instance is valid by {path}.", "Mend the dataset, or set `only_valid: false`.")
    return valid


def summary(rows: Sequence[Calibration]) -> str:
    """Counts, and a line for each instance that is not valid."""
    counts = Counter(row.state for row in rows)
    counted = ", ".join(f"{counts[state]} {state}" for state in Calibrated if counts[state])
    lines = [f"{len(rows)} instances: {counted}"]
    for row in rows:
        if row.state is not Calibrated.VALID:
            ids = row.flaky if row.state is Calibrated.FLAKY else row.disagreeing
            more = f": {', '.join(ids[:5])}{f' and {len(ids) - 5} more' if len(ids) > 5 else ''}" if ids else ""
            lines.append(f"  {row.state}: {row.instance_id} {row.message}".rstrip(" ") + more)
    return "\n".join(lines)

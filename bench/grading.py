"""Saved logs graded: ``trajmake grade`` against SWE-bench's own grader, one process each, start-up included.

    python bench/grading.py [--logs 1000] [--megabytes 33] [--pairs 5] [--quick] [--json FILE]

Each log is the output of a really run suite (this Python's pytest on generated tests), repeated to
the size asked for. Half of the rows require a test that fails. Both sides must say the same of each
row: resolved or not, and every required test. Needs ``make swebench``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pairs
import theirs

SUITE = """
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_many(n):
    print("line of output " * 8)
    assert n % 50
"""
# What `swebench eval` does with each log; as plain as it can be.
JUDGE = """
import json, sys
from pathlib import Path
from swebench.harness.grading import get_eval_report
from swebench.types import TestSpec
rows, logs, verdicts = map(Path, sys.argv[1:])
with verdicts.open("w") as stream:
    for line in rows.open():
        row = json.loads(line)
        spec = TestSpec(image="", eval_script_list=[], **{key: row[key] for key in (
            "instance_id", "repo", "version", "FAIL_TO_PASS", "PASS_TO_PASS", "log_parser", "eval_type")})
        prediction = {"instance_id": row["instance_id"], "model_patch": "x"}
        found = get_eval_report(spec, prediction, logs / row["instance_id"] / "test_output.txt", True)
        stream.write(json.dumps({"instance_id": row["instance_id"], **found[row["instance_id"]]}) + "\\n")
"""


def real_log(folder: Path, count: int) -> tuple[str, list[str], list[str]]:
    """A run's output, the ids that passed, and those that failed."""
    (folder / "test_many.py").write_text(SUITE.format(count=count))
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "test_many.py"]
    text = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False).stdout
    passed, failed = (
        [line.split(" ", 2)[1] for line in text.splitlines() if line.startswith(f"{status} ")]
        for status in ("PASSED", "FAILED")
    )
    log = f"+ : '>>>>> Start Test Output'\n{text}+ : '>>>>> End Test Output'\n>>>>> Test Exit Code: 1\n"
    return log, passed, failed


def write(folder: Path, number: int, megabytes: float) -> int:
    """Rows and their logs; the bytes of a log."""
    size = megabytes * 1e6 / number
    count = max(60, round(size / len(real_log(folder, 100)[0]) * 100))
    log, passed, failed = real_log(folder, count)
    row = {
        "repo": "o/r", "version": "1", "base_commit": "0" * 40, "problem_statement": "p", "patch": "", "test_patch": "",
        "FAIL_TO_PASS": passed[:2], "test_command": "pytest -rA", "test_output_parser": "python/parse_log_pytest",
        "log_parser": "parse_log_pytest", "eval_type": "pass_and_fail", "image_storage_uri": "i.tar",
    }  # fmt: skip
    with (folder / "rows.jsonl").open("w") as stream:
        for index in range(number):
            identity = f"o__r-{index}"
            maintained = passed[2:] + (failed[:1] if index % 2 else [])
            stream.write(json.dumps({"instance_id": identity, **row, "PASS_TO_PASS": maintained}) + "\n")
            (folder / "logs" / identity).mkdir(parents=True)
            (folder / "logs" / identity / "test_output.txt").write_text(log)
    return len(log)


def verdicts(path: Path) -> dict[str, Any]:
    """What was said of each row, as both sides say it."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["instance_id"]: (line["resolved"], line["tests_status"]) for line in lines}


def main() -> None:
    """Measure and print."""
    parser = pairs.options(__doc__)
    parser.add_argument("--logs", type=int, default=1000)
    parser.add_argument("--megabytes", type=float, default=33, help="of all logs together")
    chosen = parser.parse_args()
    swebench = theirs.need_swebench()
    result = pairs.Result("grading", chosen)
    result.content["versions"]["swebench"] = swebench
    with tempfile.TemporaryDirectory(prefix="bench-grading-") as scratch:
        folder = Path(scratch)
        size = write(folder, chosen.logs, chosen.megabytes)
        rows, logs = folder / "rows.jsonl", folder / "logs"
        places = {name: folder / f"{name}.jsonl" for name in ("theirs", "ours")}
        judge = folder / "judge.py"
        judge.write_text(JUDGE)
        grade = [sys.executable, "-c", "from trajmake.cli import main; main()", "grade", "--dataset", str(rows)]
        commands = {
            "theirs": [str(theirs.PYTHON), str(judge), str(rows), str(logs), str(places["theirs"])],
            "ours": [*grade, "--logs", str(logs), "--output", str(places["ours"])],
        }
        sides = [
            pairs.Side(name, command, product=lambda name=name: verdicts(places[name]))  # type: ignore[misc]
            for name, command in commands.items()
        ]
        costs = pairs.compare(sides, result.pairs, result.warm_up)
        found = verdicts(places["ours"])
        assert len(found) == chosen.logs and {said for said, _ in found.values()} == {True, False}
    result.add(
        *pairs.rows(
            f"{chosen.logs} logs of {size / 1000:.0f} kB",
            costs["theirs"],
            costs["ours"],
            {"wall": 1.0, "cpu": None, "largest": None},
        )
    )
    result.close()


if __name__ == "__main__":
    main()

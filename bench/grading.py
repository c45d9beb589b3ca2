"""How long saved logs take to be graded: real logs of the demo's bugs, many times over.

    python bench/grading.py [LOGS] [MEGABYTES]

Each log is the output of a really run suite (this Python's pytest on generated tests),
repeated to the size asked for; the grading is ``trajmake grade`` in this process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from typer.testing import CliRunner

from trajmake.cli import app

SUITE = """
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_many(n):
    print("line of output " * 8)
    assert n % 50
"""


def real_log(folder: Path, count: int) -> tuple[str, list[str]]:
    """A run's output and the ids that passed."""
    (folder / "test_many.py").write_text(SUITE.format(count=count))
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "test_many.py"]
    text = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False).stdout
    passed = [line.split(" ", 1)[1] for line in text.splitlines() if line.startswith("PASSED ")]
    return f"+ : '>>>>> Start Test Output'\n{text}+ : '>>>>> End Test Output'\n>>>>> Test Exit Code: 1\n", passed


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1300
    megabytes = float(sys.argv[2]) if len(sys.argv) > 2 else 43
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        size = megabytes * 1e6 / number
        count = max(2, round(size / len(real_log(folder, 100)[0]) * 100))
        log, passed = real_log(folder, count)
        row = {
            "repo": "o/r", "base_commit": "0" * 40, "problem_statement": "p", "patch": "", "test_patch": "",
            "FAIL_TO_PASS": passed[:2], "PASS_TO_PASS": passed[2:], "test_command": "pytest -rA",
            "test_output_parser": "python/parse_log_pytest", "image_storage_uri": "i.tar",
        }  # fmt: skip
        with (folder / "rows.jsonl").open("w") as stream:
            for index in range(number):
                identity = f"o__r-{index}"
                stream.write(json.dumps({"instance_id": identity, **row}) + "\n")
                (folder / "logs" / identity).mkdir(parents=True)
                (folder / "logs" / identity / "test_output.txt").write_text(log)
        options = ["--dataset", str(folder / "rows.jsonl"), "--logs", str(folder / "logs")]
        started = time.perf_counter()
        done = CliRunner().invoke(app, ["grade", *options, "--output", str(folder / "verdicts.jsonl")])
        seconds = time.perf_counter() - started
        assert done.exit_code == 0, done.output
        total = number * len(log) / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(done.stderr.strip())
        print(f"{number} logs, {total:.0f} MB: {seconds:.1f} s, {total / seconds:.0f} MB/s, peak {peak:.0f} MiB")


if __name__ == "__main__":
    main()

"""Logs that others saved: SWE-bench's harness from 1.x to 5.x, and how files are told apart.

The logs are made here: the harness's evaluation scripts, as each version writes
them, really run by bash in a small repository with real git and pytest.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trajmake.cli import app
from trajmake.errors import DatasetError
from trajmake.grading import State, harness, saved

BUG = "def add(a, b):\n    return a - b\n"
FIX = BUG.replace("-", "+")
OLD_TESTS = "from calc import add\n\ndef test_zero():\n    assert add(3, 0) == 3\n"
TESTS = OLD_TESTS + "\ndef test_add():\n    assert add(2, 2) == 4\n"
PYTEST = f"{shlex.quote(sys.executable)} -m pytest -rA -p no:cacheprovider test_calc.py"
# No byte code: the fix and the bug have one size, and perhaps one second.
IDENTITY = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "PYTHONPATH": "."}
IDENTITY |= {"PYTHONDONTWRITEBYTECODE": "1"}
TEST_PATCH = (
    "diff --git a/test_calc.py b/test_calc.py\n--- a/test_calc.py\n+++ b/test_calc.py\n@@ -2,3 +2,6 @@\n \n"
    " def test_zero():\n     assert add(3, 0) == 3\n+\n+def test_add():\n+    assert add(2, 2) == 4\n"
)
STALE_PATCH = TEST_PATCH.replace("(3, 0)", "(7, 0)")


def row(identity: str = "o__calc-1") -> dict:
    """A row for the repository."""
    return {
        "instance_id": identity,
        "repo": "o/calc",
        "base_commit": "0" * 40,
        "problem_statement": "add subtracts",
        "patch": "",
        "test_patch": TEST_PATCH,
        "FAIL_TO_PASS": ["test_calc.py::test_add"],
        "PASS_TO_PASS": ["test_calc.py::test_zero"],
        "test_command": "pytest -rA test_calc.py",
        "test_output_parser": "python/parse_log_pytest",
        "image_storage_uri": "calc.tar",
    }


def script(version: int, command: str = PYTEST, test_patch: str = TEST_PATCH) -> str:
    """The evaluation script of a version of the harness (``make_eval_script_list``)."""
    marked = version >= 3
    code = version >= 5
    return "\n".join(
        [
            "set -uxo pipefail",
            "git status",
            "git checkout HEAD test_calc.py",
            f"git apply -v - <<'EOF_114329324912'\n{test_patch}\nEOF_114329324912",
            *([": '>>>>> Start Test Output'"] if marked else []),
            command,
            *(["SWEBENCH_TEST_EXIT_CODE=$?"] if code else []),
            *([": '>>>>> End Test Output'"] if marked else []),
            *(['echo ">>>>> Test Exit Code: $SWEBENCH_TEST_EXIT_CODE"'] if code else []),
            "git checkout HEAD test_calc.py",
        ]
    )


class Harness:
    """The repository and what the harness of a version would save."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "repo"
        self.work.mkdir()
        self.write(BUG)
        (self.work / "test_calc.py").write_text(OLD_TESTS)
        self.run("git init -q; git add -A; git -c user.name=a -c user.email=a@b commit -qm base")

    def write(self, code: str) -> None:
        (self.work / "calc.py").write_text(code)

    def run(self, text: str, timeout: float = 60) -> str:
        env = {k: v for k, v in os.environ.items() if k != "PYTEST_ADDOPTS"} | IDENTITY
        with subprocess.Popen(
            ["bash", "-c", text],
            cwd=self.work,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                return process.communicate(timeout=timeout)[0]
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                # As the harness does it (run_evaluation.py).
                return process.communicate()[0] + f"\n\nTimeout error: {timeout} seconds exceeded."

    def log(self, version: int, code: str = FIX, **changes: str) -> str:
        """What a version saves about ``code``."""
        self.write(code)
        if version > 1:
            return self.run(script(version, **changes))
        # context_manager.py and engine_evaluation.py of 1.1.5.
        (self.work / "test_calc.py").write_text(TESTS)
        out = self.run(PYTEST)
        self.run("git checkout -q HEAD test_calc.py")
        return (
            "Task Metadata:\n\t- Instance ID: o__calc-1\n\t- Testbed: calc\n"
            f">>>>> Applied Patch (test)\n>>>>> Applied Patch (pred)\nTest Script: {PYTEST};\nOutput:\n{out}\n"
            + (">>>>> All Tests Passed\n" if code == FIX else ">>>>> Some Tests Failed\n")
        )


@pytest.fixture(scope="module")
def swebench(tmp_path_factory) -> Harness:
    return Harness(tmp_path_factory.mktemp("harness"))


@pytest.fixture
def regrade(tmp_path):
    """Grade logs through the command line: ``{path: log}`` → lines by instance id, standard error."""

    def graded(logs: dict[str, str], *ids: str) -> tuple[dict[str, dict], str]:
        for name, text in logs.items():
            path = tmp_path / "logs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        rows = tmp_path / "rows.jsonl"
        rows.write_text("".join(json.dumps(row(i)) + "\n" for i in ids or ["o__calc-1"]))
        output = tmp_path / "verdicts.jsonl"
        done = CliRunner().invoke(
            app, ["grade", "--dataset", str(rows), "--logs", str(tmp_path / "logs"), "--output", str(output)]
        )
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        lines = [json.loads(text) for text in output.read_text().splitlines()]
        return {line["instance_id"]: line for line in lines}, done.stderr

    return graded


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_logs_of_every_version_give_the_verdict(swebench, regrade, version):
    """A fix resolves and the bug does not, by the name that the version gave its logs."""
    name = "o__calc-1.gpt-4.eval.log" if version == 1 else "o__calc-1/test_output.txt"
    lines, _ = regrade({name: swebench.log(version)})
    assert lines["o__calc-1"]["resolved"] is True
    assert lines["o__calc-1"]["tests_status"]["PASS_TO_PASS"]["success"] == ["test_calc.py::test_zero"]
    lines, _ = regrade({name: swebench.log(version, BUG)})
    assert lines["o__calc-1"]["resolved"] is False
    assert lines["o__calc-1"]["tests_status"]["FAIL_TO_PASS"]["failure"] == ["test_calc.py::test_add"]


def test_stamps_before_every_line_are_no_part_of_it(swebench, regrade):
    """As container runtimes print them, in both spellings."""
    log = swebench.log(5)
    for stamp in ("2024-05-01T10:00:00.123456789Z ", "[2024-05-01 10:00:00,123] "):
        lines, _ = regrade({"o__calc-1/test_output.txt": re.sub("^", stamp, log, flags=re.M)})
        assert lines["o__calc-1"]["resolved"] is True


def test_exit_code_of_version_5_is_believed(swebench, regrade):
    """All passed, but the command did not end well: rejected, as SWE-bench does."""
    lines, _ = regrade({"o__calc-1/test_output.txt": swebench.log(5, command=f"{PYTEST}; (exit 3)")})
    assert lines["o__calc-1"]["resolved"] is False
    assert "ended with 3" in lines["o__calc-1"]["message"]


def test_timeout_ends_in_unresolved(swebench):
    """Cut off in the tests; the harness's last line says so."""
    swebench.write(FIX)
    log = swebench.run(script(4, command=f"{PYTEST}; sleep 60"), timeout=8)
    _, facts = harness.tests_of(log)
    assert facts.timed_out and facts.log_complete
    assert harness.tests_of(">>>>> Applied Patch (pred)\n>>>>> Tests Timed Out after 9 seconds\n")[1].timed_out


def test_cut_log_is_rejected(swebench, regrade):
    """The end mark is missing: what stands there is no whole run, whatever passed."""
    log = swebench.log(4).partition("+ : '>>>>> End Test Output'")[0]
    lines, _ = regrade({"o__calc-1/test_output.txt": log})
    assert lines["o__calc-1"]["resolved"] is False and "tests_status" not in lines["o__calc-1"]


def test_tests_patch_of_version_2_must_apply(swebench):
    """Its log has no marks; SWE-bench looks for "Applied patch"."""
    assert harness.tests_of(swebench.log(2))[1].test_patch_applied
    assert not harness.tests_of(swebench.log(2, test_patch=STALE_PATCH))[1].test_patch_applied


@pytest.mark.parametrize(
    ("log", "state", "reason"),
    [
        (">>>>> Applied Patch (test)\n>>>>> Patch Apply Failed; (pred)\nOutput:\nno\n", State.UNRESOLVED, ""),
        (">>>>> Patch Apply Failed:\nerror: corrupt patch at line 3\n", State.UNRESOLVED, ""),
        ("2024-05-01 10:00:00,1 - INFO - >>>>> Patch Apply Failed:\n", State.UNRESOLVED, ""),
        (">>>>> Patch Apply Failed; (test)\nOutput:\nno\n", State.INFRA_FAILURE, "environment_broken"),
        (">>>>> Init Failed\nconda said no\n", State.INFRA_FAILURE, "environment_broken"),
        (">>>>> Reset Failed; Failed to reset task environment to 0\n", State.INFRA_FAILURE, "environment_broken"),
        (">>>>> Applied Patch (pred)\n>>>>> Tests Errored: no disk", State.INFRA_FAILURE, "environment_broken"),
        (">>>>> Applied Patch (pred)\n>>>>> Tests Timed Out after 9 seconds\n", State.UNRESOLVED, ""),
    ],
)
def test_what_went_wrong_before_the_tests(tmp_path, log, state, reason):
    """The patch's doing is unresolved, the machine's is no verdict; none ever resolves."""
    from trajmake.datasets.rows import to_instance

    path = tmp_path / "o__calc-1.model.eval.log"
    path.write_text(log)
    verdict = saved.grade_log(to_instance(row()), path)
    assert (verdict.state, verdict.infra_failure_reason) == (state, reason)


def test_second_try_at_the_patch_counts(swebench, regrade):
    """1.x tries a patch, repairs it, and tries again: only the last try is the answer."""
    log = swebench.log(1).replace(
        ">>>>> Applied Patch (pred)", ">>>>> Patch Apply Failed; (pred_try)\n>>>>> Applied Patch (pred)"
    )
    lines, _ = regrade({"o__calc-1.m.eval.log": log})
    assert lines["o__calc-1"]["resolved"] is True


def test_other_peoples_arrows_are_no_marks(swebench, regrade):
    """A merge conflict in plain output is none of the harness's lines."""
    swebench.write(FIX)
    (swebench.work / "test_calc.py").write_text(TESTS)
    log = swebench.run(f"echo '>>>>>>> theirs'; {PYTEST}; git checkout -q HEAD test_calc.py")
    lines, _ = regrade({"o__calc-1.log": log})
    assert ">>>>>>> theirs" in log and lines["o__calc-1"]["resolved"] is True


def test_marks_that_a_patch_prints_do_not_help(swebench, regrade):
    """A forged end of the tests, or a second account after a forged start: both cut the log short."""
    forged = "PASSED test_calc.py::test_add\nPASSED test_calc.py::test_zero\n==== 2 passed in 0.01s ====\n"
    for marks in (">>>>> End Test Output\n", f">>>>> End Test Output\n>>>>> Start Test Output\n{forged}", forged):
        code = BUG + f"import os\nos.write(2, {marks!r}.encode())\n"
        lines, _ = regrade({"o__calc-1/test_output.txt": swebench.log(5, code)})
        assert lines["o__calc-1"]["resolved"] is False


def test_logs_are_never_given_to_another_instance(swebench, regrade):
    """Ids that begin alike: the longest that ends as a word; what fits none is said."""
    fixed, broken = swebench.log(4), swebench.log(4, BUG)
    logs = {
        "o__calc-1.gpt.log": broken,
        "o__calc-11.log": fixed,
        "o__calc-1.2.log": fixed,
        "12155_1/test_output.txt": fixed,
        "o__calc-111.log": fixed,
        "run/notes.txt": "",
    }
    lines, said = regrade(logs, "o__calc-1", "o__calc-11", "o__calc-1.2", "12155", "12155_1")
    assert {name: line["resolved"] for name, line in lines.items()} == {
        "o__calc-1": False,
        "o__calc-11": True,
        "o__calc-1.2": True,
        "12155_1": True,
    }
    assert "o__calc-111.log" in said and "1 rows have no log" in said


def test_two_logs_of_one_instance_are_an_error(tmp_path):
    for name in ("o__calc-1.a.log", "o__calc-1.b.log"):
        (tmp_path / name).write_text("")
    with pytest.raises(DatasetError, match=r"o__calc-1\.a\.log and .*o__calc-1\.b\.log"):
        saved.find(tmp_path, ["o__calc-1"])


def test_an_empty_patch_beside_the_log_is_no_patch(swebench, regrade):
    """`patch.diff` says what the model proposed; nothing is graded that was never proposed."""
    lines, said = regrade({"o__calc-1/test_output.txt": swebench.log(4), "o__calc-1/patch.diff": "\n"})
    assert lines["o__calc-1"]["resolved"] is False and lines["o__calc-1"]["patch_exists"] is False
    assert "1 empty_patch" in said

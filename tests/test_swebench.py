"""Equal to SWE-bench's grader where it defines the answer: the installed package judges the same logs.

Needs the package ``swebench`` 5 (``get_eval_report`` with skipped tests, exit codes
and cut ids as ``docs/formats.md`` describes them). ``SWEBENCH_PYTHON`` may name
another environment's interpreter that has it, since its version 4, whose tables plain
rows need, cannot be installed beside it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from trajmake.datasets.instance import Instance
from trajmake.grading import harness, report
from trajmake.grading.verdict import grade

LOGS = Path(__file__).parent / "logs"
JUDGE = """
import json, sys
from types import SimpleNamespace
from swebench.harness.grading import get_eval_report
from swebench.harness.log_parsers import PARSER_REGISTRY
for line in sys.stdin:
    case = json.loads(line)
    open(sys.argv[1], "w").write(case["log"])
    spec = SimpleNamespace(version="1.0", repo="o/r", **case["spec"])
    found = get_eval_report(spec, {"instance_id": spec.instance_id, "model_patch": "x"}, sys.argv[1], True)
    found = found[spec.instance_id]
    found["statuses"] = PARSER_REGISTRY[spec.log_parser](case["log"], spec)
    print(json.dumps(found))
"""
PARSERS = ("parse_log_pytest", "parse_log_pytest_v2", "parse_log_pytest_options", "parse_log_seaborn")
NAMES = ["t.py::a", "t.py::ab", "t.py::c[x]", "t.py::d[y-z]", "t.py::e", "t.py::C::f", "t.py::g[2 3]", "t.py::g[2 4]"]
ORDER = ("PASSED", "SKIPPED", "XFAIL", "ERROR", "FAILED")  # of pytest's summary


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Their verdicts on many cases, from one process."""
    python = os.environ.get("SWEBENCH_PYTHON", sys.executable)
    probe = "import importlib.metadata as m; print(m.version('swebench'))"
    version = subprocess.run([python, "-c", probe], text=True, capture_output=True, check=False).stdout.strip()
    if not version.startswith("5."):
        pytest.skip(f"the package swebench 5 is not installed (found: {version or 'none'})")
    folder = tmp_path_factory.mktemp("swebench")

    def judge(cases: list[dict]) -> list[dict]:
        done = subprocess.run(
            [python, "-c", JUDGE, str(folder / "log.txt")],
            input="".join(json.dumps(case) + "\n" for case in cases),
            env={**os.environ, "HOME": str(folder), "PYTHONPATH": ""},
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return judge


def case(log: str, parser: str, fail_to_pass, pass_to_pass, *, eval_type: str = "pass_and_fail") -> dict:
    """What their judge gets; the log as the harness saves it."""
    spec = {"instance_id": "o__r-1", "log_parser": parser, "eval_type": eval_type}
    return {"log": log, "spec": spec | {"FAIL_TO_PASS": list(fail_to_pass), "PASS_TO_PASS": list(pass_to_pass)}}


def instance_of(one: dict, parser: str) -> Instance:
    spec = one["spec"]
    return Instance(
        "o__r-1", "o/r", "0" * 40, "", "d", "", tuple(spec["FAIL_TO_PASS"]), tuple(spec["PASS_TO_PASS"]),
        "python", "pytest", parser, "", row={"eval_type": spec["eval_type"], "version": "1.0", "instance_id": "o__r-1"},
    )  # fmt: skip


def ours(one: dict, parser: str) -> dict:
    """Our report on the same log."""
    tests, facts = harness.tests_of(one["log"])
    return report(grade(instance_of(one, parser), "x", tests, facts))["o__r-1"]


def saved(log: str, code: int) -> str:
    return f"+ : '>>>>> Start Test Output'\n{log}+ : '>>>>> End Test Output'\n>>>>> Test Exit Code: {code}\n"


def pytest_log(chosen: random.Random) -> tuple[str, int]:
    """A finished session's summary with random results, as `pytest -rA` prints it."""
    statuses = {name: chosen.choice(["PASSED"] * 6 + [*ORDER[1:], None]) for name in NAMES}
    passed = list(statuses.values()).count("PASSED")
    lines = []
    for status in ORDER:
        for name in (name for name in NAMES if statuses[name] == status):
            reason = " - assert x - y" if status in ("FAILED", "ERROR") else ""
            lines.append("SKIPPED [1] t.py:3: why" if status == "SKIPPED" else f"{status} {name}{reason}")
    head = "===== test session starts =====\n===== short test summary info =====\n"
    return head + "\n".join(lines) + f"\n===== {passed} passed in 0.10s =====\n", chosen.choice([0, 0, 1])


def test_verdicts_on_generated_pytest_logs_are_the_same(judged):
    """4,800 logs: statuses, absent tests, ids cut at a blank, exit codes; the whole report is compared."""
    chosen = random.Random(7)
    cases = []
    for _ in range(1200):
        log, code = pytest_log(chosen)
        required = [name.partition(" ")[0] for name in chosen.sample(NAMES, 5)]
        some = chosen.randint(1, 3)
        for parser in PARSERS:
            cases.append(case(saved(log, code), parser, required[:some], required[some:]))
    different = []
    for one, theirs in zip(cases, judged(cases), strict=True):
        our = ours(one, f"python/{one['spec']['log_parser']}")
        keys = ("resolved", "patch_exists", "patch_successfully_applied", "tests_status")
        # They call a rejected log's patch not applied; we say what happened to it.
        keys = keys if "tests_status" in theirs else ("resolved", "tests_status")
        if any(our.get(key) != theirs.get(key) for key in keys):
            different.append((one, our, theirs))
    assert len(cases) == 4800
    assert different == []


SUITE = """
import pytest, unittest
def test_good(): pass
def test_bad(): assert 1 == 2
def test_out(): print("PASSED by nobody"); raise RuntimeError("a - b")
@pytest.mark.skip(reason="no")
def test_skipped(): pass
@pytest.mark.xfail
def test_xfail(): assert 0
@pytest.mark.xfail
def test_xpass(): pass
@pytest.fixture
def broken(): raise ValueError("x")
def test_error(broken): pass
@pytest.mark.parametrize("x", ["a", "b c", "d - e", "[f]", "/srv/g/h", "é"])
def test_many(x): assert x != "b c"
class TestC:
    def test_m(self): pass
class TestU(unittest.TestCase):
    def test_u(self): pass
    def test_v(self): self.fail("no")
"""


def real_runs(folder: Path) -> list[tuple[str, str, set[str]]]:
    """Parser, log of a real run, and the tests to compare (none: all with a test's id).

    Their parsers also take lines for tests that a program printed.
    """
    (folder / "test_suite.py").write_text(SUITE)
    env = {k: v for k, v in os.environ.items() if k != "PYTEST_ADDOPTS"}
    runs = []
    for options in (["-rA"], ["-rA", "-v"], ["-rA", "-q", "--tb=no"]):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "test_suite.py"]
        log = subprocess.run(command, cwd=folder, env=env, text=True, capture_output=True, check=False).stdout
        runs += [(parser, log, set()) for parser in PARSERS]
    django = LOGS / "django"
    # Their parser takes "Applying auth.0012… OK" of a migration for a test as well.
    tests = set(json.loads((django / "expected.json").read_text())["statuses"])
    return [*runs, ("parse_log_django", (django / "verbose.log").read_text(), tests)]


def test_statuses_of_real_runs_are_the_same(judged, tmp_path):
    """Each test that they find in a real run passes or fails with us as it does with them."""
    runs = real_runs(tmp_path)
    cases = [case(saved(log, 1), parser, ["x"], []) for parser, log, _ in runs]
    compared = 0
    for one, theirs, (parser, _, tests) in zip(cases, judged(cases), runs, strict=True):
        names = [name for name in theirs["statuses"] if (name in tests if tests else "::" in name)]
        instance = replace(instance_of(one, f"python/{parser}"), fail_to_pass=tuple(names))
        verdict = grade(instance, "x", *harness.tests_of(one["log"]))
        assert verdict.tests is not None and names
        passing = {name for name in names if theirs["statuses"][name] in ("PASSED", "XFAIL")}
        assert (parser, set(verdict.tests.fail_to_pass_success)) == (parser, passing)
        compared += len(names)
    assert compared > 100

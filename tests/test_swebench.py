"""Equal to SWE-bench's grader where it defines the answer: the real package judges the same logs.

Needs version 5 (``get_eval_report`` with skipped tests, exit codes and cut ids as
``docs/formats.md`` describes them): :mod:`swebench_package`.
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
import swebench_package

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
    log = tmp_path_factory.mktemp("swebench") / "log.txt"

    def judge(cases: list[dict]) -> list[dict]:
        text = "".join(json.dumps(case) + "\n" for case in cases)
        return [json.loads(line) for line in swebench_package.run(JUDGE, str(log), text=text)]

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


OTHER_LANGUAGES = """
import contextlib, io, json, random, sys
from pathlib import Path
from types import SimpleNamespace
from swebench.harness.grading import get_eval_report
from swebench.harness.log_parsers import PARSER_REGISTRY
from trajmake.datasets.instance import Instance
from trajmake.grading import report
from trajmake.grading.parsers import known
from trajmake.grading.saved import grade_log

chosen = random.Random(11)
saved = Path(sys.argv[1])
depends = {"parse_log_jekyll": "jekyll__jekyll-9141", "parse_log_immutable_js": "immutable-js__immutable-js-2006"}
parsers = [name for name in PARSER_REGISTRY if f"python/{name}" not in known()]
different, read, resolved, compared = [], set(), 0, 0
for path in sorted(Path(sys.argv[2]).glob("*/*.log")):
    body = path.read_text(errors="replace")
    for parser in parsers:
        identity = depends.get(parser, "o__r-1")
        row = {"instance_id": identity, "repo": "o/r", "version": "1.0"}
        with contextlib.redirect_stdout(io.StringIO()):
            statuses = PARSER_REGISTRY[parser](body, SimpleNamespace(**row))
        read |= {parser} if statuses else set()
        ids = [*statuses, "absent"]
        passed = [name for name in statuses if statuses[name] == "PASSED"]
        some = (chosen.sample(ids, min(3, len(ids))), chosen.sample(ids, min(4, len(ids))))
        for f2p, p2p in [some, (passed[:3], passed[3:9])] if passed else [some]:
            kind = chosen.choice(["pass_and_fail", "fail_only"])
            code = chosen.choice([0, 1])
            end = f"+ : '>>>>> End Test Output'\\n>>>>> Test Exit Code: {code}\\n"
            saved.write_text(f"+ : '>>>>> Start Test Output'\\n{body}{end}")
            spec = SimpleNamespace(**row, log_parser=parser, eval_type=kind, FAIL_TO_PASS=f2p, PASS_TO_PASS=p2p)
            instance = Instance(
                identity, "o/r", "0" * 40, "", "d", "", tuple(f2p), tuple(p2p), "other", "true",
                f"swebench/{parser}", "", row=row | {"eval_type": kind},
            )
            with contextlib.redirect_stdout(io.StringIO()):
                theirs = get_eval_report(spec, {"instance_id": identity, "model_patch": "x"}, str(saved), True)
                ours = report(grade_log(instance, saved))
            theirs, ours = theirs[identity], ours[identity]
            compared += 1
            resolved += theirs["resolved"]
            # They say nothing of the tests of a log that they reject.
            keys = ("resolved", "tests_status") if "tests_status" in theirs else ("resolved",)
            if any(ours.get(key) != theirs.get(key) for key in keys):
                different.append([parser, str(path), kind, code, f2p, p2p])
print(json.dumps([compared, resolved, sorted(read), different]))
"""


def test_verdicts_of_other_languages_parsers_are_the_same(tmp_path):
    """Every parser of theirs that we have none for, on every recorded log of a real run: the whole report."""
    (line,) = swebench_package.run(OTHER_LANGUAGES, str(tmp_path / "log.txt"), str(LOGS))
    compared, resolved, read, different = json.loads(line)
    assert different == []
    assert compared > 2000 and resolved > 150
    assert {"parse_log_gotest", "parse_log_cargo", "parse_log_jest", "parse_log_maven", "parse_log_googletest"} <= set(
        read
    )

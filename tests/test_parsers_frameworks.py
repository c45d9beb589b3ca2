# ruff: noqa: RUF001 (the characters are the runners' own)
"""Parsers on real logs of every framework: recorded ones, and where the tool is here, fresh ones.

The suites, their logs, and the statuses that follow from the suites' sources are
in ``logs/``; ``python tests/logs/regenerate.py`` records the logs again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from logs.regenerate import HERE, Run, runs

from trajmake.datasets.instance import Instance
from trajmake.errors import ConfigError
from trajmake.grading import RunFacts, grade
from trajmake.grading.parsers import known, parse, read

RUNS = runs()
WORK = Path(os.environ.get("SUITE_WORK", "/tmp/suite"))
GOOD = ("PASSED", "XFAIL")

LANGUAGES = {
    "python": "pytest pytest_v2 pytest_v3 pytest_options unittest django sympy seaborn matplotlib tox",
    "javascript": "jest jest_json mocha_json vitest tap playwright",
    "typescript": "jest jest_json mocha_json vitest tap playwright",
    "go": "gotest_json gotest",
    "java": "junit maven gradle",
    "rust": "cargo_test",
    "ruby": "minitest rspec",
    "php": "phpunit",
    "c": "check_framework ctest meson",
    "cpp": "google_test catch2 ctest meson",
    "swelancer": "exitcode",
}
NAMES = {f"{language}/parse_log_{name}" for language, names in LANGUAGES.items() for name in names.split()}
NAMES |= {"parsers/ruby_minitest_parser.py"}


def name_of(run: Run) -> str:
    return f"{run.framework}-{run.name}"


def recorded(framework: str, name: str) -> str:
    """A recorded log."""
    return (HERE / framework / f"{name}.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_recorded_log(run: Run) -> None:
    """Every test of the suite has its status, nothing else is a test, and the log is believed."""
    reading = read(run.parser, run.log.read_text(encoding="utf-8"))
    assert reading.statuses == run.statuses
    assert reading.started
    assert reading.doubt == ""


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_logs_are_of_the_commands_that_stand_there(run: Run) -> None:
    """A changed command needs a new log: ``python tests/logs/regenerate.py FRAMEWORK``."""
    table = json.loads((run.log.parent / "recorded.json").read_text(encoding="utf-8"))
    assert table[run.name]["command"] == run.command
    assert table[run.name]["version"]


@pytest.mark.parametrize("run", [run for run in RUNS if run.live], ids=name_of)
def test_fresh_log(run: Run, tmp_path: Path) -> None:
    """The tool as it is here says the same as the one whose log was recorded."""
    missing = run.missing(WORK)
    if missing:
        pytest.skip(f"{', '.join(missing)} not found (on PATH, or under SUITE_WORK={WORK})")
    for tools in ("node_modules", "python"):
        if (WORK / tools).exists():
            (tmp_path / tools).symlink_to(WORK / tools)
    reading = read(run.parser, run.run(tmp_path))
    assert reading.statuses == run.statuses
    assert reading.doubt == ""


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_dress_does_not_matter(run: Run) -> None:
    """Exports indent every line but the first; terminals add colours and carriage returns."""
    log = run.log.read_text(encoding="utf-8")
    exported = log.replace("\n", "\n  ")
    assert parse(run.parser, exported) == run.statuses
    assert parse(run.parser, "\x1b[0m" + log.replace("\n", "\x1b[0m\r\n")) == run.statuses


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_two_runs_in_one_log(run: Run) -> None:
    """Several commands joined by ``;`` print one log behind the other."""
    log = run.log.read_text(encoding="utf-8")
    reading = read(run.parser, f"$ first\n{log}\n$ second\n{log}")
    assert reading.statuses == run.statuses
    assert reading.doubt == ""


# Cut between its two runs of Maven, this log is whole, and the class has passed so far.
CUTTABLE = [run for run in RUNS if name_of(run) != "maven-single"]


@pytest.mark.parametrize("run", CUTTABLE, ids=name_of)
def test_cut_log_invents_no_pass(run: Run) -> None:
    """A log that is cut anywhere names no pass that is none, unless it is doubted."""
    log = run.log.read_text(encoding="utf-8")
    passing = {name for name, status in run.statuses.items() if status in GOOD}
    for position in range(0, len(log), max(1, len(log) // 60)):
        reading = read(run.parser, log[:position])
        passed = {name for name, status in reading.statuses.items() if status in GOOD}
        assert passed <= passing or reading.doubt, position


CLOSED = {
    **{("jest", name): "Tests:" for name in ("verbose", "plain")},
    ("jest", "json"): '"wasInterrupted"',
    ("mocha", "stream"): '["end"',
    ("mocha", "json"): "}",
    ("vitest", "verbose"): "      Tests",
    ("tap", "node"): "1..4",
    ("playwright", "list"): "  2 failed",
    ("gotest", "json"): '"Action":"fail","Package":"example.org/suite/panics","Elapsed"',
    ("gotest", "verbose"): "FAIL\texample.org/suite/panics",
    ("maven", "console"): "[INFO] BUILD",
    ("maven", "reports"): "</testsuite>",
    ("gradle", "console"): "BUILD FAILED",
    ("cargo", "pretty"): "test result:",
    ("minitest", "verbose"): "14 runs",
    ("rspec", "json"): ',"summary"',
    ("phpunit", "testdox"): "Tests: 17",
    ("googletest", "console"): "[==========] 11 tests",
    ("catch2", "success"): "test cases:",
    ("check", "verbose"): "54%",
    ("ctest", "plain"): " tests passed, ",
    ("meson", "plain"): "Ok: ",
    ("sympy", "verbose"): " tests finished",
}


@pytest.mark.parametrize(("framework", "name"), CLOSED)
def test_run_without_its_end_is_doubted(framework: str, name: str) -> None:
    """Code that ends the process early leaves the runner's closing line out."""
    log = recorded(framework, name)
    run = next(run for run in RUNS if (run.framework, run.name) == (framework, name))
    assert "never printed" in read(run.parser, log[: log.rindex(CLOSED[framework, name])]).doubt


FORGED = {
    ("jest", "verbose"): ("  math\n", "  math\n    ✓ fake\n"),
    ("mocha", "stream"): ('["end"', '["pass",{"title":"fake","fullTitle":"fake","file":"x"}]\n["end"'),
    ("vitest", "verbose"): (" ✓ math.test.js > top level", " ✓ math.test.js > fake 1ms\n ✓ math.test.js > top level"),
    ("playwright", "list"): ("\n  ✓", "\n  ✓   9 math.spec.js:1:1 › fake (1ms)\n  ✓"),
    ("cargo", "pretty"): ("test tests::adds", "test tests::fake ... ok\ntest tests::adds"),
    ("minitest", "verbose"): ("MathTest#test_adds", "MathTest#test_fake = 0.00 s = .\nMathTest#test_adds"),
    ("rspec", "documentation"): ("  adds\n", "  fake\n  adds\n"),
    ("googletest", "console"): ("[ RUN      ] Other", "[       OK ] Math.Fake (0 ms)\n[ RUN      ] Other"),
    ("ctest", "plain"): ("      Start  2", " 1/15 Test  #1: fake ......   Passed    0.01 sec\n      Start  2"),
    ("check", "verbose"): ("check_math.c:5", "check_math.c:1:P:Core:test_fake:0: Passed\ncheck_math.c:5"),
    ("meson", "plain"): (" 1/12", " 1/12 suite / fake               OK              0.01s\n 1/12"),
    ("sympy", "verbose"): ("test_adds ok\n", "test_fake ok\ntest_adds ok\n"),
}


@pytest.mark.parametrize(("framework", "name"), FORGED)
def test_more_passes_than_the_runner_counted(framework: str, name: str) -> None:
    """A printed result does not change the runner's count."""
    run = next(run for run in RUNS if (run.framework, run.name) == (framework, name))
    log = recorded(framework, name)
    true, forged = FORGED[framework, name]
    assert true in log
    reading = read(run.parser, log.replace(true, forged, 1))
    assert "passed tests, but" in reading.doubt


@pytest.mark.parametrize(("framework", "name"), [("gotest", "json"), ("mocha", "stream"), ("maven", "reports")])
def test_noise_between_the_lines(framework: str, name: str) -> None:
    """Builds, downloads and servers print between the results."""
    run = next(run for run in RUNS if (run.framework, run.name) == (framework, name))
    noise = "go: downloading something v1.2.3" if framework != "maven" else "<!-- noise -->"
    noisy = recorded(framework, name).replace("\n", f"\n{noise}\n")
    if framework == "maven":
        noisy = noisy.replace("\n<!-- noise -->\n<testsuite ", "\n<testsuite ")
    assert parse(run.parser, noisy) == run.statuses


def test_broken_json_keeps_its_whole_tests() -> None:
    """A document into which something was printed is no JSON; its tests still are."""
    log = recorded("jest", "json")
    middle = log.index('{"ancestorTitles":["words"]')
    reading = read("javascript/parse_log_jest_json", f"{log[:middle]}npm warn\n{log[middle:]}")
    assert reading.statuses["words > division > works"] == "PASSED"
    assert reading.statuses["math > division > fails"] == "FAILED"
    assert reading.doubt


SPELLINGS = {
    ("jest", "verbose"): {"adds": "PASSED", "math division works": "PASSED", "throws": "FAILED", "works": "PASSED"},
    ("jest", "json"): {"math adds": "PASSED", "division": None, "slow": "PASSED"},
    ("mocha", "json"): {"adds": "PASSED", "parameter 2": "FAILED", "math": None},
    ("vitest", "verbose"): {"math > adds": "PASSED", "throws": "FAILED", "math > division": None},
    ("tap", "node"): {"- works": "PASSED", "throws": "FAILED"},
    ("playwright", "list"): {"math.spec.js:4:3 › math › adds": "PASSED", "math › division › times out": "FAILED"},
    ("gotest", "json"): {"TestTable/two_words": "PASSED", "TestBefore": "PASSED", "TestTable/bad": "FAILED"},
    ("maven", "reports"): {'"org.example.MathTest.adds"': "PASSED", '"org.example.MathTest.raises"': "ERROR"},
    ("gradle", "console"): {"org.example.MathTest.adds": "PASSED", '"org.example.MathTest.fails"': "FAILED"},
    ("cargo", "pretty"): {"tests::panics_as_it_must - should panic": "PASSED"},
    ("rspec", "json"): {"./spec/math_spec.rb[1:1]": "PASSED", "./spec/math_spec.rb[1:10:2:3]": "FAILED"},
    ("phpunit", "testdox"): {
        "Suite\\Tests\\MathTest::test_snake_case": "PASSED",
        "Suite\\Tests\\Math::testAdds": "PASSED",
        "Suite\\Tests\\MathTest::testSums": "FAILED",
        "Math (Suite\\Tests\\Math) > Adds": None,
        "Math > Adds": "PASSED",
    },
    ("phpunit", "debug"): {"Suite\\Tests\\MathTest::testSums": "FAILED"},
    ("googletest", "xml"): {"Adds": "PASSED", "Math.Fails": "FAILED"},
    ("catch2", "junit"): {"sections": "FAILED", "good sections": "PASSED", "adds": "PASSED"},
    ("check", "verbose"): {"test_exits": "ERROR", "check_math.c:9": "ERROR", "test_adds": "PASSED"},
    ("meson", "plain"): {"two words": "PASSED", "crashes": "FAILED"},
    ("automake", "check"): {"suite.adds.sh": "PASSED", "suite.fails.sh": "FAILED"},
    ("sympy", "verbose"): {"test_adds": "PASSED", "test_raises": "ERROR"},
}


@pytest.mark.parametrize(("framework", "name"), SPELLINGS)
def test_other_ids_that_datasets_have(framework: str, name: str) -> None:
    """An id is found in another harness's spelling; several tests that share one must all have passed."""
    run = next(run for run in RUNS if (run.framework, run.name) == (framework, name))
    found = read(run.parser, recorded(framework, name)).by_any_id
    assert {spelling: found.get(spelling) for spelling in SPELLINGS[framework, name]} == SPELLINGS[framework, name]


@pytest.mark.parametrize(
    ("framework", "name", "required", "maintained", "resolved"),
    [
        ("gotest", "json", "example.org/suite/calc/TestTable/two_words", "example.org/suite/calc/TestSkip", True),
        ("gotest", "json", "example.org/suite/calc/TestSkip", "example.org/suite/calc/TestAdd", False),
        ("jest", "verbose", "adds", "works", True),
        ("jest", "verbose", "throws", "works", False),
        ("maven", "reports", '"org.example.MathTest.adds"', "org.example.MathTest.disabled", True),
        ("minitest", "verbose", "MathTest::NestedTest#test_works", "MathTest#test_raises", False),
        ("phpunit", "testdox", "Suite\\Tests\\MathTest::test_snake_case", "OtherTest::testWorks", True),
    ],
)
def test_verdict_by_any_spelling(framework: str, name: str, required: str, maintained: str, resolved: bool) -> None:
    """What a row requires is looked up under all the ids of the log's tests."""
    run = next(run for run in RUNS if (run.framework, run.name) == (framework, name))
    instance = Instance(
        instance_id="o__r-1",
        repo="o/r",
        base_commit="0" * 40,
        problem_statement="",
        patch="",
        test_patch="",
        fail_to_pass=(required,),
        pass_to_pass=(maintained,),
        language="",
        test_command=run.command,
        test_output_parser=run.parser,
        image_storage_uri="",
    )
    facts = RunFacts(exit_code=1, patch_exists=True, patch_applied=True, test_patch_applied=True, head_commit="1" * 40)
    verdict = grade(instance, "diff", recorded(framework, name), facts)
    assert verdict.resolved is resolved and verdict.tests is not None


def test_mocha_ids_with_the_files_digest() -> None:
    """Some datasets tell tests of one title apart by their file's path."""
    log = '["start",{"total":1}]\n["pass",{"title":"adds","fullTitle":"math adds","file":"/app/repo/test/a.js"}]\n'
    found = read("javascript/parse_log_mocha_json", log + '["end",{"passes":1}]').by_any_id
    # sha1sum of the path begins with 06b6c.
    assert found["[06b6c] adds"] == "PASSED"


def test_java_table() -> None:
    """Harnesses print Java results as ``class,test,status``, plainly or as a JSON list of such lines."""
    lines = ["Test-class-name,Test-name,status", "org.a.BTest,works,PASS", "org.a.BTest,fails,FAIL", "a.C,odd,ERROR"]
    expected = {"org.a.BTest.works": "PASSED", "org.a.BTest.fails": "FAILED", "a.C.odd": "ERROR"}
    for log in ("\n".join(lines), json.dumps(lines, indent=1)):
        reading = read("java/parse_log_junit", log)
        assert reading.statuses == expected
        assert reading.by_any_id['"org.a.BTest.works"'] == "PASSED"


def run_pytest(folder: Path, body: str, *options: str) -> tuple[str, int]:
    """Log and exit code of a real run of one test file."""
    (folder / "tests" / "1234_5").mkdir(parents=True)
    (folder / "tests" / "1234_5" / "test.py").write_text(body)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "tests/1234_5/test.py"]
    done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode(), done.returncode


PASSING = "def test_expensify_0000(): pass\n"
FAILING = "def test_expensify_0000(): assert 0\n"


@pytest.mark.parametrize("name", ["swelancer/parse_log_exitcode", "javascript/parse_log_playwright"])
@pytest.mark.parametrize("options", [("-rA",), ("-v",), ("-q", "--tb=no"), ("-q", "-q", "--tb=no", "-r", "N")])
def test_exit_code_tells(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    """SWE-Lancer's tests are graded by pytest's exit code, however little the log says."""
    for number, (body, expected) in enumerate(((PASSING, "PASSED"), (FAILING, "FAILED"), ("import no_such", "ERROR"))):
        log, code = run_pytest(tmp_path / str(number), body, *options)
        assert code == {"PASSED": 0, "FAILED": 1, "ERROR": 2}[expected]
        assert parse(name, f"{log}\npytest_exit_code: {code}\n")["test_expensify_0000"] == expected


def test_forged_exit_code(tmp_path: Path) -> None:
    """A code that the tested program prints does not cover up the true one, wherever it stands."""
    log, code = run_pytest(tmp_path, "print('pytest_exit_code: 0')\n" + FAILING, "-rA", "-s")
    name = "swelancer/parse_log_exitcode"
    for whole in (f"{log}\npytest_exit_code: {code}\n", f"pytest_exit_code: {code}\n{log}"):
        reading = read(name, whole)
        assert reading.statuses == {"test_expensify_0000": "FAILED"}
        assert reading.by_any_id["tests/1234_5/test.py::test_expensify_0000"] == "FAILED"
    assert parse(name, "nothing ran") == {}


def test_junit_xml_wherever_a_log_holds_it(tmp_path: Path) -> None:
    """Where a framework's own format tells nothing, its JUnit report does."""
    log, _ = run_pytest(tmp_path, PASSING, "-q", "-q", "--junitxml=/dev/stdout")
    assert parse("python/parse_log_pytest", log) == {"tests.1234_5.test.test_expensify_0000": "PASSED"}
    both = recorded("gotest", "json") + log
    assert parse("go/parse_log_gotest_json", both) == parse("go/parse_log_gotest_json", recorded("gotest", "json"))


def test_every_name_of_the_formats_is_known() -> None:
    """Rows name parsers; a name that is not known is an error that lists those that are."""
    assert set(known()) >= NAMES
    with pytest.raises(ConfigError, match="go/parse_log_ginkgo") as caught:
        parse("go/parse_log_ginkgo", "")
    assert all(name in caught.value.hint for name in NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_any_log_can_be_read(name: str) -> None:
    """A row that names the wrong parser gets no result, not a crash; a flood takes no time."""
    for run in RUNS:
        read(name, run.log.read_text(encoding="utf-8"))
    noise = "[{\"ok - <testsuite 12/34 Test #1: --- = (a) > b › c ✓ 1.2 s = test x ... PASS: y ' \n" * 3000
    for log in (noise, noise.replace("\n", " ")):
        start = time.thread_time()
        read(name, log)
        assert time.thread_time() - start < 5

"""Parsers on real logs: small suites are run here, and their logs read back.

Each suite holds what has gone wrong in real logs: parameters with blanks,
brackets and " - ", failures in teardown, subtests, docstrings, printed results.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trajmake.errors import ConfigError
from trajmake.grading.log import clean, read_log
from trajmake.grading.matching import Statuses, unittest_id
from trajmake.grading.parsers import known, parse, read

PYTEST_SUITE = """
import unittest
import pytest

@pytest.mark.parametrize("x", ["a b", "a - b", "[1, 2]", "x]y", "PASSED b", "::", "a] - b", "é"])
def test_param(x):
    print("PASSED test_shapes.py::test_printed")
    print("FAILED test_shapes.py::test_param[a b] - printed too")

@pytest.mark.parametrize("x", ["a b", "a - b", "[1, 2]", "x]y"])
def test_param_fails(x):
    print("PASSED test_shapes.py::test_param_fails[" + x + "]")
    assert x == "no - thing"

def test_fail(): assert 1 == 2, "why - not [x] - y"

@pytest.fixture
def broken(): raise RuntimeError("b - r")
def test_error(broken): pass

@pytest.fixture
def late():
    yield
    raise RuntimeError("teardown")
def test_teardown(late): pass

@pytest.mark.skip(reason="no - reason")
def test_skip(): pass
@pytest.mark.xfail(reason="known - bug")
def test_xfail(): assert 0
@pytest.mark.xfail(reason="known")
def test_xpass(): assert 1
@pytest.mark.xfail(strict=True, reason="s")
def test_strict(): assert 1

class TestC(unittest.TestCase):
    def test_m(self):
        with self.subTest(i=1): self.assertEqual(1, 2)
    def test_ok(self): pass
"""

PYTEST_TRUTH = {
    **{f"test_param[{x}]": "PASSED" for x in ("a b", "a - b", "[1, 2]", "x]y", "PASSED b", "::", "a] - b", "\\xe9")},
    **{f"test_param_fails[{x}]": "FAILED" for x in ("a b", "a - b", "[1, 2]", "x]y")},
    "test_fail": "FAILED",
    "test_error": "ERROR",
    "test_teardown": "ERROR",
    "test_xfail": "XFAIL",
    "test_strict": "FAILED",
    "TestC::test_m": "FAILED",
    "TestC::test_ok": "PASSED",
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pytest suite and a file that cannot be collected."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_shapes.py").write_text(PYTEST_SUITE, encoding="utf-8")
    (folder / "test_broken.py").write_text("import nothing_of_this_name\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


def run_pytest(folder: Path, *options: str) -> str:
    """The log of a real run in ``folder``."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors", *options]
    done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode()


def truth(**extra: str) -> dict[str, str]:
    """The suite's results with whole ids."""
    tests = {f"test_shapes.py::{name}": status for name, status in (PYTEST_TRUTH | extra).items()}
    return tests | {"test_broken.py": "ERROR"}


@pytest.fixture(scope="module")
def summary_log(suite: Path) -> str:
    """The log that most datasets ask for, with captured output of passing tests."""
    return run_pytest(suite, "--no-header", "-rA")


def test_summary_lines(summary_log: str) -> None:
    """Reasons go, ids stay whole; what a test printed is no result; a skip names no test."""
    assert "PASSED test_shapes.py::test_printed" in summary_log
    reading = read("python/parse_log_pytest", summary_log)
    assert reading.statuses == truth()
    assert reading.started and not reading.doubt


@pytest.mark.parametrize("name", ["_v2", "_v3", "_options"])
def test_other_names_read_the_same(summary_log: str, name: str) -> None:
    """The names stand for SWE-bench's repositories; whole ids serve them all."""
    assert parse(f"python/parse_log_pytest{name}", summary_log) == truth()


def test_verbose_lines(suite: Path) -> None:
    """Without a summary the progress lines tell, and name what is skipped."""
    expected = truth(test_skip="SKIPPED")
    del expected["test_broken.py"]
    log = run_pytest(suite, "-v", "-r", "N", "test_shapes.py", "--tb=no")
    assert "short test summary" not in log
    # The subtest's failure stands on no progress line of its own in every version.
    expected["test_shapes.py::TestC::test_m"] = parse("python/parse_log_pytest", log)["test_shapes.py::TestC::test_m"]
    assert parse("python/parse_log_pytest", log) == expected


def test_xdist_lines(suite: Path) -> None:
    """Workers put ``[gw0] [ 10%]`` before the status and the id behind it."""
    pytest.importorskip("xdist")
    log = run_pytest(suite, "-v", "-n", "2", "-r", "N", "--tb=no", "test_shapes.py")
    assert "[gw1]" in log
    statuses = parse("python/parse_log_pytest", log)
    assert statuses["test_shapes.py::test_param[a - b]"] == "PASSED"
    assert statuses["test_shapes.py::test_param_fails[[1, 2]]"] == "FAILED"
    assert statuses["test_shapes.py::test_skip"] == "SKIPPED"


@pytest.mark.parametrize("options", [("--color=yes",), ("-q",), ("--tb=no", "-vv")])
def test_dress_does_not_matter(suite: Path, options: tuple[str, ...]) -> None:
    """Colours, quiet and doubly verbose logs say the same."""
    statuses = parse("python/parse_log_pytest", run_pytest(suite, "-rA", *options))
    assert {name: status for name, status in statuses.items() if status != "SKIPPED"} == truth()


def test_exported_log(summary_log: str) -> None:
    """An export indents every line but the first, ends lines with CR LF, and is read the same."""
    exported = summary_log.replace("\n", "\n  ")
    assert parse("python/parse_log_pytest", exported) == truth()
    assert parse("python/parse_log_pytest", exported.replace("\n", "\r\n")) == truth()


def test_cut_log_invents_no_test(summary_log: str) -> None:
    """Cut anywhere, a log names only tests that exist, and is doubted where its end is missing."""
    names = set(truth())
    start, end = summary_log.index("short test summary"), summary_log.rindex("\n=")
    for position in range(start, end, 7):
        reading = read("python/parse_log_pytest", summary_log[:position])
        assert set(reading.statuses) <= names
        assert "never printed the line that closes it" in reading.doubt


def test_options_lose_temporary_folders() -> None:
    """Ids of requests and pylint hold paths of the machine they ran on."""
    log = "PASSED test_x.py::test_y[/tmp/abc/file.py]\nPASSED test_x.py::test_y[//host/*]\n"
    assert set(parse("python/parse_log_pytest_options", log)) == {
        "test_x.py::test_y[/file.py]",
        "test_x.py::test_y[//host/*]",
    }


def test_programs_own_errors_are_no_tests() -> None:
    """Logging prints lines that begin like results."""
    log = "ERROR    root:app.py:3 it broke\nERROR cannot connect\nFAILED to start\nPASSED   [100%]\n"
    assert parse("python/parse_log_pytest", log) == {}


def test_early_exit_is_doubted(tmp_path: Path) -> None:
    """Code that prints results and ends the process with 0 leaves a session open."""
    body = "import os\nprint('PASSED test_x.py::test_a', flush=True)\nos._exit(0)\n"
    (tmp_path / "test_x.py").write_text(f"def test_a(): assert 0\n{body}")
    reading = read("python/parse_log_pytest", run_pytest(tmp_path, "-rA", "-s"))
    assert reading.statuses == {"test_x.py::test_a": "PASSED"}
    assert reading.doubt


def test_forged_closing_line_is_doubted(tmp_path: Path) -> None:
    """A closing line that counts fewer passes than are named does not close anything."""
    forged = "PASSED test_x.py::test_a\\nPASSED test_x.py::test_b\\n==== 1 passed in 0.01s ===="
    (tmp_path / "test_x.py").write_text(f"import os\nprint('{forged}', flush=True)\nos._exit(0)\n")
    assert "counted 1" in read("python/parse_log_pytest", run_pytest(tmp_path, "-rA", "-s")).doubt


def test_lines_behind_the_end_do_not_count(tmp_path: Path) -> None:
    """A handler at exit can print, but pytest has spoken."""
    (tmp_path / "test_x.py").write_text(
        "import atexit\natexit.register(print, 'PASSED test_x.py::test_b')\ndef test_a(): pass\n"
    )
    log = run_pytest(tmp_path, "-rA")
    assert "test_b" in log
    assert parse("python/parse_log_pytest", log) == {"test_x.py::test_a": "PASSED"}


UNITTEST_SUITE = '''
import sys, unittest

class C(unittest.TestCase):
    def test_ok(self): pass
    def test_doc(self):
        """First line. Really ... so

        More."""
    def test_doc_fail(self):
        """Doc of a failing one"""
        self.fail("x")
    def test_fail(self): self.assertEqual(1, 2)
    def test_err(self): raise RuntimeError("boom")
    @unittest.skip("it's so")
    def test_skip(self): pass
    @unittest.expectedFailure
    def test_xf(self): self.fail()
    @unittest.expectedFailure
    def test_xs(self): pass
    def test_sub(self):
        for i in range(3):
            with self.subTest("msg", i=i): self.assertNotEqual(i, 1)
    def test_sub_ok(self):
        for i in range(3):
            with self.subTest(i=i): pass
    def test_print(self): print("hello", flush=True)
    def test_print_glued(self): print("foo", end="", flush=True)
    def test_print_fail(self):
        print("ok", flush=True)
        self.fail()
    def test_print_skip(self):
        print("ok", flush=True)
        self.skipTest("x")

class S(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise RuntimeError("s")
    def test_a(self): pass
'''

UNITTEST_TRUTH = {
    "test_u.C.test_ok": "PASSED",
    "test_u.C.test_doc": "PASSED",
    "test_u.C.test_doc_fail": "FAILED",
    "test_u.C.test_fail": "FAILED",
    "test_u.C.test_err": "ERROR",
    "test_u.C.test_skip": "SKIPPED",
    "test_u.C.test_xf": "XFAIL",
    "test_u.C.test_xs": "FAILED",
    "test_u.C.test_sub": "FAILED",
    "test_u.C.test_sub_ok": "PASSED",
    "test_u.C.test_print": "PASSED",
    "test_u.C.test_print_glued": "PASSED",
    "test_u.C.test_print_fail": "FAILED",
    "test_u.C.test_print_skip": "SKIPPED",
    "test_u.S.setUpClass": "ERROR",
    "unittest.loader._FailedTest.test_bad": "ERROR",
}


def interpreters() -> list[str]:
    """This interpreter, and what other versions of Python answer on PATH."""
    found = [sys.executable]
    for minor in range(8, 16):
        path = shutil.which(f"python3.{minor}")
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            found.append(path)
    return found


def run_unittest(folder: Path, python: str = sys.executable) -> str:
    """The log of a real verbose run."""
    (folder / "test_u.py").write_text(UNITTEST_SUITE)
    (folder / "test_bad.py").write_text("import nothing_of_this_name\n")
    command = [python, "-m", "unittest", "-v"]
    return subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
def test_unittest(tmp_path: Path, python: str) -> None:
    """One id for a test whatever the version prints, failures hidden behind a printed "ok" included."""
    reading = read("python/parse_log_unittest", run_unittest(tmp_path, python))
    assert reading.statuses == UNITTEST_TRUTH
    assert reading.started and not reading.doubt


def test_django_names(tmp_path: Path) -> None:
    """Django's rows have ``test_x (m.C)``, and the docstring where there is one."""
    statuses = parse("python/parse_log_django", run_unittest(tmp_path))
    found = Statuses(statuses)
    assert found.status("test_ok (test_u.C)") == "PASSED"
    assert found.status("First line. Really") is None
    assert found.status("First line. Really ... so") == "PASSED"
    assert found.status("test_fail (test_u.C)") == "FAILED"


def test_unittest_early_exit_is_doubted(tmp_path: Path) -> None:
    """A test that prints its neighbours' results and ends the process with 0 is not believed."""
    (tmp_path / "test_x.py").write_text(
        "import os, unittest\nclass C(unittest.TestCase):\n  def test_a(self):\n"
        "    print('ok', flush=True)\n    print('test_b (test_x.C.test_b) ... ok', flush=True)\n    os._exit(0)\n"
    )
    command = [sys.executable, "-m", "unittest", "-v", "test_x"]
    log = subprocess.run(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout
    reading = read("python/parse_log_unittest", log)
    assert reading.statuses["test_x.C.test_b"] == "PASSED"
    assert "never printed" in reading.doubt


def test_unknown_name_lists_the_known() -> None:
    """Never a silent fall-back."""
    with pytest.raises(ConfigError, match="parse_log_pytest_v9") as caught:
        parse("python/parse_log_pytest_v9", "")
    assert all(name in caught.value.hint for name in known())


def test_every_name_has_a_function() -> None:
    """A line of the table that leads nowhere would be found by a user."""
    for name in known():
        assert parse(name, "") == {}


def test_cut_ids_match_by_prefix_only_where_all_agree() -> None:
    """Trap 1: ids of datasets are cut at their first blank."""
    found = Statuses(
        {"t.py::x[a b]": "PASSED", "t.py::x[a c]": "XFAIL", "t.py::y[a b]": "PASSED", "t.py::y[a c]": "FAILED"}
    )
    assert found.status("t.py::x[a") in ("PASSED", "XFAIL")
    assert found.status("t.py::y[a") is None
    assert found.status("t.py::x") is None


def test_ids_never_match_by_substring() -> None:
    """Trap 2: one test's id is another's beginning."""
    found = Statuses({"t.py::test_ab": "PASSED", "t.py::test_b[x]": "PASSED", "m.C.test_ab": "PASSED"})
    for name in ("t.py::test_a", "t.py::test_b", "test_ab", "m.C.test_a", "C.test_ab"):
        assert found.status(name) is None


def test_unittest_spellings() -> None:
    """Trap 4: one test has three names."""
    for name in ("test_x (m.C)", "test_x (m.C.test_x)", "m.C.test_x.test_x", "m.C.test_x"):
        assert unittest_id(name) == "m.C.test_x"
        assert Statuses({"m.C.test_x": "PASSED"}).status(name) == "PASSED"
        assert Statuses({name: "FAILED"}).status("m.C.test_x") == "FAILED"
    assert unittest_id("t.py::test_x") == "t.py::test_x"


def test_long_log_loses_its_middle(tmp_path: Path) -> None:
    """A log of any size is graded in bounded memory, by whole lines."""
    path = tmp_path / "log"
    lines = [f"PASSED t.py::test_{number}" for number in range(20_000)]
    path.write_text("\n".join(lines) + "\n")
    text = read_log(path, limit=100_000)
    assert len(text) < 100_100 and "left out here" in text
    statuses = parse("python/parse_log_pytest", text)
    assert "t.py::test_0" in statuses and "t.py::test_19999" in statuses
    assert set(statuses) < {line.split()[1] for line in lines}


def test_clean_keeps_what_is_no_dress() -> None:
    """A log in which only some lines are indented is no export."""
    assert clean("a\n  b\nc\n") == "a\n  b\nc\n"
    assert clean("a\n  b\n\n    c\n  ") == "a\nb\n\n  c\n"

"""Test runs on a small real project: real git, real pytest, honest and hostile patches.

The project stands in a folder of the test and its "container" is this machine
(:mod:`local_container`); the engines' own suite shows that containers keep to
the same protocol.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
from local_container import LocalContainer

from trajmake import workspace
from trajmake.datasets.instance import Instance
from trajmake.errors import DatasetError, EnvironmentBrokenError
from trajmake.evaluation import eval_script, run_tests
from trajmake.evaluation.protection import protected_paths
from trajmake.grading import RunFacts, State, Verdict, grade, read_log
from trajmake.trajectories import patch as patches

IDENTITY = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_NAME": "a" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "a@example.org" for who in ("AUTHOR", "COMMITTER")},
}

CALC = "def add(a, b):\n    return a - b\n\n\ndef one():\n    return 1\n"
TESTS = "from calc import add, one\n\n\ndef test_one():\n    assert one() == 1\n"
NEW_TESTS = (
    TESTS + "\n\ndef test_add():\n    assert add(2, 2) == 4\n\n\ndef test_names():\n    assert add('a', 'b') == 'ab'\n"
)
OTHER = "import calc\n\n\ndef test_other():\n    assert calc.one() == 1\n"
FIX = CALC.replace("a - b", "a + b")


def shell(folder: Path, script: str) -> str:
    """Run a script in ``folder`` and give its output."""
    env = {**os.environ, **IDENTITY}
    return subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=env, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def write(folder: Path, files: dict[str, str | None]) -> None:
    """Write files; None deletes."""
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


class Project:
    """The repository, its row, and a way to get verdicts on changes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "repo"
        self.container = LocalContainer(folder)
        self.instance: Instance

    def build(self) -> Self:
        """Make the repository and its row."""
        self.work.mkdir()
        write(
            self.work,
            {
                "calc.py": CALC,
                "tests/test_calc.py": TESTS,
                "tests/test_other.py": OTHER,
                "tests/conftest.py": "import os, sys\nsys.path.insert(0, os.getcwd())\n",
                "data.txt": "first\r\nsecond\f\r\n",
                ".gitignore": "*.pyc\n__pycache__\n",
                "setup.cfg": "[tool:pytest]\naddopts = --strict-markers\n",
            },
        )
        shell(self.work, "git init -q -b main; git add -A; git commit -qm base")
        self.instance = Instance(
            instance_id="o__calc-1",
            repo="o/calc",
            base_commit=shell(self.work, "git rev-parse HEAD").strip(),
            problem_statement="add subtracts",
            patch=self.diff({"calc.py": FIX}),
            test_patch=self.diff({"tests/test_calc.py": NEW_TESTS}),
            fail_to_pass=("tests/test_calc.py::test_add", "tests/test_calc.py::test_names"),
            pass_to_pass=("tests/test_calc.py::test_one", "tests/test_other.py::test_other"),
            language="python",
            test_command=f"{shlex.quote(sys.executable)} -m pytest -rA --tb=short -p no:cacheprovider tests",
            test_output_parser="python/parse_log_pytest",
            image_storage_uri="",
            repo_path=str(self.work),
        )
        return self

    def copy(self, folder: Path) -> Project:
        """The same project for one test."""
        shutil.copytree(self.work, folder / "repo", symlinks=True)
        other = Project(folder)
        other.instance = self.instance
        return other

    def diff(self, files: dict[str, str | None]) -> str:
        """The patch that these changes make; the repository stays at its base."""
        tree = patches.start(self.container, str(self.work))
        write(self.work, files)
        text = patches.extract(self.container, str(self.work), tree)
        shell(self.work, "git checkout -q .; git clean -fdq")
        return text

    def run(self, patch: str, instance: Instance | None = None, timeout: float = 60) -> tuple[RunFacts, Verdict]:
        """Test a patch in a fresh copy and grade it."""
        fresh = self.folder / "fresh"
        instance = replace(instance or self.instance, repo_path=str(fresh))
        log = self.folder / "test_output.txt"
        facts = run_tests(instance, patch, self.fresh, timeout=timeout, log=log, engine="local")
        assert RunFacts.from_dict(facts.to_dict()) == facts
        assert not (self.folder / ".trajmake-fresh").exists()
        return facts, grade(instance, patch, read_log(log), facts)

    def fresh(self) -> LocalContainer:
        """A container whose repository is as the image brings it."""
        shell(self.folder, "rm -rf fresh; cp -a repo fresh")
        return self.container

    def log(self) -> str:
        """The last run's output."""
        return (self.folder / "test_output.txt").read_text()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, built once."""
    return Project(tmp_path_factory.mktemp("project")).build()


@pytest.fixture
def project(original: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose ``add`` subtracts."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setattr(workspace, "ENVIRONMENTS", ("/nowhere/ENV",))
    return original.copy(tmp_path)


def test_gold_patch_resolves(project: Project) -> None:
    """The true fix: applied by the first method, all required tests as they must be."""
    facts, verdict = project.run(project.instance.patch)
    assert (facts.patch_method, facts.exit_code, facts.test_patch_applied) == ("git apply", 0, True)
    assert (facts.base_commit_found, facts.warnings, facts.engine) == (True, (), "local")
    assert verdict.state is State.RESOLVED
    assert verdict.passed == 4


def test_empty_patch_does_not(project: Project) -> None:
    """The bug is really there, and what passed before still passes."""
    facts, verdict = project.run("")
    assert not facts.patch_exists
    assert verdict.state is State.EMPTY_PATCH
    assert verdict.tests is not None
    assert verdict.tests.fail_to_pass_failed == project.instance.fail_to_pass
    assert verdict.tests.pass_to_pass_success == project.instance.pass_to_pass


def test_wrong_fix_is_unresolved(project: Project) -> None:
    """Half a fix, and one that breaks what worked."""
    half = project.diff({"calc.py": CALC.replace("a - b", "abs(a) + abs(b)")})
    _, verdict = project.run(half)
    assert verdict.tests is not None
    assert verdict.state is State.UNRESOLVED
    assert verdict.tests.fail_to_pass_failed == ("tests/test_calc.py::test_names",)
    _, verdict = project.run(project.diff({"calc.py": FIX.replace("return 1", "return 2")}))
    assert verdict.tests is not None
    assert verdict.state is State.UNRESOLVED
    assert verdict.tests.pass_to_pass_failed == project.instance.pass_to_pass


def test_syntax_error_is_the_models(project: Project) -> None:
    """No test runs, but the patch is why."""
    _, verdict = project.run(project.diff({"calc.py": "def add(:\n"}))
    assert verdict.state is State.UNRESOLVED
    in_conftest = replace(project.instance, patch="", test_patch=project.instance.test_patch)
    write(project.work, {"tests/conftest.py": "import os, sys\nsys.path.insert(0, os.getcwd())\nimport calc\n"})
    shell(project.work, "git commit -qam 'conftest imports the package'")
    _, verdict = project.run(project.diff({"calc.py": "def add(:\n"}), in_conftest)
    assert verdict.state is State.UNRESOLVED
    assert "calc.py" in verdict.message


def test_patch_without_final_newline(project: Project) -> None:
    """Trap 3: git says "corrupt patch" to the model's and to the tests'."""
    instance = replace(project.instance, test_patch=project.instance.test_patch.removesuffix("\n"))
    _, verdict = project.run(project.instance.patch.removesuffix("\n"), instance)
    assert verdict.resolved


def test_stale_context_is_merged(project: Project) -> None:
    """A patch against other neighbours: git cannot, a three-way merge or patch can."""
    moved = "# new first line\n" + CALC.replace("    return 1", "    return 1  # one")
    fix = project.instance.patch
    write(project.work, {"calc.py": moved})
    shell(project.work, "git commit -qam moved")
    facts, verdict = project.run(fix)
    assert facts.patch_method == "git apply --3way"
    assert verdict.resolved
    assert "is not the base commit" in facts.warnings[0]


def test_fuzz_is_the_last_resort(project: Project) -> None:
    """Context that exists nowhere: neither git's way works, patch takes it with fuzz."""
    diff = (
        "--- a/calc.py\n+++ b/calc.py\n@@ -1,4 +1,4 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n \n #\n"
    )
    facts, verdict = project.run(diff)
    assert facts.patch_method == "patch"
    assert verdict.resolved
    # The copy is the control run's, which changes the tests. No `.orig` beside what was patched.
    assert shell(project.folder / "fresh", "git status --porcelain -- . ':!tests'") == " M calc.py\n"


def test_half_a_patch_never_stays(project: Project) -> None:
    """One file applies and the other does not: unresolved, and the tree is as before."""
    broken = project.instance.patch + "--- a/data.txt\n+++ b/data.txt\n@@ -1,2 +1,2 @@\n-never\n+ever\n there\n"
    write(project.work, {"untracked.txt": "of the image\n", "data.txt": "dirty of the image\n"})
    facts, verdict = project.run(broken)
    assert verdict.state is State.UNRESOLVED
    assert (facts.patch_applied, facts.exit_code) == (False, None)
    assert "git apply --3way: " in facts.patch_error and "patch: " in facts.patch_error
    assert "does not apply" in project.log()
    fresh = project.folder / "fresh"
    assert shell(fresh, "git status --porcelain") == " M data.txt\n?? untracked.txt\n"
    assert (fresh / "calc.py").read_text() == CALC


def test_line_ends_survive(project: Project) -> None:
    """CR LF and form feeds in both patches, a rename and a new file in the tests'."""
    test = "def test_bytes():\n    assert open('data.txt', 'rb').read() == b'first\\r\\nSECOND\\f\\r\\n'\n"
    tests = {
        "tests/test_data.py": test,
        "tests/test_other.py": None,
        "tests/test_moved.py": OTHER,
        "tests/x.bin": "\r\n\f",
    }
    instance = replace(
        project.instance,
        test_patch=project.diff(tests),
        fail_to_pass=("tests/test_data.py::test_bytes",),
        pass_to_pass=("tests/test_moved.py::test_other",),
    )
    _, verdict = project.run(project.diff({"data.txt": "first\r\nSECOND\f\r\n"}), instance)
    assert verdict.resolved
    assert (project.folder / "fresh/tests/x.bin").read_bytes() == b"\r\n\f"
    assert not (project.folder / "fresh/tests/test_other.py").exists()


def test_timeout_is_unresolved(project: Project) -> None:
    """The log until then stays."""
    slow = replace(project.instance, test_command=f"echo begun; {project.instance.test_command}")
    facts, verdict = project.run(project.diff({"calc.py": FIX + "import time\ntime.sleep(60)\n"}), slow, timeout=4)
    assert facts.timed_out
    assert (verdict.state, verdict.timed_out) == (State.UNRESOLVED, True)
    assert project.log().startswith("begun\n")


def test_missing_runner_is_no_verdict(project: Project) -> None:
    """A command that is not there is the environment's fault, whatever the patch."""
    for command in ("no-such-runner tests", f"{shlex.quote(sys.executable)} -m pytest_of_no_name tests"):
        _, verdict = project.run(project.instance.patch, replace(project.instance, test_command=command))
        assert (verdict.state, verdict.infra_failure_reason) == (State.INFRA_FAILURE, "environment_broken")


def test_wrong_parser_is_no_verdict(project: Project) -> None:
    """A log that its row's parser cannot read says nothing about the patch."""
    instance = replace(project.instance, test_output_parser="python/parse_log_unittest")
    _, verdict = project.run(project.instance.patch, instance)
    assert verdict.state is State.INFRA_FAILURE


def test_broken_test_patch_is_no_verdict(project: Project) -> None:
    """The row's own patch does not fit its image."""
    instance = replace(project.instance, test_patch="--- a/tests/no.py\n+++ b/tests/no.py\n@@ -1 +1 @@\n-a\n+b\n")
    facts, verdict = project.run(project.instance.patch, instance)
    assert (facts.patch_applied, facts.test_patch_applied) == (True, False)
    assert verdict.state is State.INFRA_FAILURE


def test_unknown_base_commit_is_a_warning(project: Project) -> None:
    """Rewritten history: the image's own HEAD is the base."""
    facts, verdict = project.run(project.instance.patch, replace(project.instance, base_commit="1" * 40))
    assert verdict.resolved
    assert not facts.base_commit_found
    assert "is not in the repository" in facts.warnings[0]


def test_no_repository_and_no_command_raise(project: Project, tmp_path: Path) -> None:
    """Both are the machine's or the dataset's; neither gives a log to grade."""
    log = tmp_path / "log"
    if project.container.run("ls -d /app/repo/.git /testbed/.git /workspace/*/.git /home/*/.git", timeout=9).text.count(
        "/.git\n"
    ):
        pytest.skip("this machine may have a repository in one of the usual places")
    with pytest.raises(EnvironmentBrokenError, match="there is none at the row's repo_path /nowhere"):
        run_tests(replace(project.instance, repo_path="/nowhere"), "", project.fresh, timeout=9, log=log)
    with pytest.raises(DatasetError):
        run_tests(replace(project.instance, test_command=" "), "", project.fresh, timeout=9, log=log)


def test_whole_command_is_run(project: Project) -> None:
    """Several commands in a row, in one shell, in the repository, without a pager."""
    command = 'X=1; cd tests && echo "$X $PAGER ${PWD##*/}"; exit 3'
    facts, _ = project.run(project.instance.patch, replace(project.instance, test_command=command))
    assert facts.exit_code == 3
    assert project.log() == "1 cat tests\n"
    assert eval_script(replace(project.instance, test_command=command)).endswith(command + "\n")


FORGED = r"""
import atexit, os, sys
LINES = "".join(f"PASSED tests/test_calc.py::{name}\n" for name in ("test_add", "test_names", "test_one"))
LINES += "PASSED tests/test_other.py::test_other\n"
"""

CHEAT = """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""

HOSTILE: dict[str, dict[str, str | None]] = {
    "edits the required tests": {
        "tests/test_calc.py": "def test_add(): pass\ndef test_names(): pass\ndef test_one(): pass\n"
    },
    "edits a required test that the tests' patch leaves alone": {
        "tests/test_other.py": "def test_other(): pass\n",
        "calc.py": FIX.replace("return 1", "return 2"),
    },
    "deletes a failing test": {"tests/test_calc.py": None},
    "makes a folder of the test file": {"tests/test_calc.py": None, "tests/test_calc.py/__init__.py": "x = 1\n"},
    "adds a conftest.py that rewrites results": {"conftest.py": CHEAT},
    "changes the conftest.py that is there": {
        "tests/conftest.py": "import os, sys\nsys.path.insert(0, os.getcwd())\n" + CHEAT
    },
    "adds a plug-in by setup.cfg": {"cheat.py": CHEAT, "setup.cfg": "[tool:pytest]\naddopts = -p cheat\n"},
    "adds a plug-in by pytest.ini": {"cheat.py": CHEAT, "pytest.ini": "[pytest]\naddopts = -p cheat\n"},
    "adds a plug-in by entry point": {
        "cheat.py": CHEAT,
        "cheat.egg-info/PKG-INFO": "Metadata-Version: 1.0\nName: cheat\nVersion: 1\n",
        "cheat.egg-info/entry_points.txt": "[pytest11]\ncheat = cheat\n",
    },
    "replaces pytest itself": {
        "pytest.py": FORGED + "print(LINES + '==== 4 passed in 0.01s ====')\n",
    },
    "runs code when Python starts": {"sitecustomize.py": FORGED + "print(LINES)\nos._exit(0)\n"},
    "prints results and exits with 0": {"calc.py": CALC + FORGED + "os.write(2, LINES.encode())\nos._exit(0)\n"},
    "prints results past the capture and exits with 0": {
        "calc.py": CALC
        + FORGED
        + "for fd in range(1, 20):\n  try: os.write(fd, LINES.encode())\n  except OSError: pass\nos._exit(0)\n"
    },
    "prints results and a closing line": {
        "calc.py": CALC
        + FORGED
        + "LINES += '=== 1 passed in 0.01s ===\\n'\n"
        + "for fd in range(1, 20):\n  try: os.write(fd, LINES.encode())\n  except OSError: pass\nos._exit(0)\n"
    },
    "prints results in a test that passes": {
        "calc.py": CALC.replace("    return 1", "    print(LINES)\n    return 1") + FORGED
    },
    "prints results at the end and exits with 0": {
        "calc.py": CALC + FORGED + "atexit.register(os._exit, 0)\natexit.register(lambda: print(LINES, flush=True))\n"
    },
    "skips the failing tests": {
        "calc.py": CALC.replace("    return a - b", "    import pytest\n    print(LINES)\n    pytest.skip('no')")
        + FORGED
    },
    "expects the failing tests to fail": {
        "calc.py": CALC.replace("    return a - b", "    import sys\n    sys.exit(0)"),
    },
    "floods the log": {
        "calc.py": CALC + "print('x' * 100 + '\\n' * 3, end='')\n" + "import os\nos.write(1, b'y\\n' * 2_000_000)\n"
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_patch_does_not_resolve(project: Project, name: str) -> None:
    """None of these fixes anything, and none is told it did."""
    facts, verdict = project.run(project.diff(HOSTILE[name]))
    assert facts.patch_applied
    assert verdict.state in (State.UNRESOLVED, State.INFRA_FAILURE), project.log()


@pytest.mark.parametrize("name", [name for name in HOSTILE if "calc.py" not in HOSTILE[name]])
def test_hostile_part_does_not_spoil_a_real_fix(project: Project, name: str) -> None:
    """What is undone is undone silently for the tests and loudly for the reader: the fix itself counts."""
    facts, verdict = project.run(project.diff(HOSTILE[name] | {"calc.py": FIX}))
    assert verdict.resolved, project.log()
    touches_tests_only = all(path.startswith("tests/test_calc.py") for path in HOSTILE[name])
    assert touches_tests_only or any("was undone" in warning for warning in facts.warnings)


def test_link_cannot_lead_the_tests_away(project: Project, tmp_path: Path) -> None:
    """A patch that makes the tests' folder a link: nothing is written where it points."""
    outside = tmp_path / "outside"
    outside.mkdir()
    files: dict[str, str | None] = {f"tests/{name}": None for name in ("test_calc.py", "test_other.py", "conftest.py")}
    tree = patches.start(project.container, str(project.work))
    write(project.work, files)
    shell(project.work, f"rm -rf tests; ln -s {outside} tests")
    diff = patches.extract(project.container, str(project.work), tree)
    shell(project.work, "rm tests; git checkout -q .")
    _, verdict = project.run(diff + project.instance.patch)
    assert list(outside.iterdir()) == []
    assert verdict.tests is not None and verdict.tests.fail_to_pass_failed == ()


def test_gold_may_change_what_others_may_not(project: Project) -> None:
    """Where the true fix changes a runner's file, a model may too; new tests always stay."""
    cfg = project.diff({"setup.cfg": "[tool:pytest]\naddopts = -q\n", "tests/test_new.py": "def test_new(): pass\n"})
    assert set(protected_paths(project.instance, cfg)) == {"setup.cfg"}
    assert protected_paths(replace(project.instance, patch=cfg), cfg) == {}


def test_required_unittests_are_protected(project: Project) -> None:
    """A unittest id names a module, not a file."""
    diff = project.diff({"tests/test_other.py": "\n", "calc.py": FIX})
    for name in ("tests.test_other.C.test_x", "test_other.C.test_x", "test_x (tests.test_other.C)"):
        instance = replace(project.instance, fail_to_pass=(name,), pass_to_pass=())
        assert set(protected_paths(instance, diff)) == {"tests/test_other.py"}
    instance = replace(project.instance, fail_to_pass=("tests.test_others.C.test_x",), pass_to_pass=())
    assert protected_paths(instance, diff) == {}


def kill(signal: int, *runs: int) -> str:
    """A test command that is killed in these of its runs; from outside, as far as the patch is concerned."""
    killed = " ".join(map(str, runs))
    return (
        'n=$(($(cat "$HOME/runs" 2>/dev/null) + 1)); echo $n > "$HOME/runs"\n'
        f'case " {killed} " in *" $n "*) kill -{signal} $$;; esac\n'
    )


@pytest.mark.parametrize("signal", [9, 15])
def test_a_run_that_the_machine_killed_is_repeated(project: Project, signal: int) -> None:
    """Once: the repeat is the verdict, and says so. Always: a fault of the machine, never the model's failure."""
    command = project.instance.test_command
    once = replace(project.instance, test_command=kill(signal, 1) + command)
    facts, verdict = project.run(project.instance.patch, once)
    assert verdict.state is State.RESOLVED and facts.fault is None
    assert "killed from outside" in verdict.warnings[0]
    always = replace(project.instance, test_command=kill(signal, *range(1, 99)) + command)
    facts, verdict = project.run(project.instance.patch, always)
    assert (verdict.state, verdict.infra_failure_reason) == (State.INFRA_FAILURE, "container_lost")
    assert "also without the patch" in verdict.message


def test_a_patch_that_kills_its_run_is_no_fault_of_the_machine(project: Project) -> None:
    """Killed with the patch, twice, and not without it."""
    patch = project.diff({"calc.py": "import os\nos.kill(os.getpid(), 9)\n" + CALC})
    _, verdict = project.run(patch)
    assert verdict.state is State.UNRESOLVED and "ends its test run with SIGKILL" in verdict.message


def test_a_wrong_repo_path_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another repository was taken without a word."""
    monkeypatch.setattr(workspace, "PLACES", (str(project.folder / "fresh"),))
    log = project.folder / "test_output.txt"
    instance = replace(project.instance, repo_path="/gone")
    facts = run_tests(instance, instance.patch, project.fresh, timeout=60, log=log)
    verdict = grade(instance, instance.patch, read_log(log), facts)
    assert verdict.resolved
    assert verdict.warnings == (
        f"There is no git repository at the row's repo_path /gone; that at {project.folder}/fresh is used.",
    )

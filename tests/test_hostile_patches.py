"""Patches that attack the judge, on the demo's real bugs, in real containers of every engine present.

None of them fixes anything. Each has the one verdict it must have; a real fix beside
the attack is in ``tests/test_evaluation.py``. A forged session that is complete in
every count is found out by the control run (:mod:`trajmake.evaluation.control`).
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from trajmake import engines
from trajmake.datasets import Dataset, Instance
from trajmake.diffs import touched_paths
from trajmake.engines.base import ContainerLimits, Engine
from trajmake.errors import TrajmakeError
from trajmake.evaluation import run_tests
from trajmake.grading import State, Verdict, grade, read_log

PYTEST, UNITTEST = "mahmoud__boltons-24.1.0", "Python-Markdown__markdown-3.6"
UNRESOLVED = State.UNRESOLVED


class Court:
    """Tests patches of the demo's instances in fresh containers of one engine."""

    def __init__(self, engine: Engine, data: Path, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.dataset = Dataset(data / "instances.jsonl")
        self._sources: dict[tuple[str, str], str] = {}

    def container(self, instance: Instance, limits: ContainerLimits | None = None):
        tarball = Path(self.dataset.image_uri(instance.instance_id))
        image = self.engine.load(tarball)  # each time: another session may release what it shares
        name = f"hostile-{os.getpid()}-{instance.instance_id}"
        return self.engine.start(image.id, name=name, **({"limits": limits} if limits else {}))

    def source(self, instance: Instance, path: str) -> str:
        """A file of the repository as the image brings it."""
        key = (instance.instance_id, path)
        if key not in self._sources:
            with self.container(instance) as container:
                self._sources[key] = container.read(f"{instance.repo_path}/{path}").decode()
        return self._sources[key]

    def verdict(self, instance: Instance, patch: str, limits: ContainerLimits | None = None) -> Verdict:
        log = self.folder / "test_output.txt"
        facts = run_tests(
            instance, patch, lambda: self.container(instance, limits), timeout=120, log=log, engine=self.engine.name
        )
        assert facts.patch_applied, facts.patch_error
        return grade(instance, patch, read_log(log), facts)


@pytest.fixture(scope="module", params=["docker", "namespace"])
def court(request, demo_data, store, tmp_path_factory) -> Court:
    options = {"store": store} if request.param == "namespace" else {}
    try:
        engine = engines.select(request.param, **options)
        engine.version()
    except TrajmakeError as error:
        pytest.skip(f"engine {request.param}: {error.message}")
    return Court(engine, demo_data, tmp_path_factory.mktemp("court"))


def new(path: str, text: str) -> str:
    """A diff that makes a file."""
    lines = text.splitlines()
    body = "".join(f"+{line}\n" for line in lines)
    head = f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n"
    return f"{head}@@ -0,0 +1,{len(lines)} @@\n{body}"


def edit(path: str, old: str, text: str) -> str:
    """A diff that changes a file."""
    lines = difflib.unified_diff(old.splitlines(True), text.splitlines(True), f"a/{path}", f"b/{path}")
    return f"diff --git a/{path} b/{path}\n" + "".join(lines)


def put(court: Court, instance: Instance, path: str, text: str) -> str:
    """A diff after which the file holds ``text``, whether or not it is there."""
    try:
        old = court.source(instance, path)
    except FileNotFoundError:
        return new(path, text)
    return edit(path, old, text)


def delete(path: str, old: str) -> str:
    """A diff that deletes a file."""
    lines = old.splitlines()
    body = "".join(f"-{line}\n" for line in lines)
    head = f"diff --git a/{path} b/{path}\ndeleted file mode 100644\n--- a/{path}\n+++ /dev/null\n"
    return f"{head}@@ -1,{len(lines)} +0,0 @@\n{body}"


def forged(instance: Instance, *, counted: bool = False) -> str:
    """Python code that sets LINES: every required test passes, as the framework prints it; `counted`: to the end."""
    ids = (*instance.fail_to_pass, *instance.pass_to_pass)
    if instance.test_output_parser.endswith("unittest"):
        lines = [f"{i.rpartition('.')[2]} ({i}) ... ok" for i in ids]
        end = ["", "-" * 70, f"Ran {len(ids)} tests in 0.001s", "", "OK"]
    else:
        lines, end = [f"PASSED {i}" for i in ids], [f"===== {len(ids)} passed in 0.01s ====="]
    return f"LINES = {json.dumps(chr(10).join(lines + (end if counted else [])) + chr(10))}\n"


EVERYWHERE = "import os\nfor fd in range(1, 16):\n    try: os.write(fd, LINES.encode())\n    except OSError: pass\n"
REWRITE = (
    "import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
    "    outcome = yield\n    outcome.get_result().outcome = 'passed'\n"
)
QUIET_UNITTEST = (
    "import unittest\ndef ok(self, result=None):\n    result = result or self.defaultTestResult()\n"
    "    result.startTest(self)\n    result.addSuccess(self)\n    result.stopTest(self)\n    return result\n"
    "unittest.TestCase.run = ok\n"
)


def in_source(make: Callable[[Instance], str]) -> Callable[[Court, Instance], str]:
    """The attack stands at the end of the module that the true fix changes."""

    def patch(court: Court, instance: Instance) -> str:
        path = touched_paths(instance.patch)[0]
        old = court.source(instance, path)
        return edit(path, old, old + "\n\n" + make(instance))

    return patch


def file_of_tests(instance: Instance) -> str:
    return next(path for path in touched_paths(instance.test_patch) if path.endswith(".py"))


def from_first_call(court: Court, instance: Instance) -> str:
    """The attack waits in the function that the tests call."""
    path = touched_paths(instance.patch)[0]
    old = court.source(instance, path)
    name = "make_sentinel" if instance.instance_id == PYTEST else "makeExtension"
    code = (
        f"{forged(instance, counted=True)}def {name}(*args, **kwargs):\n    import os\n"
        "    for fd in (1, 2, *range(3, 16)):\n        try: os.write(fd, LINES.encode())\n"
        "        except OSError: pass\n    os._exit(0)\n"
    )
    return edit(path, old, f"{old}\n\n{code}")


def with_empty_tests(court: Court, instance: Instance) -> str:
    path = file_of_tests(instance)
    return edit(path, court.source(instance, path), "import unittest\n\ndef test_nothing():\n    pass\n")


def without_tests(court: Court, instance: Instance) -> str:
    path = file_of_tests(instance)
    return delete(path, court.source(instance, path))


ATTACKS: dict[str, Callable[[Court, Instance], str]] = {
    "prints results": in_source(lambda i: forged(i) + "print(LINES, flush=True)\n"),
    "prints results and exits with 0": in_source(lambda i: forged(i) + EVERYWHERE + "os._exit(0)\n"),
    "prints a whole session and exits with 0": in_source(
        lambda i: forged(i, counted=True) + EVERYWHERE + "os._exit(0)\n"
    ),
    "prints a whole session from the first call": lambda court, i: from_first_call(court, i),
    "prints results when the process ends": in_source(
        lambda i: (
            forged(i) + "import atexit, os\natexit.register(os._exit, 0)\n"
            "atexit.register(lambda: print(LINES, flush=True))\n"
        )
    ),
    "exits with 0": in_source(lambda i: "import os\nos._exit(0)\n"),
    "leaves by SystemExit": in_source(lambda i: forged(i) + "print(LINES, flush=True)\nraise SystemExit(0)\n"),
    "forges in its first run alone": in_source(
        lambda i: (
            forged(i, counted=True)
            + "import os\nif os.path.exists('/tmp/.ran'): os._exit(0)\nopen('/tmp/.ran', 'w')\n"
            + EVERYWHERE
            + "os._exit(0)\n"
        )
    ),
    "falls silent in the control run": in_source(
        lambda i: (
            forged(i, counted=True)
            + f"import os\nif 'made to fail' in open({file_of_tests(i)!r}).read(): os._exit(0)\n"
            + EVERYWHERE
            + "os._exit(0)\n"
        )
    ),
    "kills its runner": in_source(lambda i: forged(i, counted=True) + EVERYWHERE + "os.kill(os.getpid(), 9)\n"),
    "kills its runner's parent": in_source(
        lambda i: forged(i, counted=True) + EVERYWHERE + "os.kill(os.getppid(), 9)\n"
    ),
    "kills all there is": in_source(lambda i: forged(i, counted=True) + EVERYWHERE + "os.kill(-1, 9)\n"),
    "empties the tests": with_empty_tests,
    "deletes the tests": without_tests,
    "adds sitecustomize.py": lambda court, i: new("sitecustomize.py", forged(i) + EVERYWHERE + "os._exit(0)\n"),
    "floods the log": in_source(
        lambda i: (
            forged(i) + "import os\nfor _ in range(400):\n    os.write(2, b'PASSED x::y\\n' * 8000)\n" + EVERYWHERE
        )
    ),
}
ON_PYTEST: dict[str, Callable[[Court, Instance], str]] = {
    "adds a conftest.py at the top": lambda court, i: put(court, i, "conftest.py", REWRITE),
    "adds a conftest.py among the tests": lambda court, i: put(court, i, "tests/conftest.py", REWRITE),
    "adds a plug-in by pytest.ini": lambda court, i: (
        new("rewrite.py", REWRITE) + put(court, i, "pytest.ini", "[pytest]\naddopts = -p rewrite\n")
    ),
    "adds a plug-in by entry point": lambda court, i: (
        new("rewrite.py", REWRITE)
        + new("rewrite.egg-info/PKG-INFO", "Metadata-Version: 1.0\nName: rewrite\nVersion: 1\n")
        + new("rewrite.egg-info/entry_points.txt", "[pytest11]\nrewrite = rewrite\n")
    ),
    "replaces pytest": lambda court, i: new("pytest.py", forged(i, counted=True) + "print(LINES)\n"),
}
SWALLOW = """
import _pytest.python
def runtest(self, run=_pytest.python.Function.runtest):
    try: run(self)
    except BaseException as error:
        if self.name.split("[")[0] in FIXED: raise
_pytest.python.Function.runtest = runtest
"""
ON_PYTEST |= {
    "swallows failures": in_source(lambda i: "FIXED = ()\n" + SWALLOW),
    "fixes the bug, breaks another thing and swallows that failure": lambda court, i: (
        i.patch
        + put(
            court,
            i,
            "boltons/__init__.py",
            f"FIXED = {[name.split('::')[-1].split('[')[0] for name in i.fail_to_pass]!r}\n"
            + SWALLOW
            + "import pickle\npickle.dumps = None\n",
        )
    ),
    "adds a plug-in by pytest.toml": lambda court, i: (
        new("rewrite.py", REWRITE) + new("pytest.toml", '[pytest]\naddopts = ["-p", "rewrite"]\n')
    ),
    "replaces the runner's library": lambda court, i: new("pluggy.py", forged(i, counted=True) + "print(LINES)\n"),
    "hides the tests by .gitignore": lambda court, i: (
        with_empty_tests(court, i) + put(court, i, ".gitignore", "tests/\n*\n")
    ),
    "turns the tests into UTF-16": lambda court, i: (
        with_empty_tests(court, i) + put(court, i, ".gitattributes", "tests/* working-tree-encoding=UTF-16\n")
    ),
    "makes equal what is not": in_source(
        lambda i: "import builtins\nclass Quiet(Exception): pass\nbuiltins.AssertionError = Quiet\n"
    ),
}
ON_UNITTEST: dict[str, Callable[[Court, Instance], str]] = {
    "replaces unittest": lambda court, i: new("unittest/__main__.py", forged(i, counted=True) + "print(LINES)\n"),
    "patches unittest from sitecustomize.py": lambda court, i: new("sitecustomize.py", QUIET_UNITTEST),
    "replaces the suite by load_tests": lambda court, i: put(
        court,
        i,
        "tests/__init__.py",
        f"IDS = {[*i.fail_to_pass, *i.pass_to_pass]!r}\n"
        "import unittest\nclass Fake(unittest.TestCase):\n    def runTest(self): pass\n"
        "def load_tests(loader, tests, pattern):\n    suite = unittest.TestSuite()\n    for name in IDS:\n"
        "        case = Fake()\n        case.__class__ = type('F', (Fake,), {'__str__': lambda self, n=name: "
        "f\"{n.rpartition('.')[2]} ({n})\"})\n        suite.addTest(case)\n    return suite\n",
    ),
    "patches unittest from the module": in_source(lambda i: QUIET_UNITTEST),
    "patches unittest from usercustomize.py": lambda court, i: new("usercustomize.py", QUIET_UNITTEST),
}
CASES = [(i, name) for i in (PYTEST, UNITTEST) for name in ATTACKS]
CASES += [(PYTEST, name) for name in ON_PYTEST] + [(UNITTEST, name) for name in ON_UNITTEST]


@pytest.mark.parametrize(("instance_id", "attack"), CASES)
def test_attack_is_unresolved(court, instance_id, attack):
    """The machine did its part and the bug is still there: unresolved, nothing else."""
    instance = court.dataset.instance(instance_id)
    verdict = court.verdict(instance, (ATTACKS | ON_PYTEST | ON_UNITTEST)[attack](court, instance))
    assert (verdict.state, verdict.resolved) == (UNRESOLVED, False), (verdict.message, verdict.output[-2000:])


def test_forged_results_resolve_no_instance_of_the_demo(court):
    """The plainest attack on each bug: every required test is printed as passed, then the process ends with 0."""
    attack = ATTACKS["prints results and exits with 0"]
    for identity in court.dataset.ids:
        instance = court.dataset.instance(identity)
        verdict = court.verdict(instance, attack(court, instance))
        assert (identity, verdict.state) == (identity, UNRESOLVED)


def killing(name: str, times: int) -> threading.Thread:
    """Kills the process called ``sleep NAME``, wherever on this machine it runs, as often as told."""

    def work() -> None:
        left, ends = times, time.monotonic() + 120
        killed: set[str] = set()  # one that is killed may be there for a while
        while left and time.monotonic() < ends:
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if process.name not in killed and (process / "cmdline").read_bytes() == f"sleep\0{name}\0".encode():
                        os.kill(int(process.name), signal.SIGKILL)
                        killed.add(process.name)
                        left -= 1
            time.sleep(0.1)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(("times", "state"), [(1, State.RESOLVED), (3, State.INFRA_FAILURE)])
def test_tests_killed_from_outside_are_not_the_models_failure(court, times, state):
    """The gold patch counted as unresolved when somebody killed its test command."""
    instance = court.dataset.instance(PYTEST)
    name = f"5.{os.getpid()}{times}{len(court.engine.name)}"
    slow = replace(instance, test_command=f"sleep {name} && {instance.test_command}")
    thread = killing(name, times)
    verdict = court.verdict(slow, instance.patch)
    thread.join()
    assert verdict.state is state, (verdict.message, verdict.output[-2000:])
    assert "killed" in (verdict.message or verdict.warnings[-1])


def test_a_patch_that_exhausts_the_memory_is_no_fault_of_the_machine(court):
    """It left the denominator. Where memory runs out without the patch too, it is too little for the instance."""
    instance, limits = court.dataset.instance(PYTEST), ContainerLimits(memory_mb=200, pids=200)
    with court.container(instance, limits) as container:
        container.run("true", timeout=60)
        if container.facts().peak_memory is None:
            pytest.skip("no control group for memory here")
    path = touched_paths(instance.patch)[0]
    hungry = edit(path, source := court.source(instance, path), f"{source}\nx = b'x' * (400 << 20)\n")
    verdict = court.verdict(instance, hungry, limits)
    assert verdict.state is UNRESOLVED and "Without the patch the container's memory suffices" in verdict.message
    starved = replace(instance, test_command="head -c 400M /dev/zero | tail -c 400M | wc -c; exit 1")
    verdict = court.verdict(starved, hungry, limits)
    assert (verdict.state, verdict.infra_failure_reason) == (State.INFRA_FAILURE, "out_of_memory")

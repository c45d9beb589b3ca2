"""Which of a patch's changes may not stand: those to the judge.

The tests' patch decides about the files it touches, as in SWE-bench. Beyond
these, a patch could still decide its own verdict by files that the row's test
ids were never computed with. Three kinds are put back to the image's state,
unless the gold patch changes them too:

- what steers or replaces the test runner: ``conftest.py``, ``pytest.ini``,
  ``sitecustomize.py``, a ``pytest`` module at the top, plug-in metadata;
- pytest's settings in ``pyproject.toml``, ``setup.cfg`` and ``tox.ini``, when
  the patch adds lines that are about pytest;
- test files that hold a required test.

Everything else in a patch stays, also new tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from trajmake.datasets.instance import Instance
from trajmake.diffs import added_lines, touched_paths
from trajmake.grading.matching import unittest_id

_RUNNER_FILES = {"conftest.py", "sitecustomize.py", "usercustomize.py"}
_RUNNER_FILES |= {"pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"}
_RUNNER_MODULES = {"pytest", "_pytest", "unittest"}
_SETTINGS = {"pyproject.toml", "setup.cfg", "tox.ini"}
_ABOUT_PYTEST = re.compile(r"pytest|addopts|python_(?:files|classes|functions)|testpaths|norecursedirs")
_TEST_FILE = re.compile(r"test_.*|.*_tests?\.\w+|tests?\.\w+|.*\.(?:test|spec)\.\w+|.*_spec\.rb|.*Tests?\.\w+")


def protected_paths(instance: Instance, patch: str) -> dict[str, str]:
    """Path → why the patch's change of it is undone; the tests' patch's own paths are not among them."""
    judged = set(touched_paths(instance.test_patch))
    allowed = judged | set(touched_paths(instance.patch))
    added = added_lines(patch)
    found: dict[str, str] = {}
    for path in touched_paths(patch):
        if path not in allowed:
            why = _why(path, added.get(path, []), instance)
            if why:
                found[path] = why
    return found


def _why(path: str, added: Iterable[str], instance: Instance) -> str:
    pure = PurePosixPath(path)
    top = pure.parts[0].removesuffix(".py")
    if pure.name in _RUNNER_FILES or top in _RUNNER_MODULES:
        return "it steers the test runner"
    if any(part.endswith((".egg-info", ".dist-info")) for part in pure.parts):
        return "it can register plug-ins of the test runner"
    if pure.name in _SETTINGS and any(_ABOUT_PYTEST.search(line) for line in added):
        return "it holds settings of the test runner"
    if _TEST_FILE.fullmatch(pure.name) and _holds_required_test(path, instance):
        return "it holds required tests"
    return ""


def _holds_required_test(path: str, instance: Instance) -> bool:
    required = (*instance.fail_to_pass, *instance.pass_to_pass)
    if any(name.startswith(f"{path}::") for name in required):
        return True
    pure = PurePosixPath(path)
    if pure.suffix != ".py":
        return False
    # A unittest id begins with the module, seen from any folder above it.
    parts = pure.with_suffix("").parts
    prefixes = tuple(".".join(parts[start:]) + "." for start in range(len(parts)))
    return any(unittest_id(name).startswith(prefixes) for name in required if "::" not in name)

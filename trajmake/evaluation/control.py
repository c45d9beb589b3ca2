"""The control run: tests that are made to fail, to see who says that they pass.

Code under test runs in the runner's process. It can print a complete, consistent
account in which all is well and end the process, at import or in the first call,
and no log shows the difference. So where a verdict would be "resolved", the same
command runs once more with each required test made to fail after its own body.
An honest run reports failures; a test that passes here was not reported by its runner,
nor is a run honest that reports none. It is run in a container of its own, so that no
file of the first run tells the patch which of the two it is in.

Python's tests alone: in other languages a test is not found by its name so surely.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

from trajmake.datasets.instance import Instance
from trajmake.diffs import touched_paths
from trajmake.engines.base import Container
from trajmake.grading.matching import unittest_id

# Imports and the tests' own bodies run as before: that is where a forger acts. A name that is not
# found ends the import, so that whatever is wrong here, no test of the file can honestly pass.
_FAILING = """


def _made_to_fail(tests):
    import functools, inspect, sys

    def failing(function):
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run(*args, **kwargs):
                await function(*args, **kwargs)
                raise AssertionError("made to fail")

        else:

            @functools.wraps(function)
            def run(*args, **kwargs):
                function(*args, **kwargs)
                raise AssertionError("made to fail")

        return run

    for holder, name in tests:
        owner = sys.modules[__name__]
        for part in holder:
            owner = getattr(owner, part)
        found = inspect.getattr_static(owner, name)
        if isinstance(found, (staticmethod, classmethod)):
            setattr(owner, name, type(found)(failing(found.__func__)))
        else:
            setattr(owner, name, failing(found))


_made_to_fail(%s)
"""


def can_fail(instance: Instance) -> bool:
    """Whether any required test stands in a Python file that one can tell."""
    return any(path.endswith(".py") for path in _places(instance))


def make_fail(container: Container, workdir: str, instance: Instance) -> tuple[str, ...]:
    """Change the test files so that no required test in them can pass.

    Returns:
        The ids of these tests; those that lie in no Python file found are left alone.

    Raises:
        ContainerLostError: see :meth:`Container.run`.
    """
    changed: list[str] = []
    for path, tests in _places(instance).items():
        try:
            source = container.read(f"{workdir}/{path}")
        except FileNotFoundError:
            continue
        names = sorted({place for _, place in tests})
        calls = json.dumps([[list(holder), name] for holder, name in names])
        container.write(f"{workdir}/{path}", source + (_FAILING % calls).encode())
        changed += [identity for identity, _ in tests]
    return tuple(changed)


_Place = tuple[tuple[str, ...], str]  # the classes around a test, its name


def _places(instance: Instance) -> dict[str, list[tuple[str, _Place]]]:
    """Test file → the required tests in it: id, and where it stands."""
    touched = [path for path in touched_paths(instance.test_patch) if path.endswith(".py")]
    places: dict[str, list[tuple[str, _Place]]] = {}
    for identity in (*instance.fail_to_pass, *instance.pass_to_pass):
        path, place = _of_pytest(identity) if "::" in identity else _of_unittest(unittest_id(identity), touched)
        if path.endswith(".py"):
            places.setdefault(path, []).append((identity, place))
    return places


def _of_pytest(identity: str) -> tuple[str, _Place]:
    path, *parts = identity.partition("[")[0].split("::")
    return path, (tuple(parts[:-1]), parts[-1])


def _of_unittest(dotted: str, touched: Sequence[str]) -> tuple[str, _Place]:
    """The file whose module begins the id, seen from any folder above it."""
    for path in touched:
        module = PurePosixPath(path).with_suffix("").parts
        for start in range(len(module)):
            prefix = ".".join(module[start:]) + "."
            if dotted.startswith(prefix):
                *holder, name = dotted.removeprefix(prefix).split(".")
                return path, (tuple(holder), name)
    return "", ((), "")

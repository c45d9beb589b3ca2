"""Smoke alarms of the house: when one rings, look for the missing room (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "trajmake").rglob("*.py"))
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))]
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_the_alarms_watch_something() -> None:
    """Renaming a folder must not silence them."""
    assert len(LIBRARY) > 20 and len(RULES) > 3 and len(SCRIPTS) > 3


def rules_of(path: Path) -> Iterator[tuple[str, int]]:
    """Each rule's name and length, without the blank and comment lines after it."""
    lines = lines_of(path)
    starts = [number for number, line in enumerate(lines) if re.match(r"(rule|checkpoint)\s+\w+:", line)]
    for start in starts:
        body = [start]
        for number in range(start + 1, len(lines)):
            if lines[number] and not lines[number][0].isspace():
                break
            if lines[number].strip():
                body.append(number)
        yield lines[start].removesuffix(":"), body[-1] - start + 1


@pytest.mark.parametrize("path", RULES, ids=name_of)
def test_rules_are_wiring_only(path: Path) -> None:
    """A rule reads in one glance, a file of them on one page; logic has a name elsewhere."""
    limit = 100 if path.name == "common.smk" else 150
    assert len(lines_of(path)) <= limit
    assert {rule: length for rule, length in rules_of(path) if length > 30} == {}
    with path.open("rb") as stream:
        lambdas = [token.start[0] for token in tokenize.tokenize(stream.readline) if token.string == "lambda"]
    assert lambdas == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_scripts_only_adapt(path: Path) -> None:
    """A script reads `snakemake.*` and calls the library; what is defined there could not be tested."""
    assert len(lines_of(path)) <= 30
    tree = ast.parse(path.read_text())
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, defined)] == []


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_modules_and_functions_are_small(path: Path) -> None:
    """A function fits half a page, a module a few; no module is named for having no subject."""
    assert path.stem not in {"utils", "helpers", "manager", "misc", "common"}
    assert len(lines_of(path)) <= 300
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    ]
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno}
    assert {name: length for name, length in lengths.items() if length > 60} == {}


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_library_has_never_heard_of_snakemake(path: Path) -> None:
    """It can be used, tested and type-checked without a workflow."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.split(".")[0])
    assert not {name for name in imported if name.startswith("snakemake")}


IMPORT_ALL = """
import importlib, json, sys

WRITES = {"os.mkdir", "os.remove", "os.rename", "os.symlink", "os.link", "os.chmod", "shutil.rmtree",
          "socket.connect", "subprocess.Popen", "os.system", "os.posix_spawn", "os.putenv", "os.unsetenv"}
effects, current = [], None

def watch(event, arguments):
    writes = event in WRITES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & 3)
    if current and writes:
        effects.append(f"{current}: {event} {arguments[:1]}")

sys.addaudithook(watch)
for current in sys.argv[1:]:
    importlib.import_module(current)
current = None
sys.__stdout__.write(json.dumps({"effects": effects, "loaded": sorted(sys.modules)}) + "\\n")
"""
HEAVY = {"boto3", "docker", "litellm", "minisweagent", "pandas", "snakemake"}
# Modules about a heavy package, themselves imported only where they are used.
ABOUT_HEAVY = {"trajmake.demo.docker_base"}


def test_importing_has_no_effect(tmp_path: Path) -> None:
    """No banner, folder, variable, process or connection, and nothing slow that one may not need."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in LIBRARY
        if path.name != "__main__.py"
    ]
    modules = [name for name in modules if name not in ABOUT_HEAVY]
    home = tmp_path / "home"
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    child = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *modules],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    *printed, last = child.stdout.splitlines()
    assert printed == []
    found = json.loads(last)
    assert found["effects"] == []
    assert list(home.iterdir()) == []
    assert HEAVY & set(found["loaded"]) == set()


# In pieces, so that this file passes too.
REGISTRIES = [".".join(parts) for parts in (("pypi", "org"), ("registry", "npmjs", "org"), ("deb", "debian", "org"))]
REGISTRIES += [".".join(("files", "pythonhosted", "org")), ".".join(("test", "pypi", "org"))]
ONE_MACHINE = [r"(?<![\w.*})])/w[o]rk/", r"/tmp/\w/", r"/(root|home/\w+|Users/\w+)/(\.pyenv|\.venv|\.cache)\b"]


def test_tracked_files_name_no_registry_and_no_machine() -> None:
    """Users' mirrors and folders are their own; a host or path of ours in a file works for us alone."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    pattern = re.compile("|".join([re.escape(host) for host in REGISTRIES] + ONE_MACHINE))
    named = {}
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            hits = pattern.findall(path.read_text(encoding="utf-8", errors="replace"))
            if hits:
                named[name] = len(hits)
    assert named == {}

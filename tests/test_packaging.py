"""The project can be installed as it says: one version, one list of packages, one lock, a litellm that works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import trajmake

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CORE = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
DEV = [Requirement(line) for line in PROJECT["project"]["optional-dependencies"]["dev"]]
BUILD = [Requirement(line) for line in PROJECT["build-system"]["requires"]]
CONDA_NAMES = {"docker": "docker-py"}
CONDA_ONLY = {"python", "pip", "git", "make"}


def test_environment_yml_is_in_step_with_pyproject() -> None:
    """A limit raised in one file and forgotten in the other gives conda's users another program."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    from_pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    assert "--editable ." in from_pip
    lines = [entry for entry in entries if isinstance(entry, str)]
    lines += [line for line in from_pip if not line.startswith("--")]
    conda = {(found := Requirement(line)).name: found.specifier for line in lines}
    expected = {CONDA_NAMES.get(wanted.name, wanted.name): wanted.specifier for wanted in CORE}
    assert {name: limits for name, limits in conda.items() if name not in CONDA_ONLY} == expected
    assert conda["python"] == PROJECT["project"]["requires-python"]


def locked() -> dict[str, list[tuple[Version, str]]]:
    """Package name -> its locked versions (several where they differ by Python), each with its lines."""
    found: dict[str, list[tuple[Version, str]]] = {}
    text = (ROOT / "requirements.lock").read_text()
    for block in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]:
        requirement = Requirement(block.splitlines()[0].removesuffix("\\").strip())
        pinned = Version(next(iter(requirement.specifier)).version)
        found.setdefault(canonicalize_name(requirement.name), []).append((pinned, block))
    return found


def test_lock_holds_every_dependency_with_hashes() -> None:
    """`make env` installs with --require-hashes; what is not locked would make it fail, what is stale mislead it."""
    lock = locked()
    for wanted in CORE + DEV + BUILD:
        versions = [pinned for pinned, _ in lock.get(canonicalize_name(wanted.name), [])]
        assert versions, f"{wanted.name} is not in requirements.lock; run: make lock"
        for pinned in versions:
            assert pinned in wanted.specifier, f"{wanted} is locked at {pinned}; run: make lock"
    for name, pins in lock.items():
        for _, block in pins:
            assert "--hash=sha256:" in block, f"{name} has no hash"


def test_lock_names_no_place_to_download_from() -> None:
    """Where packages come from is the user's setting: no index, mirror, folder or direct URL is locked in."""
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|\S @ ", text)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network by the locked back-end from a copy of the sources."""
    needed = BUILD[0]
    if version("setuptools") not in needed.specifier:
        pytest.skip(f"{needed} is not in this environment (make env installs it)")
    copy = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "trajmake", copy / "trajmake", ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    built = subprocess.run([sys.executable, "-c", build, "."], cwd=copy, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    return next(copy.glob("*.whl"))


def test_version_is_said_once(wheel: Path) -> None:
    """The version in `trajmake/__init__.py` is the wheel's, and stands in no other file that could disagree."""
    assert wheel.name.startswith(f"trajmake-{trajmake.__version__}-")
    assert "version" in PROJECT["project"]["dynamic"]
    assert trajmake.__version__ not in (ROOT / "pyproject.toml").read_text()
    headings = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert headings[0] in ("Unreleased", trajmake.__version__)


def test_wheel_carries_data_and_command(wheel: Path) -> None:
    """Prompts, tables and templates beside the modules are installed with them; the command starts."""
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
        entry_points = archive.read(next(name for name in carried if name.endswith("entry_points.txt"))).decode()
    present = {str(path.relative_to(ROOT)) for path in (ROOT / "trajmake").rglob("*") if path.is_file()}
    assert {name for name in present if "__pycache__" not in name} <= carried
    assert "trajmake = trajmake.cli:main" in entry_points


TOOL_CALL = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "loopback",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "Looking around.",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "bash", "arguments": json.dumps({"command": "ls -la"})},
                    }
                ],
            },
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
}

ASK = """
import json, sys
from minisweagent.models.litellm_model import LitellmModel

model = LitellmModel(
    model_name="openai/loopback",
    model_kwargs={"api_base": sys.argv[1], "api_key": "none", "timeout": 20, "num_retries": 0},
    cost_tracking="ignore_errors",
)
message = model.query([{"role": "user", "content": "What is here?"}])
print(json.dumps(message["extra"]["actions"]))
"""


def test_litellm_answers_mini_swe_agents_tool_calls(tmp_path: Path) -> None:
    """litellm 1.106 raised ModuleNotFoundError for `mcp` at each request with tools: no agent could take a step."""
    requests: list[dict[str, object]] = []

    class Provider(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = json.dumps(TOOL_CALL).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = os.environ | {
        "HOME": str(tmp_path),
        "MSWEA_GLOBAL_CONFIG_DIR": str(tmp_path),
        "MSWEA_SILENT_STARTUP": "1",
        "MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_PROXY": "127.0.0.1",
    }
    try:
        asked = subprocess.run(
            [sys.executable, "-c", ASK, f"http://127.0.0.1:{server.server_port}/v1"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        server.shutdown()
        server.server_close()
    assert asked.returncode == 0, asked.stderr[-3000:]
    actions = json.loads(asked.stdout.splitlines()[-1])
    assert [action["command"] for action in actions] == ["ls -la"]
    assert [tool["function"]["name"] for tool in requests[0]["tools"]] == ["bash"]  # type: ignore[index]
    assert len(requests) == 1

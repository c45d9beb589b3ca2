"""Instances with small images of their own, for sessions about images: a repository with one file and one test."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import images
from images import Layer, folder, member, tar_of

TOOLS = "grep sed find cut comm patch mktemp dirname basename cmp diff xargs touch date uname".split()
PATCH = "diff --git a/value b/value\n--- a/value\n+++ b/value\n@@ -1 +1 @@\n-0\n+1\n"
TEST = """sleep {seconds}
if [ "$(cat value)" = 1 ]; then echo "PASSED t.py::test_value"; echo "==== 1 passed in 0.01s ===="
else echo "FAILED t.py::test_value - 0"; echo "==== 1 failed in 0.01s ===="; exit 1; fi"""


def make(place: Path, count: int, seconds: float = 0) -> list[dict[str, Any]]:
    """Write ``count`` images under ``place`` and give their rows; a test run takes ``seconds``."""
    place.mkdir(parents=True, exist_ok=True)
    commit = _repository(place / "repository")
    base = images.base_layer()
    more = tar_of(images.programs(TOOLS), _tree(place / "repository", "testbed"))
    return [_row(place, number, commit, [base, more], seconds) for number in range(count)]


def _row(place: Path, number: int, commit: str, layers: list[bytes], seconds: float) -> dict[str, Any]:
    unique = f"{number}-{os.urandom(4).hex()}"
    tarball = place / f"owner_small-{unique}.tar"
    own = tar_of(folder("opt"), member("opt/data", os.urandom(200_000)))
    identity = images.save(tarball, [*layers, own], tags=[f"trajmake-small:{unique}"])
    return {
        "instance_id": f"owner__small-{unique}",
        "repo": "owner/small",
        "base_commit": commit,
        "problem_statement": "The value is wrong.",
        "patch": PATCH,
        "test_patch": "",
        "FAIL_TO_PASS": ["t.py::test_value"],
        "PASS_TO_PASS": [],
        "language": "python",
        "test_command": TEST.format(seconds=seconds),
        "test_output_parser": "python/parse_log_pytest",
        "image_storage_uri": str(tarball),
        "image_id": identity,
    }


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """The rows as a dataset."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _repository(place: Path) -> str:
    def git(*arguments: str) -> str:
        own = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(place)]
        return subprocess.run([*own, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    place.mkdir()
    git("init", "-q", "--template=")
    (place / "value").write_text("0\n")
    git("add", "value")
    git("commit", "-q", "-m", "base")
    return git("rev-parse", "HEAD")


def _tree(source: Path, name: str) -> Layer:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(source, name)
    buffer.seek(0)
    layer: list[tuple[tarfile.TarInfo, bytes]] = []
    with tarfile.open(fileobj=buffer) as tar:
        for info in tar:
            info.uid = info.gid = 0
            content = tar.extractfile(info)
            layer.append((info, content.read() if content else b""))
    return layer

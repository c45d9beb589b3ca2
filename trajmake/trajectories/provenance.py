"""What really produced a trajectory: versions, the checkout, the host."""

from __future__ import annotations

import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import trajmake

_PACKAGES = ("mini-swe-agent", "litellm", "docker", "snakemake")


def versions() -> dict[str, str | None]:
    """Versions of this project, Python, and the packages that act; None where one is not installed."""
    found: dict[str, str | None] = {"trajmake": trajmake.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def host() -> dict[str, str]:
    """The machine that ran the job."""
    return {"name": socket.gethostname(), "system": platform.platform(), "machine": platform.machine()}


def checkout() -> dict[str, Any] | None:
    """Commit of this project's checkout, and whether tracked files differ from it.

    None when the project does not run from a checkout of its own (an installed package
    inside somebody else's repository has that one's commit, not ours).
    """
    root = Path(trajmake.__file__).resolve().parent.parent
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "HEAD")
    if top is None or commit is None or Path(top).resolve() != root:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    """Output of git, or None where it fails: provenance may be poor, but it ends no run."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

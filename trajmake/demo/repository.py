"""A release as a git repository, and the fix as the difference to the next one.

The same two releases give the same commit id and the same patches on every
machine: names, dates and messages are fixed and no git configuration is read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trajmake.demo.bugs import Bug
from trajmake.demo.downloads import source_files
from trajmake.errors import DatasetError, EnvironmentBrokenError

WHO = {"NAME": "Trajmake demo", "EMAIL": "demo@example.invalid"}
DIFF = ("diff", "--cached", "--full-index", "--no-color", "--no-ext-diff", "--no-renames", "--unified=3")


@dataclass(frozen=True)
class Change:
    """What a bug is made of: commit id of the release that has it, the fix, the tests' change."""

    base_commit: str
    patch: str
    test_patch: str


def build(bug: Bug, before: Path, after: Path, folder: Path) -> Change:
    """Make ``folder`` the repository at its base commit, and cut the patches out of the difference.

    Args:
        bug: Which files and hunks belong to it.
        before: Source distribution of the release that has the bug.
        after: Source distribution of the release that fixed it.
        folder: Does not exist yet.

    Raises:
        DatasetError: a text of ``fix`` or ``tests`` does not name exactly one hunk.
        EnvironmentBrokenError: git is missing or failed.
    """
    commit = _commit(bug, before, folder)
    contents = {str(path): content for path, content, _ in source_files(after)}
    # In a copy, since its object store comes to hold the fix.
    scratch = folder.with_name(folder.name + ".scratch")
    shutil.copytree(folder, scratch)
    try:
        patch, test_patch = (_restricted(bug, part, contents, scratch) for part in (bug.fix, bug.tests))
    finally:
        shutil.rmtree(scratch)
    return Change(commit, patch, test_patch)


def _commit(bug: Bug, before: Path, folder: Path) -> str:
    for path, content, executable in source_files(before):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o755 if executable else 0o644)
    _git(folder, "init", "--quiet", "--template=", "--object-format=sha1", "--initial-branch=main")
    _git(folder, "add", "--force", "--all")
    _git(folder, "commit", "--quiet", "--message", f"{bug.package} {bug.before.version}", date=bug.date)
    # An index without time stamps and inode numbers, which differ from one build to the next.
    (folder / ".git/index").unlink()
    _git(folder, "read-tree", "HEAD")
    return _git(folder, "rev-parse", "HEAD").strip()


def _restricted(bug: Bug, selection: dict[str, list[str]], contents: dict[str, bytes], folder: Path) -> str:
    pieces = []
    for name, texts in selection.items():
        if name not in contents:
            raise DatasetError(f"{bug.instance_id}: {bug.package} {bug.after.version} has no file {name}.")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents[name])
        _git(folder, "add", "--force", "--", name)
        pieces.append(_select(bug, name, texts, _git(folder, *DIFF, "--", name)))
    _git(folder, "reset", "--quiet", "--hard")
    # Applied and taken again, so that line numbers are right without the hunks left out.
    _git(folder, "apply", "--index", "-", stdin="".join(pieces))
    patch = _git(folder, *DIFF)
    _git(folder, "reset", "--quiet", "--hard")
    return patch


def _select(bug: Bug, name: str, texts: list[str], diff: str) -> str:
    header, *hunks = re.split(r"^(?=@@ )", diff, flags=re.MULTILINE)
    chosen = set() if texts else set(range(len(hunks)))
    for text in texts:
        # Only in what changed: the function named behind @@ and the context do not count.
        found = [
            number
            for number, hunk in enumerate(hunks)
            if any(text in line for line in hunk.splitlines() if line.startswith(("+", "-")))
        ]
        if len(found) != 1:
            raise DatasetError(
                f"{bug.instance_id}: {text!r} is in {len(found)} hunks of the difference in {name}, not in one.",
                "Choose a text that occurs in one hunk only.",
            )
        chosen.update(found)
    if not chosen:
        raise DatasetError(f"{bug.instance_id}: {name} is the same in both releases.")
    return header + "".join(hunks[number] for number in sorted(chosen))


def _git(folder: Path, *arguments: str, date: str = "", stdin: str = "") -> str:
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_DEFAULT_REF_FORMAT": "files"}
    for role in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{role}_{key}": value for key, value in WHO.items()} | {f"GIT_{role}_DATE": date}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=env, input=stdin.encode(), capture_output=True, check=True
        )
    except FileNotFoundError:
        raise EnvironmentBrokenError("git is not installed.", "Install git 2.30 or newer.") from None
    except subprocess.CalledProcessError as error:
        raise EnvironmentBrokenError(
            f"git {arguments[0]} failed: {error.stderr.decode(errors='replace').strip()}",
            "Check that git is 2.30 or newer and that the disk is not full.",
        ) from error
    return done.stdout.decode()

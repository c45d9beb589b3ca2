"""The repository under test: its state, and patches that apply whole or not at all."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from trajmake.diffs import with_final_newline
from trajmake.engines.base import Container
from trajmake.errors import EnvironmentBrokenError
from trajmake.snapshot import Snapshot
from trajmake.workspace import GIT_ENV

_SECONDS = 300.0

_ATTEMPTS = (
    ("git apply", "git apply --whitespace=nowarn"),
    ("git apply --3way", "stage; git apply --3way --whitespace=nowarn"),
    # --forward: without it, --batch takes a change that is there already for one to be reversed.
    ("patch", "patch --batch --forward --fuzz=5 -p1 --no-backup-if-mismatch -i"),
)
"""SWE-bench's order, without ``--reject``, which applies in part."""


@dataclass(frozen=True)
class Base:
    """The state that the image brings: commit, whether the row's commit is there, what deviates."""

    head_commit: str
    base_commit_found: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Application:
    """How applying a patch ended: the method that worked, or what the attempts said."""

    applied: bool
    method: str = ""
    error: str = ""


def base(container: Container, workdir: str, base_commit: str) -> Base:
    """Look at the repository as the image brings it.

    Raises:
        EnvironmentBrokenError: git cannot read the repository.
        ContainerLostError: see :meth:`Container.run`.
    """
    commit = shlex.quote(f"{base_commit}^{{commit}}")
    script = (
        f"git rev-parse --verify 'HEAD^{{commit}}' && {{ git cat-file -e {commit} 2>/dev/null && echo found || true; }}"
    )
    result = container.run(script, timeout=_SECONDS, cwd=workdir, env=GIT_ENV)
    if result.exit_code != 0:
        raise EnvironmentBrokenError(
            f"git cannot read the repository {workdir} of container {container.name}: {result.text.strip()[-400:]}",
            "The image needs git and a repository with a commit.",
        )
    lines = result.text.split()
    head, found = lines[0], lines[-1] == "found"
    if not found:
        warning = f"The base commit {base_commit} is not in the repository; the image's own HEAD {head} is the base."
    elif head != base_commit:
        warning = f"HEAD {head} is not the base commit {base_commit}; the image's own HEAD is the base."
    else:
        return Base(head, True, ())
    return Base(head, found, (warning,))


def apply(snapshot: Snapshot, patch: str) -> Application:
    """Apply ``patch`` to the work tree, or leave the work tree as it was.

    Raises:
        EnvironmentBrokenError: the snapshot's repository is gone.
        ContainerLostError: see :meth:`Container.run`.
    """
    if not patch.strip():
        return Application(False)
    before = snapshot.current()
    file = f"{snapshot.folder}/apply.diff"
    snapshot.container.write(file, with_final_newline(patch).encode("utf-8", errors="surrogateescape"))
    said: list[str] = []
    for method, command in _ATTEMPTS:
        result = snapshot.run(f"{command} {shlex.quote(file)}")
        if result.exit_code == 0:
            return Application(True, method)
        said.append(f"{method}: {result.text.strip()[-500:]}")
        snapshot.restore(before)
    return Application(False, "", "\n".join(said))


def put_back(snapshot: Snapshot, tree: str, paths: Iterable[str]) -> None:
    """Give every one of ``paths`` the content it has in ``tree``, or none when it is not there.

    What stands in the way (a folder, a link, an ignored file) goes.

    Raises:
        EnvironmentBrokenError: the work tree could not be changed.
        ContainerLostError: see :meth:`Container.run`.
    """
    listed = list(paths)
    if not listed:
        return
    file = f"{snapshot.folder}/paths"
    snapshot.container.write(file, "".join(f"{path}\0" for path in listed).encode("utf-8", errors="surrogateescape"))
    snapshot.run(f"tree={tree}\n{_PUT_BACK}", "cannot be put back to its base")


# The wanted tree is made in an index of its own; `read-tree` then changes the work
# tree to it, which never writes through a link that a patch has planted.
_PUT_BACK = r"""
export GIT_LITERAL_PATHSPECS=1
stage
wanted=$GIT_DIR/index.wanted
cp -- "$GIT_DIR/index" "$wanted"
while IFS= read -r -d '' path; do
  GIT_INDEX_FILE=$wanted git rm -r -q -f --cached --ignore-unmatch -- "$path"
  git clean -ffdxq -- "$path"
done < "$GIT_DIR/paths"
while IFS= read -r -d '' path; do
  git ls-tree -r -z "$tree" -- "$path"
done < "$GIT_DIR/paths" > "$GIT_DIR/entries"
GIT_INDEX_FILE=$wanted git update-index --replace -z --index-info < "$GIT_DIR/entries"
git read-tree --reset -u "$(GIT_INDEX_FILE=$wanted git write-tree)"
"""

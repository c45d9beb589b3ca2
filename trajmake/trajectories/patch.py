"""The model's patch: the difference between two states of the work tree, byte for byte.

Taken from the work tree alone, so it does not matter whether the agent
committed, staged, rewrote history or deleted the repository. Renames are
written as a deletion and an addition, which every program can apply. A file
whose difference is not UTF-8 is written as a binary patch: ``output.jsonl`` and
``preds.json`` are JSON, which cannot hold other bytes.
"""

from __future__ import annotations

import shlex

from trajmake.engines.base import Container
from trajmake.errors import EnvironmentBrokenError
from trajmake.snapshot import Snapshot

_DIFF = (
    "git -c diff.noprefix=false -c diff.mnemonicPrefix=false -c diff.suppressBlankEmpty=false "
    "diff --cached --binary --full-index --no-color --no-ext-diff --no-textconv --no-renames "
    "--src-prefix=a/ --dst-prefix=b/ --ignore-submodules=all"
)


def start(container: Container, workdir: str) -> str:
    """Record the tree the agent starts from (with untracked files that are not ignored).

    Raises:
        EnvironmentBrokenError: there is no repository that git can read.
        ContainerLostError: see :meth:`Container.run`.
    """
    return Snapshot(container, workdir).take(independent=True)


def extract(container: Container, workdir: str, start_tree: str) -> str:
    """The patch from ``start_tree`` to the work tree as it is now; "" when nothing changed.

    Files that the repository ignores are not part of it, nor is a repository
    that the agent made in a new folder inside.

    Raises:
        EnvironmentBrokenError: what :func:`start` recorded is gone; never an empty patch instead.
        ContainerLostError: see :meth:`Container.run`.
    """
    snapshot = Snapshot(container, workdir)
    output = f"{snapshot.folder}/patch.diff"
    script = f"stage; {_DIFF} {start_tree} > {shlex.quote(output)}"
    snapshot.run(script, "gives no patch")
    patch = _read(snapshot, output)
    try:
        return patch.decode("utf-8")
    except UnicodeDecodeError:
        return _per_file(snapshot, start_tree, output)


def _per_file(snapshot: Snapshot, start_tree: str, output: str) -> str:
    names = f"{snapshot.folder}/names"
    listing = f"{_DIFF} --name-only -z {start_tree} > {shlex.quote(names)}".replace("--binary ", "")
    snapshot.run(listing, "gives no patch")
    parts: list[str] = []
    for name in _read(snapshot, names).split(b"\0")[:-1]:
        parts.append(_one_file(snapshot, start_tree, output, name))
    return "".join(parts)


def _one_file(snapshot: Snapshot, start_tree: str, output: str, name: bytes) -> str:
    pathspec = "".join(f"\\x{byte:02x}" for byte in name)
    diff = f"GIT_LITERAL_PATHSPECS=1 {_DIFF} {start_tree} -- $'{pathspec}' > {shlex.quote(output)}"
    snapshot.run(diff, "gives no patch")
    try:
        return _read(snapshot, output).decode("utf-8")
    except UnicodeDecodeError:
        attributes = '"$GIT_DIR/info/attributes"'
        as_binary = f"cp {attributes} {attributes}.kept; echo '* -diff' >> {attributes}; {diff}"
        snapshot.run(f"{as_binary}; mv {attributes}.kept {attributes}", "gives no patch")
        return _read(snapshot, output).decode("utf-8")


def _read(snapshot: Snapshot, path: str) -> bytes:
    try:
        return snapshot.container.read(path)
    except FileNotFoundError as error:
        raise EnvironmentBrokenError(
            f"The patch of {snapshot.workdir} in container {snapshot.container.name} is gone: no file {path}.",
            "Run the instance again.",
        ) from error

"""The state of a work tree, kept as a git tree in a repository of our own.

That repository lies beside the work tree, has its own configuration, index and
attributes, and so neither touches the repository under test nor believes its
settings: no filters, no line-ending conversion, no hooks, no hidden entries.
What the repository ignores is ignored; what it tracks is followed even so.
"""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from trajmake.engines.base import Container, Result
from trajmake.errors import EnvironmentBrokenError
from trajmake.workspace import GIT_ENV

_SECONDS = 900.0

# "!" gives a path its default back, whatever the repository's own attributes say.
_ATTRIBUTES = "* -text !eol -ident !filter !working-tree-encoding !merge !diff !whitespace"

_START = r"""
set -euo pipefail
cd -- "$work"
objects=$(cd -- "$(git rev-parse --git-path objects)" && pwd)
exclude=$(git rev-parse --git-path info/exclude)
rm -rf -- "$own"
git init -q --bare --template= "$own"
mkdir -p -- "$own/info"
if [ -f "$exclude" ]; then cp -- "$exclude" "$own/info/exclude"; fi
printf '%s\n' "$objects" > "$own/objects/info/alternates"
printf '%s\n' "$attributes" > "$own/info/attributes"
cat > "$own/config" <<'END'
[core]
  repositoryformatversion = 0
  bare = false
  fileMode = true
  symlinks = true
  ignoreCase = false
  autocrlf = false
  fsmonitor = false
  untrackedCache = false
  hooksPath = /dev/null
  attributesFile = /dev/null
  excludesFile = /dev/null
[gc]
  auto = 0
[advice]
  addEmbeddedRepo = false
[apply]
  whitespace = nowarn
END
git rev-parse -q --verify 'HEAD^{tree}' || true
"""

# A nested repository without a commit makes `git add` give up, so such folders are left out.
_STAGE = r"""
stage() {
  git add -A -- . 2>"$GIT_DIR/add.err" && return 0
  find . -mindepth 2 -name .git -prune -print | sed -e 's|^\.||' -e 's|/\.git$||' -e 's|[][*?\\]|\\&|g' \
    >> "$GIT_DIR/info/exclude"
  git add -A -- . || { cat "$GIT_DIR/add.err" >&2; return 1; }
}
"""


class Snapshot:
    """The repository of our own beside the work tree ``workdir`` of a container."""

    def __init__(self, container: Container, workdir: str) -> None:
        self.container = container
        self.workdir = workdir
        path = PurePosixPath(workdir)
        self.folder = str(path.parent / f".trajmake-{path.name}")

    def take(self, *, independent: bool = False) -> str:
        """Record the work tree as it is now and give the tree's id.

        Args:
            independent: Copy the tree's objects, so that the snapshot outlives
                the repository (an agent may delete it).

        Raises:
            EnvironmentBrokenError: no git, no repository, or one that git cannot read.
            ContainerLostError: see :meth:`Container.run`.
        """
        names = {"work": self.workdir, "own": self.folder, "attributes": _ATTRIBUTES}
        arguments = "".join(f"{key}={shlex.quote(value)}\n" for key, value in names.items())
        made = self.container.run(arguments + _START, timeout=_SECONDS, env=GIT_ENV)
        self._check(made, "cannot be recorded")
        head = made.text.split()[-1:]
        # From HEAD, so that files which are tracked although they are ignored are followed.
        script = "".join(f"git read-tree {tree}\n" for tree in head) + "stage\ntree=$(git write-tree)\n"
        if independent:
            script += (
                'git rev-list --objects "$tree" | cut -d" " -f1 | git pack-objects -q "$GIT_DIR/objects/pack/pack" '
                '>/dev/null\nrm -f -- "$GIT_DIR/objects/info/alternates"\n'
            )
        return self.run(script + 'echo "$tree"', "cannot be recorded").text.strip()

    def current(self) -> str:
        """The tree of the work tree as it is now.

        Raises:
            EnvironmentBrokenError: the snapshot is gone.
        """
        return self.run("stage; git write-tree", "cannot be read").text.strip()

    def restore(self, tree: str) -> None:
        """Make the work tree what it was at ``tree``; ignored files stay.

        Raises:
            EnvironmentBrokenError: the snapshot is gone.
        """
        self.run(f"stage; git read-tree --reset -u {tree}", "cannot be restored")

    def remove(self) -> None:
        """Forget everything; the work tree stays."""
        self.container.run(f"rm -rf -- {shlex.quote(self.folder)}", timeout=_SECONDS)

    def run(self, script: str, failure: str = "") -> Result:
        """Run a script in the work tree with this repository as git's.

        Args:
            script: May call ``stage``, which puts the work tree into the index.
            failure: When given, a script that fails raises, saying so.
        """
        env = {
            **GIT_ENV,
            "GIT_DIR": self.folder,
            "GIT_WORK_TREE": self.workdir,
            "GIT_INDEX_FILE": f"{self.folder}/index",
        }
        command = f"set -euo pipefail\nmkdir -p -- {shlex.quote(self.workdir)}\ncd -- {shlex.quote(self.workdir)}\n"
        result = self.container.run(f"{command}{_STAGE}{script}", timeout=_SECONDS, env=env)
        if failure:
            self._check(result, failure)
        return result

    def _check(self, result: Result, failure: str) -> None:
        if result.exit_code != 0:
            raise EnvironmentBrokenError(
                f"The work tree {self.workdir} of container {self.container.name} {failure}: "
                f"{result.text[-600:].strip() or f'exit code {result.exit_code}'}",
                "The image needs git and a readable repository.",
            )

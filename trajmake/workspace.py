"""The repository inside a container: where it is, its environment, its hidden future.

Shared by the agent's stage and the test run, so that both meet the same workspace.
"""

from __future__ import annotations

import shlex
from typing import Any

from trajmake.engines.base import Container
from trajmake.errors import EnvironmentBrokenError

QUIET = {
    "PAGER": "cat",
    "MANPAGER": "cat",
    "GIT_PAGER": "cat",
    "LESS": "-R",
    "PIP_PROGRESS_BAR": "off",
    "TQDM_DISABLE": "1",
}
"""Variables that keep programs from waiting for a terminal or drawing on it."""

GIT_ENV = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_NO_REPLACE_OBJECTS": "1",
    # The repository belongs to whoever built the image; "dubious ownership" must not stop us.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
"""Variables for our own git commands: nobody's configuration but the repository's."""

_SECONDS = 120.0
_HISTORY_SECONDS = 1800.0


PLACES = ("/app/repo", "/testbed", "/workspace/*", "/home/*")
"""Where images have the repository when the row does not say."""

ENVIRONMENTS = ("/saved/ENV", "/saved/*/ENV", "/root/.bashrc")
"""What enters an image's environment when a shell reads it."""


def find_script(repo_path: str = "") -> str:
    """Shell code that changes into the repository, or exits with 1."""
    places = " ".join([*([shlex.quote(repo_path)] if repo_path else []), *PLACES])
    return (
        f"found=; for place in {places}; do\n"
        '  if [ -e "$place/.git" ]; then cd -- "$place" && found=$PWD && break; fi\n'
        'done\n[ -n "$found" ] || exit 1\n'
    )


def find_repository(container: Container, repo_path: str = "") -> tuple[str, tuple[str, ...]]:
    """The repository's folder, ``repo_path`` or else the first of :data:`PLACES`; and a warning where it is else.

    Raises:
        EnvironmentBrokenError: no git repository in any of them.
        ContainerLostError: see :meth:`Container.run`.
    """
    result = container.run(find_script(repo_path) + 'printf "%s\\n%s" "$place" "$found"', timeout=_SECONDS)
    if result.exit_code != 0:
        wanted = f"there is none at the row's repo_path {repo_path}; " if repo_path else ""
        raise EnvironmentBrokenError(
            f"No git repository in container {container.name}: {wanted}looked at {', '.join(PLACES)}.",
            "Name the repository's folder in the row's `repo_path`, or mend the image.",
        )
    place, _, found = result.text.partition("\n")
    if not repo_path or place == repo_path:
        return found, ()
    return found, (f"There is no git repository at the row's repo_path {repo_path}; that at {found} is used.",)


def environment_script() -> str:
    """Shell code that prints the file which enters the image's environment, if there is one."""
    return f'for file in {" ".join(ENVIRONMENTS)}; do if [ -f "$file" ]; then printf %s "$file"; break; fi; done'


def environment(container: Container) -> dict[str, str]:
    """Variables for every command in the workspace: no pagers, and the image's own environment.

    ``BASH_ENV`` makes each ``bash -c`` enter it: the first of :data:`ENVIRONMENTS`.
    Shells that such a shell starts inherit it and do not enter again: a
    ``.bashrc`` that starts a bash script (pyenv's does) would recurse for ever.

    Raises:
        ContainerLostError: see :meth:`Container.run`.
    """
    entered = container.run(environment_script(), timeout=_SECONDS).text
    if not entered:
        return dict(QUIET)
    # bash expands the value: the whole name at first, nothing once the exported counter has moved.
    once = "${TRAJMAKE_ENTER:$((TRAJMAKE_SHELLS++ ? 4096 : 0))}"
    return {**QUIET, "BASH_ENV": once, "TRAJMAKE_ENTER": entered, "TRAJMAKE_SHELLS": "0"}


def hide_history(container: Container, workdir: str) -> dict[str, Any]:
    """Remove from the repository whatever HEAD does not lead to; files and index stay as they are.

    Branches, remotes, stashes, notes, reflogs, replacements, grafts, linked work trees,
    ``FETCH_HEAD`` and its like go, then every object that nothing is left to reach, and the
    stores that objects were borrowed from. Tags of commits before HEAD
    stay, as plain ones: build tools compute versions from them.

    Returns:
        ``head``, ``refs_removed``, ``objects_before``, ``objects_after``,
        ``unreachable_objects`` (0, or it is an error), ``submodules`` (their own
        histories are not touched) and ``seconds``.

    Raises:
        EnvironmentBrokenError: git cannot work on the repository, or something is left.
        ContainerLostError: see :meth:`Container.run`.
    """
    result = container.run(_HIDE, timeout=_HISTORY_SECONDS, cwd=workdir, env=GIT_ENV)
    record: dict[str, Any] = {}
    for line in result.text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key in _RECORDED:
            record[key] = value if key == "head" else int(value)
    if result.exit_code != 0 or set(record) != _RECORDED:
        raise EnvironmentBrokenError(
            f"The history of {workdir} in container {container.name} cannot be hidden: {result.text[-400:].strip()}",
            "Check the image's repository with `git fsck`.",
        )
    return {**record, "seconds": round(result.seconds, 3)}


_RECORDED = {"head", "refs_removed", "objects_before", "objects_after", "unreachable_objects", "submodules"}

# What git itself keeps in a repository and needs; everything else at its top goes: reflogs, ORIG_HEAD and its like,
# linked work trees, notes of an interrupted merge, bundles that somebody left there.
_KEPT = "HEAD config config.worktree hooks index sharedindex.* info lfs modules objects packed-refs refs shallow"

_HIDE = r"""
set -euo pipefail
git() { command git -c gc.auto=0 -c core.fsmonitor=false -c core.hooksPath=/dev/null "$@"; }
dir=$(git rev-parse --absolute-git-dir)
objects() { git cat-file --batch-check='%(objectname)' --batch-all-objects | sort -u; }
reachable() {
  { git rev-list --objects --indexed-objects HEAD || echo failed >&2; } | cut -d' ' -f1 | sort -u
}
rm -f -- "$dir/info/grafts"
head=$(git rev-parse --verify 'HEAD^{commit}')
branch=$(git symbolic-ref -q HEAD || true)
before=$(objects | wc -l)

tags=$(git for-each-ref --merged HEAD --format='%(refname) %(objectname) %(*objectname)' refs/tags)
removed=$(git for-each-ref --format='%(refname)' | { grep -vxF "${branch:-/}" || true; } | wc -l)
git for-each-ref --format='delete %(refname)' | { grep -vxF "delete ${branch:-/}" || true; } \
  | git update-ref --no-deref --stdin
while read -r name object commit; do
  [ -n "$name" ] && git update-ref --no-deref "$name" "${commit:-$object}" && removed=$((removed - 1))
done <<< "$tags"

for link in "$dir"/worktrees/*/gitdir; do
  if [ -f "$link" ]; then tree=$(dirname -- "$(cat -- "$link")"); if [ -f "$tree/.git" ]; then rm -rf -- "$tree"; fi; fi
done
for path in "$dir"/* "$dir"/.[!.]*; do
  for kept in @kept@; do case ${path##*/} in $kept) continue 2 ;; esac; done
  rm -rf -- "$path"
done
rm -rf -- "$dir/info/refs" "$dir/refs/stash" "$dir/refs/original" \
  "$dir/objects/info/commit-graph" "$dir/objects/info/commit-graphs" "$dir/objects/info/packs"
for section in $(git config --local --name-only --get-regexp '^(remote|branch)\.' | sed 's/\.[^.]*$//' | sort -u); do
  git config --local --remove-section "$section" || true
done

borrowed=$dir/objects/info/alternates
if [ -s "$borrowed" ] || [ "$(objects | wc -l)" -ne "$(reachable | wc -l)" ]; then
  rm -f -- "$dir"/objects/pack/*.keep
  git -c repack.writeBitmaps=false repack -a -d -q
  if [ -s "$borrowed" ]; then
    while IFS= read -r place; do
      case $place in /?*) rm -rf -- "$place" ;; ?*) rm -rf -- "$dir/objects/$place" ;; esac
    done < "$borrowed"
    rm -f -- "$borrowed"
  fi
  git prune --expire=now
fi
if [ -f "$dir/shallow" ]; then
  reachable > "$dir/.reachable"
  grep -xF -f "$dir/.reachable" "$dir/shallow" > "$dir/.shallow" || true
  rm -f -- "$dir/shallow" "$dir/.reachable"
  if [ -s "$dir/.shallow" ]; then mv -- "$dir/.shallow" "$dir/shallow"; else rm -f -- "$dir/.shallow"; fi
fi
after=$(objects | wc -l)
reachable > /dev/null
unreachable=$(comm -23 <(objects) <(reachable) | wc -l)
submodules=$(find "$dir/modules" -name HEAD -type f 2>/dev/null | wc -l || true)
printf '%s=%s\n' head "$head" refs_removed "$removed" objects_before "$before" objects_after "$after" \
  unreachable_objects "$unreachable" submodules "$submodules"
[ "$unreachable" -eq 0 ] || { echo "$unreachable objects that HEAD does not lead to are still there" >&2; exit 1; }
""".replace("@kept@", _KEPT)

"""The future of the repository inside a container, hidden: what comes after the commit that is checked out.

So are the futures of repositories in its work tree: of submodules, of clones that somebody left there.
"""

from __future__ import annotations

from typing import Any

from trajmake.engines.base import Container
from trajmake.errors import EnvironmentBrokenError
from trajmake.workspace import GIT_ENV

_SECONDS = 1800.0


def hide_history(container: Container, workdir: str) -> dict[str, Any]:
    """Remove from the repository whatever HEAD does not lead to; files and index stay as they are.

    Branches, remotes, stashes, notes, reflogs, replacements, grafts, linked work trees,
    ``FETCH_HEAD`` and its like go, then every object that nothing is left to reach, and the
    stores that objects were borrowed from. Tags of commits before HEAD
    stay, as plain ones: build tools compute versions from them. The same is done to every
    repository of ``.git/modules`` and of the work tree that HEAD does not track, with its own HEAD;
    bundles in the work tree that HEAD does not track go.

    Returns:
        ``head``, ``refs_removed``, ``objects_before``, ``objects_after``,
        ``unreachable_objects`` (0, or it is an error), ``nested_repositories`` and ``seconds``;
        the counts are of all repositories.

    Raises:
        EnvironmentBrokenError: git cannot work on a repository, or something is left.
        ContainerLostError: see :meth:`Container.run`.
    """
    result = container.run(_HIDE, timeout=_SECONDS, cwd=workdir, env=GIT_ENV)
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


_RECORDED = {
    "head",
    "refs_removed",
    "objects_before",
    "objects_after",
    "unreachable_objects",
    "nested_repositories",
}

# What git itself keeps in a repository and needs; everything else at its top goes: reflogs, ORIG_HEAD and its like,
# linked work trees, notes of an interrupted merge, bundles that somebody left there.
_KEPT = "HEAD config config.worktree hooks index sharedindex.* info lfs modules objects packed-refs refs shallow"

# Repositories may borrow objects from each other. So all lose their refs, then each gets what it borrows, and only
# then objects go.
_HIDE = r"""
set -euo pipefail
export GIT_LITERAL_PATHSPECS=1
work=$PWD
main=$(git rev-parse --absolute-git-dir)
stores=()
command -v find >/dev/null || { echo "there is no program find" >&2; exit 1; }
git() { command git -c gc.auto=0 -c core.fsmonitor=false -c core.hooksPath=/dev/null "$@"; }
tracked() {
  env -u GIT_DIR -u GIT_WORK_TREE git -C "$(dirname -- "$1")" ls-files --error-unmatch -- "$1" >/dev/null 2>&1
}
objects() { git cat-file --batch-check='%(objectname)' --batch-all-objects | sort -u; }
reachable() {
  if [ -z "$head" ]; then git ls-files -s | cut -d' ' -f2 | sort -u; return; fi
  { git rev-list --objects --indexed-objects HEAD || echo failed >&2; } | cut -d' ' -f1 | sort -u
}
nested() {
  {
    find "$work" "$main/modules" -name HEAD 2>/dev/null | sed 's|/HEAD$||' || true
    { find "$work" -name .git -type f 2>/dev/null || true; } | while IFS= read -r link; do
      git -C "$(dirname -- "$link")" rev-parse --absolute-git-dir 2>/dev/null || true
    done
  } | sort -u | while IFS= read -r place; do
    if [ "$place" != "$main" ] && [ -d "$place/objects" ] && ! tracked "$place"; then printf '%s\n' "$place"; fi
  done
}
enter() {
  dir=$1 head='' GIT_WORK_TREE=$1
  if [ "$dir" = "$main" ]; then GIT_WORK_TREE=$work; fi
  export GIT_DIR=$dir GIT_WORK_TREE
  head=$(git rev-parse --verify 'HEAD^{commit}') || [ "$dir" != "$main" ]
}
forget() {
  local branch tags name object commit link tree path kept section
  rm -f -- "$dir/info/grafts"
  branch=$(git symbolic-ref -q HEAD || true)
  before=$((before + $(objects | wc -l)))
  tags=''
  if [ -n "$head" ]; then
    tags=$(git for-each-ref --merged HEAD --format='%(refname) %(objectname) %(*objectname)' refs/tags)
  fi
  removed=$((removed + $(git for-each-ref --format='%(refname)' | { grep -vxF "${branch:-/}" || true; } | wc -l)))
  git for-each-ref --format='delete %(refname)' | { grep -vxF "delete ${branch:-/}" || true; } \
    | git update-ref --no-deref --stdin
  while read -r name object commit; do
    [ -n "$name" ] && git update-ref --no-deref "$name" "${commit:-$object}" && removed=$((removed - 1))
  done <<< "$tags"
  for link in "$dir"/worktrees/*/gitdir; do
    if [ -f "$link" ]; then
      tree=$(dirname -- "$(cat -- "$link")"); if [ -f "$tree/.git" ]; then rm -rf -- "$tree"; fi
    fi
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
}
pack() { rm -f -- "$dir"/objects/pack/*.keep; git -c repack.writeBitmaps=false repack -a -d -q; }
own() {
  local place
  if [ -s "$dir/objects/info/alternates" ]; then
    pack
    while IFS= read -r place; do
      case $place in /?*) ;; ?*) place=$dir/objects/$place ;; *) continue ;; esac
      if [ -d "$place" ]; then stores+=("$(cd -- "$place" && pwd -P)"); fi
    done < "$dir/objects/info/alternates"
    rm -f -- "$dir/objects/info/alternates"
  fi
}
look() { objects > "$dir/.objects"; reachable > "$dir/.reachable"; }
left() { comm -23 "$dir/.objects" "$dir/.reachable" | wc -l; }
drop() {
  look
  if [ "$(left)" -ne 0 ]; then pack; git prune --expire=now; look; fi
  if [ -f "$dir/shallow" ]; then
    grep -xF -f "$dir/.reachable" "$dir/shallow" > "$dir/.shallow" || true
    rm -f -- "$dir/shallow"
    if [ -s "$dir/.shallow" ]; then mv -- "$dir/.shallow" "$dir/shallow"; else rm -f -- "$dir/.shallow"; fi
  fi
  after=$((after + $(wc -l < "$dir/.objects")))
  unreachable=$((unreachable + $(left)))
  rm -f -- "$dir/.objects" "$dir/.reachable"
}

removed=0 before=0 after=0 unreachable=0
found=$(nested)
repositories=("$main")
while IFS= read -r place; do if [ -n "$place" ]; then repositories+=("$place"); fi; done <<< "$found"
for place in "${repositories[@]}"; do enter "$place"; forget; done
for place in "${repositories[@]}"; do enter "$place"; own; done
for store in ${stores[@]+"${stores[@]}"}; do
  for place in "${repositories[@]}"; do
    if [ "$store" = "$(cd -- "$place/objects" && pwd -P)" ]; then continue 2; fi
  done
  rm -rf -- "$store"
done
for place in "${repositories[@]}"; do enter "$place"; drop; done
{ find "$work" -name '*.bundle' -type f 2>/dev/null || true; } | while IFS= read -r place; do
  if head -c 20 -- "$place" | grep -qa '^# v[0-9]* git bundle' && ! tracked "$place"; then rm -f -- "$place"; fi
done
enter "$main"
printf '%s=%s\n' head "$head" refs_removed "$removed" objects_before "$before" objects_after "$after" \
  unreachable_objects "$unreachable" nested_repositories "$((${#repositories[@]} - 1))"
[ "$unreachable" -eq 0 ] || { echo "$unreachable objects that HEAD does not lead to are still there" >&2; exit 1; }
""".replace("@kept@", _KEPT)

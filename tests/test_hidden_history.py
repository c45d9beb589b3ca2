"""A fix from the future, planted in a repository in every way git knows, and looked for from inside a container."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from trajmake import engines
from trajmake.datasets import Dataset
from trajmake.errors import TrajmakeError
from trajmake.hidden_history import hide_history

INSTANCE = "mahmoud__boltons-24.1.0"

# As an agent's own git; the repository may belong to another user than the container's root.
OWNED = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}

# Each `fix` is a commit of its own with a secret of its own, so that every hiding place is looked for.
PLANT = r"""
set -eu
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
base=$(git rev-parse HEAD)
fix() {
  blob=$(echo "SECRET of $1" | git hash-object -w --stdin)
  tree=$( { git ls-tree HEAD; printf '100644 blob %s\tfix.py\n' "$blob"; } | git mktree)
  commit=$(git commit-tree -p "$base" -m "SECRET of $1" "$tree")
  echo "$commit $blob" >> /tmp/planted
}
fix branch;    git branch later $commit
fix tag;       git tag v9 $commit
fix annotated; git tag -a v10 -m 'SECRET of the tag' $commit
fix remote;    git update-ref refs/remotes/origin/main $commit; git config remote.origin.url https://example.org/x.git
fix reflog;    git update-ref -m move HEAD $commit; git update-ref -m back HEAD $base
fix note;      git notes add -m "SECRET note $commit" HEAD
fix stash;     git stash store -m 'SECRET stash' $(git commit-tree -p $base -p $commit -m 'SECRET stash' $tree)
fix packed;    pack=$(printf '%s\n' $commit $tree $blob | git pack-objects -q .git/objects/pack/pack)
touch .git/objects/pack/pack-$pack.keep
fix loose
fix replace;   git replace -f $base $(git commit-tree -p $commit -m replaced $(git rev-parse 'HEAD^{tree}'))
fix orig;      echo $commit > .git/ORIG_HEAD
fix fetch;     printf '%s\t\tbranch main of https://example.org/x\n' $commit > .git/FETCH_HEAD
fix shallow;   shallow=$commit
fix graft;     graft=$commit
fix bundle;    git update-ref refs/heads/tmp $commit; git bundle create -q .git/later.bundle refs/heads/tmp
git update-ref -d refs/heads/tmp
fix worktree;  git worktree add -q -f --detach /tmp/linked $commit
fix bisect;    git update-ref refs/bisect/bad $commit
fix custom;    git update-ref refs/pull/1/head $commit
git init -q --bare --template= /tmp/other.git
export GIT_OBJECT_DIRECTORY=/tmp/other.git/objects GIT_ALTERNATE_OBJECT_DIRECTORIES=$PWD/.git/objects
fix alternate; mkdir -p /tmp/other.git/refs/heads; echo $commit > /tmp/other.git/refs/heads/later
unset GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
echo /tmp/other.git/objects >> .git/objects/info/alternates
git pack-refs --all
mkdir -p .git/info; echo "$base $graft" > .git/info/grafts; echo $shallow >> .git/shallow
"""
LOOK = r"""
while read -r commit blob; do
  for object in $commit $blob; do
    if git cat-file -e $object 2>/dev/null; then echo "object: $(git cat-file -p $object | tail -1)"; fi
    if grep -rqs $object .git; then echo "id: $(grep -rls $object .git)"; fi
  done
done < /tmp/planted
git log --all --reflog --format='log: %s' | grep SECRET || true
git for-each-ref | grep -v 'refs/heads/[a-z]*$' || true
git fsck --unreachable --dangling --no-reflogs --lost-found 2>/dev/null | sed 's/^/fsck: /'
git stash list; git reflog; git worktree list | tail -n +2
git cat-file --batch-all-objects --batch-check='%(objectname)' | git cat-file --batch 2>/dev/null \
  | grep -a '^SECRET of' || true
grep -rls 'SECRET of' .git /tmp/linked /tmp/other.git 2>/dev/null || true
find .git -name '*.bundle'
"""


@pytest.fixture(params=["docker", "namespace"])
def container(request, demo_data, store):
    """A real one, of a demo instance."""
    try:
        engine = engines.select(request.param, **({"store": store} if request.param == "namespace" else {}))
        engine.version()
    except TrajmakeError as error:
        pytest.skip(f"engine {request.param}: {error.message}")
    dataset = Dataset(demo_data / "instances.jsonl")
    image = engine.load(Path(dataset.image_uri(INSTANCE)))
    with engine.start(image.id, name=f"history-{os.getpid()}") as started:
        yield started, dataset.instance(INSTANCE).repo_path


def test_no_planted_fix_is_found_from_inside(container):
    here, repo = container
    run = lambda script: here.run(script, timeout=300, cwd=repo, env=OWNED).text  # noqa: E731
    planted = here.run(PLANT, timeout=300, cwd=repo, env=OWNED)
    assert planted.exit_code == 0, planted.text
    found = run(LOOK)  # the search does find what is there
    names = re.findall(r"^fix (\w+)", PLANT, re.MULTILINE)
    assert len(names) == 19 and [name for name in names if f"object: SECRET of {name}\n" not in found] == []
    state = "git status --porcelain 2>/dev/null; git ls-files -s 2>/dev/null; git rev-parse HEAD 2>/dev/null"
    before = run(state)
    record = hide_history(here, repo)
    assert run(LOOK) == ""
    assert record["unreachable_objects"] == 0 and record["objects_after"] < record["objects_before"]
    assert run(state) == before
    assert run("git fsck --full 2>&1; git log --oneline | wc -l").strip().isdigit()

"""Futures in repositories that lie in the work tree, and in bundles there."""

from __future__ import annotations

from pathlib import Path

from local_container import LocalContainer
from test_patch import shell

from trajmake.hidden_history import hide_history

NESTED = """
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q -b main .; git commit -q --allow-empty -m base
later() { git -C "$1" checkout -q -b later; echo $2 > "$1/$2"; git -C "$1" add .; git -C "$1" commit -qm "SECRET $2";
  git -C "$1" checkout -q -; }
git init -q ../upstream; echo 1 > ../upstream/file; git -C ../upstream add .; git -C ../upstream commit -qm first
git -c protocol.file.allow=always submodule --quiet add "$PWD/../upstream" sub; git commit -qm 'with a submodule'
later sub submodule; git -C sub tag v9 later
git -c protocol.file.allow=always submodule --quiet add --name gone "$PWD/../upstream" gone
later gone deinitialized; git rm -q -f --cached gone; rm -rf gone; git checkout -q -f HEAD -- .gitmodules
git clone -q . clone; later clone cloned
git clone -q --shared . borrowing; later borrowing borrower
git init -q empty; git -C empty fetch -q ../clone later
git clone -q --bare clone bare.git
git init -q --bare tracked.git; touch tracked.git/refs/.keep tracked.git/objects/.keep
git -C clone push -q ../tracked.git later; git add -f tracked.git; git commit -qm 'with a fixture'
git clone -q . away --separate-git-dir ../away.git; later away elsewhere
git -C clone bundle create -q ../later.bundle later
git bundle create -q kept.bundle HEAD; git add kept.bundle; git commit -qm 'with a bundle'
printf 'no bundle of git' > other.bundle
"""
FOUND = r"""
for place in .git .git/modules/sub .git/modules/gone clone/.git borrowing/.git empty/.git bare.git ../away.git; do
  GIT_DIR=$place GIT_WORK_TREE=$place git cat-file --batch-all-objects --batch='%(objectname)' \
    | grep -ao 'SECRET .*' || true
done
"""


def test_no_future_is_left_in_repositories_within(tmp_path: Path) -> None:
    """Submodules, clones and bundles that lie in the work tree hold futures too; what is tracked is left alone."""
    work = tmp_path / "work tree"
    work.mkdir()
    shell(work, NESTED)
    names = {"submodule", "deinitialized", "cloned", "borrower", "elsewhere"}
    assert {f"SECRET {name}" for name in names} == set(shell(work, FOUND).splitlines())
    look = "git status --porcelain; git log --oneline; for n in sub clone borrowing away; do git -C $n status -s; done"
    look += "; git -C borrowing log --oneline; git submodule status sub | cut -c1-46; git ls-files -s"
    before = shell(work, look)
    record = hide_history(LocalContainer(tmp_path), str(work))
    assert shell(work, FOUND) == ""
    assert shell(work, look) == before.replace("?? later.bundle\n", "")
    assert (record["nested_repositories"], record["unreachable_objects"]) == (7, 0)
    assert sorted(path.name for path in work.glob("*.bundle")) == ["kept.bundle", "other.bundle"]
    assert "SECRET cloned" in shell(work, "git -C tracked.git log later")  # a fixture of the project's own tests
    assert shell(work, "git fsck --full 2>&1; git -C borrowing fsck --full 2>&1; git -C sub fsck --full 2>&1") == ""

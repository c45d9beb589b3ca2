"""The model's patch out of the work tree, byte for byte, and what is done to a workspace before.

Everything runs real git in a folder of the test.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from local_container import LocalContainer

from trajmake import workspace
from trajmake.diffs import added_lines, touched_paths, with_final_newline
from trajmake.errors import EnvironmentBrokenError
from trajmake.hidden_history import hide_history
from trajmake.trajectories import patch

IDENTITY = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_NAME": "a" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "a@example.org" for who in ("AUTHOR", "COMMITTER")},
}


def shell(folder: Path, script: str) -> str:
    """Run a script in ``folder`` and give its output."""
    env = {**os.environ, **IDENTITY}
    return subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=env, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A repository with a commit, an ignored but tracked file and an untracked one."""
    folder = tmp_path / "work tree"
    folder.mkdir()
    (folder / "crlf.txt").write_bytes(b"one\r\ntwo\r\n")
    (folder / "plain.txt").write_text("".join(f"line {number}\n" for number in range(20)))
    (folder / "gone.txt").write_text("gone\n")
    (folder / "latin.txt").write_bytes(b"caf\xe9\nx\n")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "tracked.log").write_text("tracked\n")
    shell(folder, "git init -q -b main; git add -Af; git commit -qm base")
    (folder / "untracked.txt").write_text("untracked\n")
    return folder


@pytest.fixture
def container(tmp_path: Path) -> LocalContainer:
    """Commands on this machine."""
    return LocalContainer(tmp_path)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Path → executable bit or link, and bytes, of everything outside ``.git``."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if ".git" in name.split("/") or (path.is_dir() and not path.is_symlink()):
            continue
        data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        found[name] = (2 if path.is_symlink() else int(os.access(path, os.X_OK)), data)
    return found


def change_everything(folder: Path) -> None:
    """Every kind of change that a patch must carry."""
    (folder / "crlf.txt").write_bytes(b"one\r\nTWO\r\nthree\n")
    (folder / "plain.txt").rename(folder / "renamed.txt")
    (folder / "renamed.txt").chmod(0o755)
    (folder / "gone.txt").unlink()
    (folder / "latin.txt").write_bytes(b"caf\xe9\ny\n")
    (folder / "tracked.log").write_text("changed\n")
    (folder / "untracked.txt").write_text("changed\n")
    (folder / "form feed.txt").write_bytes(b"a\fb\n\x0bc\xe2\x80\xa8d\rx")
    (folder / 'na"me é.txt').write_text("no newline at the end")
    (folder / "empty.txt").touch()
    (folder / "binary").write_bytes(bytes(range(256)) * 10)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "[x].py").write_text("-- a/x\n++ b/y\n")
    (folder / "link").symlink_to("crlf.txt")
    (folder / "ignored.log").write_text("ignored\n")


COMMITTED = "git add -A; git commit -qm work; echo staged > staged.txt; git add staged.txt"


@pytest.mark.parametrize(
    "meddling",
    [
        "true",
        COMMITTED,
        "rm -f .git/index",
        "git add -A; git rm -q --cached crlf.txt",
        "git config core.autocrlf true; git config core.fileMode false; git config diff.noprefix true; "
        "git config diff.external false; git config core.excludesFile .gitignore; echo '*' > .git/info/exclude",
        "git update-index --assume-unchanged crlf.txt; git update-index --skip-worktree latin.txt",
        "git checkout -q --orphan x; git commit -qam y; git branch -D main -q; git gc -q --prune=now",
        "mkdir nested; git init -q nested; git config core.hooksPath nested",
        "rm -rf .git",
    ],
)
def test_patch_carries_every_byte(work: Path, container: LocalContainer, tmp_path: Path, meddling: str) -> None:
    """Whatever the agent does with git, the patch turns the start into the end, through JSON."""
    other = tmp_path / "other"
    shell(tmp_path, f"cp -a '{work}' other")
    tree = patch.start(container, str(work))
    change_everything(work)
    shell(work, meddling)
    text = json.loads(json.dumps(patch.extract(container, str(work), tree)))
    (tmp_path / "model.diff").write_bytes(text.encode())
    shell(other, "git apply --whitespace=nowarn ../model.diff")
    wanted = contents(work)
    del wanted["ignored.log"]
    assert contents(other) == wanted
    assert set(touched_paths(text)) >= {
        "renamed.txt",
        "plain.txt",
        "gone.txt",
        'na"me é.txt',
        "deep/er/[x].py",
        "empty.txt",
    }


def test_attributes_convert_nothing(work: Path, container: LocalContainer) -> None:
    """Filters and line-ending rules of the repository leave the patch alone; no filter is run."""
    shell(work, "git config filter.evil.clean 'touch ../ran; cat'; echo '* text eol=crlf filter=evil' > .gitattributes")
    tree = patch.start(container, str(work))
    (work / "new.txt").write_bytes(b"lf\ncrlf\r\n")
    text = patch.extract(container, str(work), tree)
    assert "+lf\n+crlf\r\n" in text
    assert not (work.parent / "ran").exists()


def test_unchanged_tree_gives_an_empty_patch(work: Path, container: LocalContainer) -> None:
    """What was there before the agent came is not its patch."""
    (work / "plain.txt").write_text("dirty before\n")
    tree = patch.start(container, str(work))
    (work / "only.log").write_text("ignored")
    assert patch.extract(container, str(work), tree) == ""


def test_lost_start_is_an_error(work: Path, container: LocalContainer) -> None:
    """A patch that cannot be told is never an empty one."""
    tree = patch.start(container, str(work))
    shell(work.parent, f"rm -rf '.trajmake-{work.name}'")
    with pytest.raises(EnvironmentBrokenError):
        patch.extract(container, str(work), tree)


def test_no_repository_is_an_error(tmp_path: Path, container: LocalContainer) -> None:
    """Nothing can be recorded where there is no repository."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(EnvironmentBrokenError, match="folder"):
        patch.start(container, str(tmp_path / "folder"))


def test_start_leaves_no_trace(work: Path, container: LocalContainer) -> None:
    """The repository under test is not touched by recording and extracting."""
    look = (
        "git status --porcelain; git ls-files -s; git for-each-ref; find .git -type f | sort | xargs -d '\\n' sha1sum"
    )
    shell(work, "git status > /dev/null")
    before = shell(work, look)
    tree = patch.start(container, str(work))
    patch.extract(container, str(work), tree)
    assert shell(work, look) == before


FUTURE = """
git tag v1; git tag -a v1-annotated -m m
git checkout -qb future; echo secret-fix > plain.txt; git commit -qam 'the fix'; git tag v2
git checkout -q main; git branch old
echo stash >> plain.txt; git stash -q
git notes add -m note; git update-ref refs/remotes/origin/main future
git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/main
git config remote.origin.url https://example.org/x.git; git config branch.main.remote origin
git rev-parse future > .git/FETCH_HEAD; git rev-parse future > .git/ORIG_HEAD
git worktree add -q ../tree future
git pack-refs --all; git repack -adq; for pack in .git/objects/pack/*.pack; do touch "${pack%.pack}.keep"; done
git commit-graph write --reachable
echo dangling | git hash-object -w --stdin
echo staged > staged.txt; git add staged.txt; echo dirty >> crlf.txt
"""


def test_history_after_head_is_gone(work: Path, container: LocalContainer) -> None:
    """No command finds the fix any more; the work tree and the index are as they were."""
    shell(work, FUTURE)
    fix = shell(work, "git rev-parse future").strip()
    look = "git status --porcelain; git diff; git ls-files -s; git log --oneline"
    before = shell(work, look)
    record = hide_history(container, str(work))
    assert shell(work, look) == before
    assert shell(work, f"git cat-file -e {fix} 2>/dev/null && echo there || echo gone") == "gone\n"
    assert shell(work, "git for-each-ref --format='%(refname) %(objecttype)'").split("\n")[:-1] == [
        "refs/heads/main commit",
        "refs/tags/v1 commit",
        "refs/tags/v1-annotated commit",
    ]
    assert shell(work, "git fsck --unreachable --no-reflogs 2>/dev/null") == ""
    assert (
        shell(work, "git stash list; git remote; git reflog; git config --get-regexp '^(remote|branch)' || true") == ""
    )
    assert shell(work, f"grep -rl {fix} .git || true") == ""
    assert record["unreachable_objects"] == 0
    assert record["objects_after"] < record["objects_before"]
    assert record["head"] == shell(work, "git rev-parse HEAD").strip()
    assert record["refs_removed"] == 7


def test_history_of_a_detached_head(work: Path, container: LocalContainer) -> None:
    """Images are often left at a detached commit."""
    shell(work, "echo later > later.txt; git add later.txt; git commit -qm later; git checkout -q --detach HEAD~1")
    record = hide_history(container, str(work))
    assert shell(work, "git for-each-ref") == ""
    assert (record["refs_removed"], record["unreachable_objects"]) == (1, 0)
    assert shell(work, "git log --all --oneline | wc -l").strip() == "1"


def test_history_with_nothing_to_hide(work: Path, container: LocalContainer) -> None:
    """The usual case costs no repacking."""
    record = hide_history(container, str(work))
    assert record["objects_before"] == record["objects_after"]
    assert record["nested_repositories"] == 0


def test_history_of_no_repository(tmp_path: Path, container: LocalContainer) -> None:
    """git's own words are in the message."""
    with pytest.raises(EnvironmentBrokenError, match="not a git repository"):
        hide_history(container, str(tmp_path))


def test_repository_is_found_by_its_path(work: Path, container: LocalContainer) -> None:
    """A path with a blank too."""
    assert workspace.find_repository(container, str(work)) == (str(work), ())


def test_no_repository_names_the_places(tmp_path: Path, container: LocalContainer) -> None:
    """The message says where one was looked for."""
    if container.run(workspace.find_script(), timeout=10).exit_code == 0:
        pytest.skip("this machine has a repository in one of the usual places")
    with pytest.raises(EnvironmentBrokenError, match="/app/repo"):
        workspace.find_repository(container, str(tmp_path))


def test_environment_is_entered_once(
    tmp_path: Path, container: LocalContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``.bashrc`` that starts bash itself, as pyenv's does, must not start it for ever."""
    rc = tmp_path / "home of root" / ".bashrc"
    rc.parent.mkdir()
    rc.write_text("export ENTERED=$((ENTERED + 1)); export SEEN=$(bash -c 'echo inner $ENTERED')\n")
    monkeypatch.setattr(workspace, "environment_script", lambda: f"printf %s {shlex.quote(str(rc))}")
    env = workspace.environment(container)
    assert env["PAGER"] == env["GIT_PAGER"] == "cat"
    command = 'echo "$ENTERED, $SEEN"; bash -c \'echo "$ENTERED"; bash -c "echo \\$ENTERED"\''
    for _ in range(2):
        assert container.run(command, timeout=10, env=env).text == "1, inner 1\n1\n1\n"


def test_environment_without_one(container: LocalContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is entered where there is nothing to enter."""
    monkeypatch.setattr(workspace, "ENVIRONMENTS", ("/nowhere/ENV",))
    assert workspace.environment(container) == workspace.QUIET


def test_touched_paths_of_hard_diffs() -> None:
    """Removed lines that look like headers, renames, modes, quoted names, CR LF."""
    diff = (
        "diff --git a/x.sql b/x.sql\n--- a/x.sql\n+++ b/x.sql\n"
        "@@ -1,2 +1,2 @@\n--- a/not_a_file\n+++ b/nor_this\n same\n"
        "diff --git a/old name.txt b/new name.txt\nsimilarity index 100%\n"
        "rename from old name.txt\nrename to new name.txt\n"
        "diff --git a/mode only.sh b/mode only.sh\nold mode 100644\nnew mode 100755\n"
        'diff --git "a/\\303\\251\\".txt" "b/\\303\\251\\".txt"\nnew file mode 100644\n'
        "diff --git a/w.txt b/w.txt\r\n--- a/w.txt\r\n+++ b/w.txt\r\n@@ -1 +1 @@\r\n-a\r\n+b\r\n"
        "--- /dev/null\t2020\n+++ b/plain\t2020\n@@ -0,0 +1 @@\n+x"
    )
    assert touched_paths(diff) == (
        "x.sql", "old name.txt", "new name.txt", "mode only.sh", 'é".txt', "w.txt", "plain",
    )  # fmt: skip
    assert added_lines(diff)["plain"] == ["x"]
    assert added_lines(diff)["x.sql"] == ["++ b/nor_this"]
    assert with_final_newline(diff).endswith("+x\n")
    assert with_final_newline("") == ""

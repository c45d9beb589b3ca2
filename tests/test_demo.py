"""The demo's instances: the same bytes everywhere, and bugs that are really there."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from trajmake import demo
from trajmake.datasets.rows import to_instance
from trajmake.demo import downloads, machine, repository
from trajmake.demo.bugs import Bug, Release, load_bugs
from trajmake.demo.image import Layer, Tree, sha256_of, write_image
from trajmake.engines.base import Engine
from trajmake.errors import DatasetError, EngineUnavailableError
from trajmake.evaluation import run_tests
from trajmake.grading.verdict import State, grade
from trajmake.trajectories import patch as trajectory_patch

REPLIES = Path(__file__).parents[1] / "demo" / "replies"
SUBMIT = ["echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"]
UNSOLVED_BY_FIXER = "Python-Markdown__markdown-3.6"
COMMITS = {
    "r1chardj0n3s__parse-1.20.2": "f30132cc32272b88f290471abd98c0cdbd6cb09e",
    "andialbrecht__sqlparse-0.5.1": "eb4611bc5c7dda434508527a82deea03bfac84e0",
    "python-humanize__humanize-4.10.0": "205dfbaf8e9a28f953f1f532eaea816307be25c9",
    "mahmoud__boltons-24.1.0": "3a1f1be51f9610b9c070268a6e5346015226b9c8",
    "Python-Markdown__markdown-3.6": "643e9ff90651e783a013d84f57dc984a418c73a3",
}
IDS = [bug.instance_id for bug in load_bugs()]


@pytest.fixture(scope="module")
def rows(demo_data: Path) -> dict[str, dict]:
    lines = (demo_data / "instances.jsonl").read_text().splitlines()
    return {row["instance_id"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def engine(store: Path, rows: dict[str, dict]) -> Iterator[Engine]:
    """The engine that `auto` means; images that it did not hold before are removed again."""
    from trajmake.engines import choose, select

    try:
        name = choose("auto")[0]
    except EngineUnavailableError as error:
        pytest.skip(f"no engine here: {error.message}")
    chosen = select(name, store=store) if name == "namespace" else select(name)
    tags = [f"{row['repo'].replace('/', '_')}:{row['base_commit']}".lower() for row in rows.values()]
    held = {tag for tag in tags if chosen.find(tag)}
    yield chosen
    for tag in set(tags) - held:
        if image := chosen.find(tag):
            chosen.remove(image.id)


# --- what is built -----------------------------------------------------------------------------------------------


def test_every_machine_gets_the_same_commits(rows) -> None:
    """The commit id is the image's name and part of the row; it must not depend on who builds it."""
    assert {name: row["base_commit"] for name, row in rows.items()} == COMMITS


@pytest.mark.parametrize("instance_id", IDS)
def test_the_row_is_complete(rows, demo_data, instance_id) -> None:
    """A row is read like any benchmark's, and what it needs is beside the dataset."""
    instance = to_instance(rows[instance_id])
    image = demo_data / instance.image_storage_uri
    assert instance.repo.replace("/", "__") == instance_id.rpartition("-")[0]
    assert image.name == f"{instance.repo.replace('/', '_')}-{instance.base_commit}.tar"
    assert image.stat().st_size < 250e6
    assert instance.fail_to_pass and instance.pass_to_pass
    assert instance.problem_statement == rows[instance_id]["problem_statement"]
    assert len(instance.patch.splitlines()) < 60


@pytest.mark.parametrize("bug", load_bugs(), ids=IDS)
def test_the_patches_are_what_the_next_release_changed(rows, demo_data, bug: Bug) -> None:
    """Nothing is made up: a line that is taken away was in the old release, one that is added is in the new one."""
    sdists = [
        {str(path): content.decode(errors="replace") for path, content, _ in downloads.source_files(archive)}
        for release in (bug.before, bug.after)
        for archive in [downloads.sdist(bug.package, release.version, release.sha256, demo_data / "sdists")]
    ]
    for part, files in (("patch", bug.fix), ("test_patch", bug.tests)):
        changed = {}
        for line in rows[bug.instance_id][part].splitlines():
            if line.startswith("diff --git "):
                changed[name := line.rpartition(" b/")[2]] = []
            elif line[:1] in "+-" and not line.startswith(("+++ ", "--- ")):
                changed[name].append(line)
        assert set(changed) == set(files)
        for name, lines in changed.items():
            before, after = (release.get(name, "").splitlines() for release in sdists)
            assert {line[1:] for line in lines if line[0] == "-"} <= set(before)
            assert {line[1:] for line in lines if line[0] == "+"} <= set(after)


@pytest.mark.parametrize("instance_id", IDS)
def test_the_image_shows_the_bug_and_not_its_fix(rows, demo_data, tmp_path, instance_id) -> None:
    """The fix was computed in a repository too; none of its objects may be in the one that an agent gets."""
    row = rows[instance_id]
    with tarfile.open(demo_data / row["image_storage_uri"]) as image:
        manifest = json.load(image.extractfile("manifest.json"))[0]
        config = json.load(image.extractfile(manifest["Config"]))["config"]
        with tarfile.open(fileobj=image.extractfile(manifest["Layers"][-1])) as layer:
            members = [member for member in layer if member.name.split("/")[0] == "testbed"]
            assert {(member.uid, member.gid) for member in members} == {(0, 0)}
            layer.extractall(tmp_path, members, filter="data")
    assert manifest["RepoTags"] == [f"{row['repo'].replace('/', '_')}:{row['base_commit']}".lower()]
    assert config["WorkingDir"] == row["repo_path"] == "/testbed"
    assert _git(tmp_path / "testbed", "rev-list", "--all") == [row["base_commit"]]
    stored = _git(tmp_path / "testbed", "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    reachable = _git(tmp_path / "testbed", "rev-list", "--objects", "--no-object-names", "--all")
    assert sorted(stored) == sorted(reachable)
    assert _git(tmp_path / "testbed", "status", "--porcelain", "--ignored") == []
    for part in ("patch", "test_patch"):
        subprocess.run(["git", "apply", "-"], cwd=tmp_path / "testbed", input=row[part].encode(), check=True)


def _git(folder: Path, *arguments: str) -> list[str]:
    command = ["git", "-c", f"safe.directory={folder}", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("instance_id", IDS)
def test_gold_resolves_and_empty_does_not(rows, demo_data, engine, tmp_path, instance_id) -> None:
    """The tests really fail before the fix and pass after it, run and graded like any model's patch."""
    instance = to_instance(rows[instance_id])
    assert _state(instance, instance.patch, demo_data, engine, tmp_path) is State.RESOLVED
    assert _state(instance, "", demo_data, engine, tmp_path) is not State.RESOLVED


# --- doing it again ----------------------------------------------------------------------------------------------


def test_a_second_build_does_nothing(demo_data, monkeypatch) -> None:
    """`make demo` runs the builder every time."""
    files = [path for path in demo_data.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    monkeypatch.setattr(demo, "_build", lambda *_: pytest.fail("it builds again"))
    written = demo.prepare(demo_data)
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert written[0] == demo_data / "instances.jsonl" and len(written) == 1 + len(IDS)


def test_only_what_is_missing_is_built_and_comes_out_the_same(demo_data, engine, tmp_path) -> None:
    """An interrupted build goes on where it was, and a rebuilt image has the same bytes."""
    for folder in ("rows", "sdists", "images", "base"):
        (tmp_path / folder).mkdir()
        for entry in (demo_data / folder).iterdir():
            (tmp_path / folder / entry.name).symlink_to(entry)
    lost = next((tmp_path / "images").glob("r1chardj0n3s_parse-*"))
    lost.unlink()
    written = demo.prepare(tmp_path, engine.name)
    assert (tmp_path / "instances.jsonl").read_text() == (demo_data / "instances.jsonl").read_text()
    assert [path.name for path in written if not path.is_symlink()] == ["instances.jsonl", lost.name]
    assert sha256_of(lost) == sha256_of(demo_data / "images" / lost.name)


def test_the_base_file_system_has_the_same_bytes_twice(tmp_path) -> None:
    """Else every image, and with it every loaded image, would be new after each build."""
    digests = set()
    for name in ("one", "two"):
        with (tmp_path / name).open("wb") as stream:
            machine.file_system().write(stream)
        digests.add(sha256_of(tmp_path / name))
    assert len(digests) == 1
    with tarfile.open(tmp_path / "one") as tar:
        members = {member.name: member for member in tar}
    for path in ("usr/local/bin/python", "bin/bash" if not Path("/bin").is_symlink() else "usr/bin/bash", "tmp"):
        assert path in members
    assert members["tmp"].mode == 0o1777
    assert not [name for name in members if "/.git/" in name or name.endswith("_tkinter.so")]


def test_links_are_kept_and_loops_refused(tmp_path) -> None:
    """A program is often a link to a link; a loop must not hang the build."""
    (tmp_path / "real").write_text("content")
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(tmp_path / "real")
    tree = Tree()
    assert tree.add_host(tmp_path / "first") == (tmp_path / "real").resolve()
    assert {os.path.basename(path) for path in tree.entries} >= {"first", "second", "real"}
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="links"):
        tree.add_host(tmp_path / "loop")


def test_an_image_archive_depends_on_its_content_alone(tmp_path) -> None:
    """Two archives of the same files, made at other times with other permissions."""
    for name in ("one", "two"):
        file = tmp_path / name / "file"
        file.parent.mkdir()
        file.write_text("same")
        os.utime(file, (len(name) * 1000, 7 if name == "one" else 8))
        file.chmod(0o644 if name == "one" else 0o600)
        tree = Tree()
        tree.add_folder(file.parent, "folder")
        with (tmp_path / f"{name}.layer").open("wb") as stream:
            tree.write(stream)
        layer = Layer(tmp_path / f"{name}.layer", sha256_of(tmp_path / f"{name}.layer"))
        write_image(tmp_path / f"{name}.tar", [layer], {"architecture": "amd64", "config": {}}, "name:tag")
    assert sha256_of(tmp_path / "one.tar") == sha256_of(tmp_path / "two.tar")


# --- repositories ------------------------------------------------------------------------------------------------

OLD = "".join(f"line {number}\n" for number in range(40))
NEW = OLD.replace("line 3\n", "mended 3\n").replace("line 30\n", "other 30\n")


@pytest.fixture
def releases(tmp_path) -> list[Path]:
    """Two releases that differ in two hunks of one file and in a new test file."""
    made = []
    for version, text, extra in (("1.0", OLD, {}), ("1.1", NEW, {"tests/test_new.py": "new\n"})):
        path = tmp_path / f"thing-{version}.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for name, content in {
                "thing.py": text,
                "PKG-INFO": "Name: thing\n",
                "run.sh": "#!/bin/sh\n",
                **extra,
            }.items():
                member = tarfile.TarInfo(f"thing-{version}/{name}")
                member.size, member.mode = len(content), 0o775 if name == "run.sh" else 0o664
                tar.addfile(member, io.BytesIO(content.encode()))
        made.append(path)
    return made


def _bug(fix: dict[str, list[str]], tests: dict[str, list[str]]) -> Bug:
    before, after = Release("1.0", ""), Release("1.1", "")
    return dataclasses.replace(load_bugs()[0], package="thing", before=before, after=after, fix=fix, tests=tests)


def test_a_patch_holds_the_chosen_hunks_only(releases, tmp_path) -> None:
    """A release changes more than one thing; the rest of it stays out, and the patch still applies."""
    bug = _bug({"thing.py": ["other 30"]}, {"tests/test_new.py": []})
    change = repository.build(bug, *releases, tmp_path / "repository")
    assert "+other 30" in change.patch and "mended" not in change.patch
    assert "+new" in change.test_patch and "new file mode" in change.test_patch
    for patch in (change.patch, change.test_patch):
        subprocess.run(["git", "apply", "-"], cwd=tmp_path / "repository", input=patch, text=True, check=True)
    assert (tmp_path / "repository/thing.py").read_text() == OLD.replace("line 30\n", "other 30\n")


def test_no_configuration_of_the_user_reaches_the_repository(releases, tmp_path, monkeypatch) -> None:
    """Signing, line endings, templates and names of the user would change the commit id."""
    bug = _bug({"thing.py": []}, {"tests/test_new.py": []})
    plain = repository.build(bug, *releases, tmp_path / "plain")
    config = tmp_path / "gitconfig"
    config.write_text(
        "[user]\nname = me\nemail = me@here\n[core]\nautocrlf = true\n"
        "[commit]\ngpgsign = true\n[diff]\nnoprefix = true\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "me")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    mask = os.umask(0o077)
    try:
        assert repository.build(bug, *releases, tmp_path / "again") == plain
    finally:
        os.umask(mask)
    listing = subprocess.run(["git", "ls-tree", "-r", "HEAD"], cwd=tmp_path / "again", capture_output=True, text=True)
    assert {line.split()[0]: line.split()[3] for line in listing.stdout.splitlines()} == {
        "100755": "run.sh",
        "100644": "thing.py",
    }
    state = subprocess.run(["git", "status", "--short"], cwd=tmp_path / "again", capture_output=True, text=True)
    assert state.stdout == ""


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        ({"thing.py": ["no such text"]}, "in 0 hunks"),
        ({"thing.py": ["line"]}, "in 2 hunks"),
        ({"missing.py": []}, "has no file missing.py"),
        ({"run.sh": []}, "is the same in both"),
    ],
)
def test_a_wrong_selection_is_named(releases, tmp_path, fix, message) -> None:
    """Whoever adds a bug learns what does not fit."""
    with pytest.raises(DatasetError, match=message):
        repository.build(_bug(fix, {"tests/test_new.py": []}), *releases, tmp_path / "repository")


def test_another_file_than_the_pinned_one_is_refused(tmp_path) -> None:
    """A mirror that serves something else must not get into an image; nor must the bad file stay."""
    (tmp_path / "thing-1.0.tar.gz").write_bytes(b"something else")
    with pytest.raises(DatasetError, match=r"thing-1\.0\.tar\.gz has sha256 [0-9a-f]{64}, expected 0000"):
        downloads.sdist("thing", "1.0", "0" * 64, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unreachable_index_is_named(tmp_path, monkeypatch) -> None:
    """Without a network the message says what could not be fetched and what to check."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DatasetError, match=r"pip could not fetch thing==1\.0") as caught:
        downloads.sdist("thing", "1.0", "0" * 64, tmp_path / "cache")
    assert "pip download" in caught.value.hint


# --- scripted replies --------------------------------------------------------------------------------------------


def _script(model: str, instance_id: str) -> tuple[list[dict], bool]:
    script = yaml.safe_load((REPLIES / model / f"{instance_id}.yaml").read_text())
    return (script["turns"], script["repeat"]) if isinstance(script, dict) else (script, False)


@pytest.mark.parametrize("model", ["fixer", "stumbler"])
def test_every_bug_has_replies_and_every_script_ends(model) -> None:
    """A script submits at its end, or repeats its last turn until the step limit."""
    assert sorted(path.stem for path in (REPLIES / model).iterdir()) == sorted(IDS)
    for instance_id in IDS:
        turns, repeat = _script(model, instance_id)
        assert all(set(turn) == {"thought", "commands"} and turn["thought"] for turn in turns)
        assert repeat != (turns[-1]["commands"] == SUBMIT)


@pytest.mark.parametrize("model", ["fixer", "stumbler"])
@pytest.mark.parametrize("instance_id", IDS)
def test_the_scripts_do_what_they_say(rows, demo_data, engine, tmp_path, model, instance_id) -> None:
    """The demo's verdicts are those of real commands in real containers: one fixes most, one nothing."""
    instance = to_instance(rows[instance_id])
    image = engine.load(demo_data / instance.image_storage_uri)
    with engine.start(image.id, name=f"test-demo-{model}-{instance_id}") as container:
        tree = trajectory_patch.start(container, instance.repo_path)
        for command in [command for turn in _script(model, instance_id)[0] for command in turn["commands"]]:
            result = container.run(command, timeout=60, cwd=instance.repo_path)
            assert result.exit_code == 0, f"{command}\n{result.text}"
        patch = trajectory_patch.extract(container, instance.repo_path, tree)
    assert patch != instance.patch
    resolved = _state(instance, patch, demo_data, engine, tmp_path) is State.RESOLVED
    assert resolved == (model == "fixer" and instance_id != UNSOLVED_BY_FIXER)
    assert bool(patch) == (f"{model}/{instance_id}" != "stumbler/mahmoud__boltons-24.1.0")


def _state(instance, patch: str, demo_data: Path, engine: Engine, tmp_path: Path) -> State:
    image = engine.load(demo_data / instance.image_storage_uri)
    log = tmp_path / "test_output.txt"
    name = f"test-demo-{instance.instance_id}"
    facts = run_tests(
        instance, patch, lambda: engine.start(image.id, name=name), timeout=120, log=log, engine=engine.name
    )
    verdict = grade(instance, patch, log.read_text(), facts)
    assert verdict.state is not State.INFRA_FAILURE, log.read_text()
    return verdict.state

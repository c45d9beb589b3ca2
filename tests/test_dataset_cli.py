"""`trajmake dataset check`, `dataset import`, `create-subset`, and what a run makes of invalid rows."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_datasets import DIFF, FIXTURES, ROW, row, written

from trajmake.datasets import Dataset


def trajmake(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line, as a user runs it."""
    code = "from trajmake.cli import main; main()"
    root = str(Path(__file__).resolve().parents[1])
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": root, "COLUMNS": "200"},
        timeout=120,
        check=False,
    )


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Good rows and bad ones."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "x.tar").write_bytes(b"")
    return written(
        tmp_path / "rows.jsonl",
        ROW,
        row(instance_id="ruby", language="Ruby", repo="other/Repo"),
        row(instance_id="no-gold", patch=""),
        row(instance_id="bad", base_commit="main", test_patch=DIFF[:-5], test_output_parser="python/none"),
        row(instance_id=""),
    )


def test_check_shows_what_is_there_and_every_problem_with_row_and_field(mixed):
    done = trajmake("dataset", "check", mixed)
    assert done.returncode == 0, done.stderr
    assert "5 (3 valid, 2 invalid)" in done.stdout and "JSONL 1" in done.stdout and "python 4, ruby 1" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("│ line 4")]
    assert [line.split("│")[3].strip() for line in lines] == ["base_commit", "test_patch", "test_output_parser"]
    assert "warning: is missing or empty" in done.stdout


def test_check_strict_makes_an_invalid_row_an_error(mixed):
    assert trajmake("dataset", "check", mixed, "--strict").returncode == 3
    good = written(mixed.with_name("good.jsonl"), ROW, row(instance_id="no-gold", patch=""))
    assert trajmake("dataset", "check", good, "--strict").returncode == 0


def test_check_of_nothing_that_could_run_is_an_error(tmp_path):
    bad = trajmake("dataset", "check", written(tmp_path / "bad.jsonl", row(base_commit="main")))
    assert bad.returncode == 3 and "0 valid, 1 invalid" in bad.stdout
    missing = trajmake("dataset", "check", tmp_path / "none.jsonl")
    assert missing.returncode == 3 and "There is no dataset" in missing.stderr and "Hint: " in missing.stderr


def test_check_as_json(mixed):
    report = json.loads(trajmake("dataset", "check", mixed, "--json").stdout)
    assert (report["rows"], report["valid"], report["invalid"]) == (5, 3, 2)
    assert {
        "place": f"{mixed} line 4",
        "instance_id": "bad",
        "field": "base_commit",
        "message": "is not 40 hex digits: 'main'",
        "invalid": True,
    } in report["problems"]


def test_import_brings_every_shape_into_canonical_jsonl(tmp_path, mixed):
    """Raw exports and JSONL together; what is invalid is kept, to be mended there, and named."""
    output = tmp_path / "out" / "rows.jsonl"
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"instance_id": \n')
    done = trajmake("dataset", "import", FIXTURES / "export_with_bom.csv", mixed, broken, "--output", output)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [one.get("instance_id") for one in rows[:2]] == ["1319603449576684", "1319603449576685"]
    assert rows[0]["FAIL_TO_PASS"] == ["t.py::test_a", "t.py::test_b"]
    assert rows[0]["problem_statement"] == "It breaks.\n\nWhen called twice."
    assert len(rows) == 7 and "7 rows, 3 of what was read is invalid" in done.stdout
    assert f"invalid: {mixed} line 4 (bad): base_commit: " in done.stderr and "broken.jsonl" in done.stderr
    source, imported = Dataset(FIXTURES / "export_with_bom.csv"), Dataset(output)
    assert [source.digest(name) for name in source.ids] == [imported.digest(name) for name in source.ids]
    assert imported.image_uri("owner__repo-1") == str(output.parent / "../images/x.tar")


def test_import_strict_writes_nothing(tmp_path, mixed):
    output = tmp_path / "out.jsonl"
    done = trajmake("dataset", "import", mixed, "--output", output, "--strict")
    assert done.returncode == 3 and "2 rows are invalid" in done.stderr
    assert not output.exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--instance-ids", "no-gold, owner__repo-1"], ["owner__repo-1", "no-gold"]),
        (["--instances-file", "ids.txt"], ["owner__repo-1", "ruby"]),
        (["--instances-file", "ids.txt", "--instance-ids", "ruby,no-gold"], ["ruby"]),
        (["--repo", "other/repo"], ["ruby"]),
        (["--language", "Python"], ["owner__repo-1", "no-gold", "bad"]),
        (["--language", "ruby", "--repo", "other/Repo", "--instance-ids", "ruby"], ["ruby"]),
    ],
)
def test_a_subset_is_what_all_selections_have_in_common(tmp_path, mixed, arguments, wanted):
    (tmp_path / "ids.txt").write_text("# chosen\nowner__repo-1\n\nruby\n")
    done = trajmake("create-subset", "--dataset", mixed, "--output", tmp_path / "sub.jsonl", *arguments, cwd=tmp_path)
    if wanted == ["owner__repo-1", "no-gold", "bad"]:
        wanted = [*wanted, ""]
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in (tmp_path / "sub.jsonl").read_text().splitlines()]
    assert [one.get("instance_id", "") for one in found] == wanted


def test_a_subset_is_of_the_sessions_dataset_unless_another_is_named(tmp_path, mixed):
    (tmp_path / "config").mkdir()
    config = {"dataset": str(mixed), "models": ["x"], "catalog": {"x": {"agent": "empty"}}}
    (tmp_path / "config/config.yaml").write_text(json.dumps(config))
    done = trajmake("create-subset", "--output", "sub.jsonl", "--instance-ids", "ruby", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "sub.jsonl").read_text())["instance_id"] == "ruby"
    done = trajmake(
        "create-subset", "--output", "no.jsonl", "--repo", "a/b", "--configfile", "other.yaml", cwd=tmp_path
    )
    assert done.returncode == 2 and "There is no configuration file other.yaml." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--instance-ids", "ruby,nothing-like-it"], "does not hold nothing-like-it"),
        (["--instance-ids", "ruby", "--language", "go"], "No row is left"),
        ([], "Nothing is selected"),
        (["--instances-file", "none.txt"], "cannot be read"),
    ],
)
def test_a_subset_that_cannot_be_is_an_error(tmp_path, mixed, arguments, said):
    output = tmp_path / "sub.jsonl"
    done = trajmake("create-subset", "--dataset", mixed, "--output", output, *arguments, cwd=tmp_path)
    assert done.returncode in (2, 3) and said in done.stderr and not output.exists()


# Invalid rows in a run.


def with_bad_rows(project) -> None:
    """Two good rows; one that lacks its image, one without an id, and one id twice."""
    good = project.rows[:2]
    bad = [
        good[0] | {"instance_id": "no-image", "image_storage_uri": ""},
        good[0] | {"instance_id": ""},
        good[0] | {"instance_id": "twice"},
        good[0] | {"instance_id": "twice"},
    ]
    project.dataset.write_text("".join(json.dumps(one) + "\n" for one in [*bad, *good]))
    project.configure(models=["gold"], engine="namespace")


def test_a_bad_row_costs_no_good_one_and_is_in_the_run_and_in_the_report(project):
    """It fails with reason `dataset`; nothing is fetched for it; one without an id is reported at start."""
    with_bad_rows(project)
    if shutil.which("unshare") is None:
        pytest.skip("engine namespace needs unshare")
    done = project.snakemake("-j", "2")
    assert done.returncode == 1
    assert "4 invalid rows in demo/data/instances.jsonl" in done.stdout and "line 2: instance_id: " in done.stdout
    with (project.root / "outputs/results/demo/results.csv").open(newline="") as stream:
        states = {
            one["Instance_ID"]: (one["Status"], one["Verdict"], one["Fault_Reason"]) for one in csv.DictReader(stream)
        }
    assert states.pop("no-image") == states.pop("twice") == ("FAILED", "infra_failure", "dataset")
    assert set(states.values()) == {("SUCCESS", "resolved", "")} and len(states) == 2
    report = (project.root / "outputs/results/demo/final_report.txt").read_text()
    assert "Invalid rows: 4" in report and "line 3 (twice): instance_id: stands 2 times: line 3 and line 4" in report
    fetched = {path.name for path in (project.root / "outputs/logs/images").glob("*.fetch_image.log")}
    assert len(fetched) == 2

    plan = project.planned()
    assert {name for _, name in plan.generated} == {"no-image", "twice"}
    rows = [one for one in project.rows if one["instance_id"] not in ("", "twice", "no-image")]
    project.dataset.write_text("".join(json.dumps(one) + "\n" for one in [*rows, rows[1]]))
    assert project.planned().generated == [], "an accidental duplicate must not throw away what was bought"


def test_strict_makes_an_invalid_row_an_error_at_start(project):
    with_bad_rows(project)
    project.configure(strict=True)
    done = project.snakemake("-n")
    assert done.returncode == 3 and "4 invalid rows" in done.stdout and "strict: false" in done.stdout
    good = [one["instance_id"] for one in project.rows[-2:]]
    assert project.snakemake("-n", "--config", f"instances=[{','.join(good)}]").returncode == 0

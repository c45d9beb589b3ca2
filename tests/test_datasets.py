"""Datasets: shapes of files, the traps of real rows, and the index that makes them cheap."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import swebench_package

from trajmake.datasets import Dataset, check, fields, json_stream, problems, rows
from trajmake.datasets.exports import with_canonical_names
from trajmake.errors import DatasetError
from trajmake.grading.log import clean
from trajmake.grading.matching import Statuses

FIXTURES = Path(__file__).parent / "data" / "datasets"
DIFF = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n"
ROW = {
    "instance_id": "owner__repo-1",
    "repo": "owner/repo",
    "base_commit": "a" * 40,
    "problem_statement": "It breaks.",
    "patch": DIFF,
    "test_patch": "",
    "FAIL_TO_PASS": ["tests/test_x.py::test_a"],
    "PASS_TO_PASS": [],
    "language": "Python",
    "test_command": "pytest",
    "test_output_parser": "python/parse_log_pytest",
    "image_storage_uri": "images/x.tar",
}


def row(**changes):
    return ROW | changes


def written(path: Path, *some: dict) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in some))
    return path


def xlsx(path: Path, *some: dict) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["This sheet is about something else."])
    sheet = book.create_sheet("Rows")
    sheet.append(list(some[0]))
    for one in some:
        sheet.append(list(one.values()))
    book.save(path)
    return path


def parquet(path: Path, *some: dict) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(list(some)), path)
    return path


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ("JSONL", json.dumps(ROW)),
        ("JSON object", json.dumps(ROW, indent=2)),
        ("JSON array", json.dumps([ROW, row(instance_id="2")])),
        ("JSON array", json.dumps([ROW, row(instance_id="2")], indent=1)),
        ("JSON object", json.dumps(ROW, indent=2) + "\n" + json.dumps(row(instance_id="2"), indent=2)),
        ("JSONL", json.dumps(ROW) + "\n\n" + json.dumps(row(instance_id="2")) + "\n"),
        ("JSONL", "\ufeff" + json.dumps(ROW) + "\r\n" + json.dumps(row(instance_id="2")) + "\r\n"),
        ("JSON object", "\ufeff" + json.dumps(ROW, indent=2)),
    ],
    ids=["object", "pretty", "array", "pretty-array", "pretty-objects", "jsonl", "bom-crlf", "bom-pretty"],
)
def test_the_content_decides_on_the_shape_not_the_extension(tmp_path, shape, text):
    """192 evaluations were lost to one pretty-printed object in a `.jsonl`."""
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode())
    assert check.check([path]).shapes == {shape: 1}
    dataset = Dataset(path)
    assert dataset.ids == ["owner__repo-1", "2"][: text.count('"repo"')]
    assert dataset.instance("owner__repo-1").language == "python"
    assert dataset.instance(dataset.ids[-1]).patch == DIFF


@pytest.mark.parametrize("make", [xlsx, parquet])
def test_tables_give_the_same_instance_as_json(tmp_path, make):
    """A spreadsheet of the same rows repeats nothing: the digest knows the meaning, not the spelling."""
    dates = {"created_at": datetime.datetime(2024, 5, 1, 12)}
    other = row(
        instance_id="2", patch=DIFF.replace("old", "page\x0c\r").replace("\x0c", "_x000C_" if make is xlsx else "\x0c")
    )
    lists = {"FAIL_TO_PASS": "['tests/test_x.py::test_a']", "PASS_TO_PASS": "[]"} if make is xlsx else {}
    dataset = Dataset(make(tmp_path / "rows.json", ROW | lists | dates, other | lists | dates))
    assert dataset.ids == ["owner__repo-1", "2"]
    assert dataset.digest("owner__repo-1") == rows.digest(ROW)
    assert "-page\x0c" in dataset.instance("2").patch
    assert dataset.instance("2").row["created_at"].startswith("2024-05-01")


def test_a_folder_of_one_row_files(tmp_path):
    for number in (2, 1):
        (tmp_path / f"{number}.json").write_text(json.dumps(row(instance_id=str(number)), indent=1))
    written(tmp_path / "3.jsonl", row(instance_id="3"))
    (tmp_path / "README").write_text("not a row")
    dataset = Dataset(tmp_path)
    assert dataset.ids == ["1", "2", "3"]
    assert dataset.instance("2").instance_id == "2"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no dataset"),
        (b"", "no rows"),
        (b"{]\n{}", "line 1: is not JSON"),
        (b"[1]", "is not a row"),
        (b"name,value\na,1\n", "its header does not name a column instance_id or issue_fbid"),
        ("instance_id\n".encode("utf-16"), "Text has to be in UTF-8"),
        (b"PAR1 but no more", "cannot be read as Parquet"),
        (b'instance_id\n"\xff"\n', "not in UTF-8"),
    ],
)
def test_a_file_that_is_no_dataset_is_said(tmp_path, content, said):
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=said):
        Dataset(path)


def test_one_bad_row_costs_no_good_one(tmp_path):
    path = tmp_path / "rows.jsonl"
    bad = row(instance_id="bad", base_commit="main", FAIL_TO_PASS="x")
    path.write_text('{"cut\n' + json.dumps(bad) + "\n[1]\n" + json.dumps(ROW) + "\n")
    dataset = Dataset(path)
    assert dataset.instance("owner__repo-1").base_commit == "a" * 40
    with pytest.raises(DatasetError) as caught:
        dataset.instance("bad")
    assert "line 2" in str(caught.value) and "base_commit" in str(caught.value) and "FAIL_TO_PASS" in str(caught.value)
    assert [(bad.place, bad.instance_id, bad.runnable) for bad in dataset.invalid()] == [
        ("line 1", "", False),
        ("line 2", "bad", True),
        ("line 3", "", False),
    ]
    assert [bad.instance_id for bad in dataset.invalid(["bad", "owner__repo-1"])] == ["bad"]


def test_a_file_of_a_folder_that_cannot_be_read_costs_no_other(tmp_path):
    written(tmp_path / "good.json", row())
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no end")
    dataset = Dataset(tmp_path)
    assert len(dataset.ids) == 1
    assert [invalid.place for invalid in dataset.invalid()] == ["cut.parquet", "empty.json"]
    report = check.check([tmp_path])
    assert (report.rows, report.invalid) == (3, 2) and sum(report.shapes.values()) == 2


def test_an_array_that_breaks_off_gives_the_rows_before(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([ROW, row(instance_id="2")])[:-40])
    dataset = Dataset(path)
    assert dataset.ids == ["owner__repo-1"]
    assert "item 2: is not JSON" in str(dataset.invalid()[0])


def test_a_csv_with_broken_lines_and_huge_cells_gives_the_others(tmp_path):
    """A cell of 1.5 MB is ten times what Python's reader takes by default."""
    header = list(ROW)
    huge = [str(value) for value in row(PASS_TO_PASS=["t" * 1_500_000]).values()]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerows([header, huge, [*huge, "one", "more"], []])
        stream.write('"unclosed\n')
    dataset = Dataset(path)
    assert len(dataset.instance("owner__repo-1").pass_to_pass[0]) == 1_500_000
    assert [str(bad)[:60] for bad in dataset.invalid()] == [
        "row 2 (line 9): has 14 cells, but the header has 12",
        "row 3 (line 17): is not CSV: unexpected end of data",
    ]


def test_an_index_that_cannot_be_written_is_said(tmp_path):
    path = written(tmp_path / "rows.jsonl", ROW)
    (tmp_path / "index").write_text("a file")
    with pytest.raises(DatasetError, match=r"index of .* cannot be made"):
        Dataset(path, tmp_path / "index")


def test_an_unknown_id_is_named(tmp_path):
    path = written(tmp_path / "rows.jsonl", ROW)
    with pytest.raises(DatasetError, match="does not hold nothing-like-it"):
        Dataset(path).select(["nothing-like-it"])


def test_a_digest_knows_the_instance_and_not_its_spelling(tmp_path):
    assert rows.digest(dict(reversed(ROW.items()))) == rows.digest(ROW)
    assert rows.digest(row(created_at="today")) == rows.digest(ROW)
    assert rows.digest(row(FAIL_TO_PASS=json.dumps(ROW["FAIL_TO_PASS"]), patch=[DIFF])) == rows.digest(ROW)
    assert rows.digest(row(image_storage_uri="../elsewhere/x.tar")) == rows.digest(ROW)
    assert rows.digest(row(image_storage_uri="s3://other/x.tar")) != rows.digest(ROW)
    assert rows.digest(row(patch="other")) != rows.digest(ROW)


def test_a_relative_image_lies_beside_the_dataset(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "x.tar").write_bytes(b"")
    path = written(tmp_path / "rows.jsonl", ROW)
    assert Dataset(path).image_uri("owner__repo-1") == str(tmp_path / "images" / "x.tar")


# The nine traps of docs/formats.md, each on a fixture that shows it.


@pytest.fixture(scope="module")
def traps() -> Dataset:
    return Dataset(FIXTURES / "traps.jsonl")


def test_trap_1_ids_cut_at_a_blank_survive_reading(traps):
    """`[` without `]` is no list that lacks its end, and the log's whole id is found by prefix."""
    cut = traps.instance("cut-ids").fail_to_pass[0]
    assert cut == "tests/test_d.py::test_parse_date[2011-10-01-2016-01-01-2011-10"
    assert Statuses({cut + " 12:00]": "PASSED"}).status(cut) == "PASSED"


def test_trap_2_ids_within_other_ids_stay_apart(traps):
    instance = traps.instance("substrings")
    assert instance.fail_to_pass == ("t.py::test_a", "t.py::test_ab")
    log = Statuses({"t.py::test_ab": "PASSED", "t.py::test_abc": "PASSED"})
    assert [log.status(name) for name in instance.fail_to_pass] == [None, "PASSED"]


def test_trap_3_diffs_get_their_final_newline_and_keep_everything_else(traps):
    """Carriage returns, form feeds and renames are the files' own; `git apply` reads the whole."""
    patch = traps.instance("list-of-diffs").test_patch
    assert patch.startswith("diff --git a/a.py") and patch.endswith("rename to y.py\n")
    assert "+new\ndiff --git a/w.txt" in patch and " page\x0c\r\n-old\r\n+new\r\ndiff" in patch
    assert fields.diff("") == fields.diff(None) == ""
    assert fields.diff_defect(patch) == ""


def test_trap_3_git_agrees_with_the_check_of_diffs(traps, tmp_path):
    patch = traps.instance("list-of-diffs").test_patch
    cut = patch[: patch.index("+new\ndiff")]
    for text in (
        patch,
        cut,
        patch.replace("-old\n", "old\n"),
        "no diff",
        patch.replace("--- a/a.py\n+++ b/a.py\n", ""),
    ):
        done = subprocess.run(
            ["git", "apply", "--numstat"], input=text.encode(), cwd=tmp_path, capture_output=True, check=False
        )
        assert (fields.diff_defect(text) == "") == (done.returncode == 0), (text, done.stderr)


def test_trap_4_unittest_names_in_every_spelling_are_one_test(traps):
    instance = traps.instance("unittest-names")
    log = Statuses({f"test_{x} (tests.test_m.TestC)": "PASSED" for x in "xyz"})
    assert [log.status(name) for name in instance.fail_to_pass] == ["PASSED"] * 3


def test_trap_5_ids_of_other_languages_are_kept_to_the_letter(traps):
    r"""numpy's print has no commas: a literal parser fuses it into one id. `\` must not double."""
    assert traps.instance("other-languages").fail_to_pass == (
        "github.com/o/r/pkg/TestX/sub_case",
        "Widgets::ButtonTest#test_x",
        "App\\Tests\\MailTest::testX",
        "it's quoted",
    )


@pytest.mark.parametrize(
    "value", [["a", "b"], '["a", "b"]', "['a', 'b']", "['a'\n 'b']", "('a', 'b')", "array(['a', 'b'], dtype=object)"]
)
def test_lists_of_tests_in_every_spelling(value):
    assert fields.test_ids(value) == ("a", "b")


@pytest.mark.parametrize(
    ("value", "said"),
    [("['a' 'b' ... 'z']", "abbreviated"), ("['a', 'b", "without its end"), ("a b", "not a list"), ([1], "not a list")],
)
def test_lists_that_are_not_whole_are_refused(value, said):
    with pytest.raises(ValueError, match=said):
        fields.test_ids(value)


def test_trap_6_a_spreadsheets_export_is_read_in_spite_of_bom_floats_and_cut_cells(tmp_path):
    """BOM before the first column's name, ids as floats, raw client names, the gold patch nulled."""
    dataset = Dataset(FIXTURES / "export_with_bom.csv")
    assert dataset.ids == ["1319603449576684", "1319603449576685"]
    first, second = map(dataset.instance, dataset.ids)
    assert (first.repo, first.base_commit, first.language) == ("owner/repo", "b" * 40, "python")
    assert first.problem_statement == "It breaks.\n\nWhen called twice." and second.problem_statement == "Description"
    assert first.fail_to_pass == ("t.py::test_a", "t.py::test_b") and first.pass_to_pass == ()
    assert second.test_patch.endswith(" page\x0c\r\n-old\r\n+new\r\n") and first.row["annotator"] == "7"
    report = check.check([FIXTURES / "export_with_bom.csv"])
    assert [(identity, str(problem)) for _, identity, problem in report.problems] == [
        ("1319603449576685", "patch: is missing or empty; `gold` cannot calibrate the instance")
    ]


@pytest.mark.parametrize("name", ["problem_statement", "test_command", "FAIL_TO_PASS", "test_patch"])
def test_trap_6_a_field_cut_at_32767_characters_makes_the_row_invalid(tmp_path, name):
    long = {"FAIL_TO_PASS": json.dumps(["t" * 40_000])}.get(name, DIFF * 1000)
    path = written(tmp_path / "rows.jsonl", ROW, row(instance_id="cut", **{name: long[:32767]}))
    assert f"{name}: is cut" in Dataset(path).problem("cut")
    again = rows.canonical(with_canonical_names(row(**{name: long[:32767]})))
    assert problems.cut_fields(again) == [name], "an import must not hide it"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1319603449576684.0, "1319603449576684"),
        (1319603449576684, "1319603449576684"),
        ("1319603449576684.0", "1319603449576684"),
        ("1.319603449576684E+15", "1319603449576684"),
        ("12155_1", "12155_1"),
        ("conan-io__conan_2.0.14_2.0.15", "conan-io__conan_2.0.14_2.0.15"),
        ("2.0", "2.0"),
        (float("nan"), ""),
    ],
)
def test_trap_6_ids_that_became_floats_come_back(value, wanted):
    assert fields.identifier(value) == wanted


def test_trap_6_an_id_that_lost_digits_is_refused_not_guessed(tmp_path):
    dataset = Dataset(written(tmp_path / "rows.jsonl", row(instance_id="1.3196E+15")))
    with pytest.raises(DatasetError, match=r"rounded by a spreadsheet: 1\.3196E\+15"):
        dataset.instance("1.3196E+15")


def test_trap_6_an_excel_workbook_has_ids_as_floats_too(tmp_path):
    dataset = Dataset(
        xlsx(tmp_path / "a.xlsx", row(instance_id=1319603449576684.0, FAIL_TO_PASS="['a']", PASS_TO_PASS=""))
    )
    assert dataset.ids == ["1319603449576684"]


def test_trap_7_an_exported_log_is_freed_of_its_indentation():
    """Exports indent every line of `test_stdout` but the first, and may cut it in the middle of one."""
    assert clean("PASSED t.py::a\n  PASSED t.py::b\n  FAIL") == "PASSED t.py::a\nPASSED t.py::b\nFAIL"


def test_trap_8_unusual_ids_are_mapped_and_hostile_ones_refused(traps):
    assert traps.instance("tobymao__sqlglot/pr 1635").instance_id == "tobymao__sqlglot/pr 1635"
    with pytest.raises(DatasetError, match="is unsafe, it leads out of its folder"):
        traps.instance("../../escape")
    assert [(bad.place, bad.instance_id, bad.runnable) for bad in traps.invalid()] == [
        ("line 7", "../../escape", True),
        ("line 8", "", False),
    ]


@pytest.mark.parametrize("identity", ["a\nb", "/etc/passwd", "a/../b", "\x00", "x" * 300, "\udc80"])
def test_trap_8_hostile_ids_are_invalid_rows(tmp_path, identity):
    dataset = Dataset(written(tmp_path / "rows.jsonl", ROW, row(instance_id=identity)))
    (bad,) = dataset.invalid()
    assert "instance_id: " in bad.problem and dataset.instance("owner__repo-1")


def test_trap_8_a_row_of_one_and_a_half_megabytes(tmp_path):
    many = [f"tests/test_x.py::test_{number}" for number in range(50_000)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row(PASS_TO_PASS=many), row(instance_id="2")], indent=1))
    assert path.stat().st_size > 1_500_000
    dataset = Dataset(path)
    assert len(dataset.instance("owner__repo-1").pass_to_pass) == 50_000 and dataset.ids[1] == "2"


def test_trap_9_an_id_that_stands_twice_names_both_places():
    dataset = Dataset(FIXTURES / "duplicates.jsonl")
    assert dataset.ids == ["one", "two"]
    assert dataset.instance("two")
    with pytest.raises(DatasetError, match="stands 2 times: line 1 and line 3"):
        dataset.instance("one")
    assert check.check([FIXTURES / "duplicates.jsonl"]).invalid == 2


def test_literal_backslash_n_in_a_statement_is_a_newline_unless_real_ones_are_there():
    assert fields.restore_newlines("a\\nb\\n\\tc") == "a\nb\n\tc"
    assert fields.restore_newlines('a\nprint("x\\n")') == 'a\nprint("x\\n")'


def test_an_unknown_parser_is_a_problem_that_names_the_nearest(tmp_path):
    dataset = Dataset(written(tmp_path / "rows.jsonl", row(test_output_parser="python/parse_log_pytst")))
    assert "did you mean 'python/parse_log_pytest'" in dataset.problem("owner__repo-1")


def test_a_test_patch_that_is_no_diff_is_a_problem_of_the_row(tmp_path):
    cut = written(tmp_path / "rows.jsonl", row(test_patch=DIFF[:-5]))
    assert "test_patch: does not parse as a diff: ends in the middle" in Dataset(cut).problem("owner__repo-1")
    assert Dataset(written(tmp_path / "rows.jsonl", row(patch=DIFF[:-5]))).problem("owner__repo-1") == ""


# Plain SWE-bench rows.


def test_a_swebench_row_that_brings_its_script_needs_no_package():
    """The script is taken up to the tests: what follows them would hide their exit code."""
    instance = Dataset(FIXTURES / "swebench.json").instance("django__django-1")
    assert instance.test_command.endswith("./tests/runtests.py auth_tests")
    assert instance.test_output_parser == "python/parse_log_django" and instance.language == "python"
    assert instance.image_storage_uri == "registry.example/django_1776_django-1:latest"


FROM_TABLES = """
import json, sys
from trajmake.datasets.exports import from_swebench
rows = json.load(open(sys.argv[1]))
print(json.dumps(from_swebench(next(row for row in rows if row["instance_id"] == "django__django-11099"))))
"""


def test_a_plain_swebench_row_takes_command_and_parser_from_swebenchs_tables():
    (line,) = swebench_package.run(FROM_TABLES, str(FIXTURES / "swebench.json"), tables=True)
    added = json.loads(line)
    assert added["test_output_parser"] == "python/parse_log_django" and added["language"] == "python"
    command = added["test_command"].splitlines()
    assert command[:2] == ["source /opt/miniconda3/bin/activate", "conda activate testbed"]
    assert command[-1].startswith("./tests/runtests.py") and command[-1].endswith("auth_tests.test_validators")
    assert added["image_storage_uri"] == "swebench/sweb.eval.x86_64.django_1776_django-11099:latest"


def test_without_the_package_the_row_is_invalid_and_the_hint_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "swebench.harness.constants", None)
    dataset = Dataset(FIXTURES / "swebench.json")
    with pytest.raises(DatasetError, match=re.escape("pip install 'swebench>=4.1,<5'")):
        dataset.instance("django__django-11099")
    assert dataset.instance("django__django-1")


# The index.


def big(path: Path, count: int, size: int) -> Path:
    """``count`` rows of about ``size`` bytes each."""
    with path.open("w") as stream:
        for number in range(count):
            stream.write(json.dumps(row(instance_id=f"owner__repo-{number}", hints_text="x" * size)) + "\n")
    return path


def bytes_read() -> int:
    """What this process has read so far from files."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="counts what was read in /proc")
def test_an_indexed_dataset_is_not_read_again(tmp_path):
    """A plan and each job look rows up; of 40 MB they read a few kilobytes."""
    path = big(tmp_path / "rows.jsonl", 2000, 20_000)
    Dataset(path, tmp_path / "index")
    before = bytes_read()
    dataset = Dataset(path, tmp_path / "index")
    wanted = [f"owner__repo-{number}" for number in range(100, 2000, 190)]
    assert dataset.select(wanted) == wanted
    assert {dataset.digest(name) for name in wanted} == {rows.digest(row(instance_id=name)) for name in wanted}
    assert [dataset.instance(name).instance_id for name in wanted] == wanted
    assert bytes_read() - before < path.stat().st_size / 20


@pytest.mark.parametrize("shape", ["jsonl", "array"])
def test_memory_does_not_grow_with_the_dataset(tmp_path, shape):
    """Indexing holds a row at a time, whatever the number of rows."""
    path = big(tmp_path / "rows.jsonl", 2000, 10_000)
    if shape == "array":
        path.write_text("[" + ",\n".join(path.read_text().splitlines()) + "]")
    tracemalloc.start()
    try:
        assert len(Dataset(path, tmp_path / "index").ids) == 2000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 10


def test_the_index_follows_the_dataset(tmp_path):
    """Same name, same size, same time of change as a careful editor would leave: still another file."""
    path = written(tmp_path / "rows.jsonl", ROW)
    before = Dataset(path, tmp_path / "index").digest("owner__repo-1")
    times = path.stat()
    other = written(tmp_path / "other", row(base_commit="b" * 40))
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(other, path)
    assert path.stat().st_size == times.st_size
    dataset = Dataset(path, tmp_path / "index")
    assert dataset.digest("owner__repo-1") != before
    assert dataset.instance("owner__repo-1").base_commit == "b" * 40
    assert [file.suffix for file in (tmp_path / "index").iterdir() if ".lock" not in file.suffixes] == [".sqlite"]


def test_what_a_killed_process_left_of_an_index_is_removed_by_the_next(tmp_path):
    """Each is as large as an index; those of other files may be at work."""
    path = written(tmp_path / "rows.jsonl", ROW)
    code = (
        "import os, signal, sys; from pathlib import Path; from trajmake import indexes\n"
        "def fill(index): os.kill(os.getpid(), signal.SIGKILL)\n"
        "indexes.open_index(Path(sys.argv[1]), Path(sys.argv[2]), str, fill)"
    )
    index = tmp_path / "index"
    done = subprocess.run([sys.executable, "-c", code, str(path), str(index)])
    assert done.returncode == -signal.SIGKILL and len(list(index.glob(".*.part"))) == 1
    other = index / ".0123456789abcdef.sqlite.x.part"
    other.write_text("at work")
    Dataset(path, index)
    assert list(index.glob(".*.part")) == [other]


def test_a_damaged_index_is_made_again(tmp_path):
    path = written(tmp_path / "rows.jsonl", ROW)
    Dataset(path, tmp_path / "index")
    (index,) = (tmp_path / "index").glob("*.sqlite")
    index.write_bytes(b"not a database")
    assert Dataset(path, tmp_path / "index").ids == ["owner__repo-1"]
    with sqlite3.connect(index) as again:
        assert again.execute("SELECT count(*) FROM rows").fetchone() == (1,)


def test_a_row_that_was_changed_behind_an_open_dataset_is_noticed(tmp_path):
    path = written(tmp_path / "rows.jsonl", ROW)
    dataset = Dataset(path, tmp_path / "index")
    written(path, row(instance_id="other__repo-2"))
    with pytest.raises(DatasetError, match=r"cannot be read again|changed while it was in use"):
        dataset.instance("owner__repo-1")


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
def test_values_are_found_wherever_the_reads_fall(chunk, monkeypatch):
    """A token, an escape or a string that goes on in the next read is no error."""
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    items = [{"a": 'x\\"\u2028\n' * 9, "b": [1.5e10, True, None]}, {}, [[]], "s\\", {"c": "\U0001f600"}]
    for indent in (None, 2):
        assert list(json_stream.values(io.StringIO(json.dumps(items, indent=indent)))) == items
        lines = "\n".join(json.dumps(item, indent=indent) for item in items[:2])
        assert list(json_stream.values(io.StringIO(lines))) == items[:2]


@pytest.mark.parametrize("text", ["[1 2]", "[{}", "[{},]", "[] x", '{"a": ', '{"a": tru}', "[" * 100_000])
def test_values_that_are_not_json_are_errors(text):
    with pytest.raises(ValueError):
        list(json_stream.values(io.StringIO(text)))


def test_heavy_readers_are_only_loaded_for_their_files():
    """pyarrow and openpyxl cost a third of a second that no JSONL needs."""
    heavy = {"pyarrow", "openpyxl", "pandas"}
    code = f"import sys, trajmake.datasets.check; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Other people's patches through the same tests: reading their files, and a whole session on the demo's bugs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from project import Project

from trajmake.errors import ConfigError
from trajmake.predictions import Predictions

GOLD = "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\r\n+b\x0c\r\n"


def entry(instance_id: str, patch: str | None = GOLD, model: str = "theirs") -> dict:
    return {"instance_id": instance_id, "model_name_or_path": model, "model_patch": patch}


def jsonl(entries: list) -> str:
    return "".join(json.dumps(item) + "\n" for item in entries)


def read(tmp_path: Path, text: str, name: str = "preds.jsonl") -> Predictions:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return Predictions(path, tmp_path / "index")


TWO = [entry("a"), entry("b", "other\n")]
SHAPES = {
    "list": json.dumps(TWO),
    "indented list": json.dumps(TWO, indent=2),
    "object by id": json.dumps({item["instance_id"]: item for item in TWO}),
    "object by id alone": json.dumps({item["instance_id"]: {"model_patch": item["model_patch"]} for item in TWO}),
    "indented object": json.dumps({item["instance_id"]: item for item in TWO}, indent=4),
    "lines": jsonl(TWO),
    "lines, byte order mark": "\ufeff" + jsonl(TWO).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_patches(tmp_path, shape):
    """Whatever the extension says; carriage returns and form feeds stay."""
    found = read(tmp_path, SHAPES[shape], "preds.json")
    assert [found.get(name).patch for name in "ab"] == [GOLD, "other\n"]
    assert found.get("c") is None and found.problems("ab", "ab") == []


def test_what_is_odd_is_said_and_costs_no_other(tmp_path):
    odd = [entry("a", "first"), entry("a", "last"), entry("b", None), entry("c", " \n"), entry("gone")]
    text = jsonl([*odd, {"instance_id": "d", "model_patch": 5}, ["no object"]]) + '{"instance_id": "e", "mo\n'
    found = read(
        tmp_path, text + json.dumps(entry("f", model="others")) + '\n{"instance_id":"g","model_patch":"\\ud800"}'
    )
    assert found.get("a").patch == "last" and found.get("b").patch == "" and found.get("f").model == "others"
    said = found.problems(list("abcdefg"), list("abdf"))
    assert said[:4] == [
        "1 predictions for instances that the dataset does not hold: gone",
        "1 instances stand several times, and the last counts: a",
        "1 instances without a prediction (MISSING): d",
        "1 empty patches: b",
    ]
    assert said[4].startswith("4 entries that cannot be read: ") and "line 6 (d has no text as model_patch)" in said[4]
    assert "line 8 (is not JSON" in said[4] and said[5] == "predictions of 2 models: others, theirs"


def test_a_key_that_stands_twice_in_an_object_is_seen(tmp_path):
    found = read(tmp_path, '{"a": {"model_patch": "first"}, "a": {"model_patch": "last"}}')
    assert found.get("a").patch == "last"
    assert found.problems("a", "a") == ["1 instances stand several times, and the last counts: a"]


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", "nothing\n", '{"instance_id": "a"}', "\xff"])
def test_a_file_without_a_prediction_is_an_error_with_a_hint(tmp_path, text):
    with pytest.raises(ConfigError, match=r"preds\.jsonl") as error:
        read(tmp_path, text)
    assert "SWE-bench" in error.value.hint


def test_a_digest_changes_with_its_own_prediction_alone(tmp_path):
    first = read(tmp_path, jsonl(TWO))
    before = {name: first.digest(name) for name in "abc"}
    second = read(tmp_path, jsonl([entry("c"), entry("b", "changed\n"), entry("a")]))
    assert {name for name in "abc" if second.digest(name) != before[name]} == {"b", "c"}


def test_a_file_is_read_once_for_all_jobs(tmp_path):
    """The second process takes the index: it is not written again, and a job's patch comes without the others."""
    path = tmp_path / "preds.jsonl"
    path.write_text(jsonl([entry(f"i{n}", "x" * 100_000) for n in range(50)]))
    Predictions(path, tmp_path / "index")
    (index,) = (tmp_path / "index").glob("*.sqlite")
    before = index.stat().st_mtime_ns
    assert Predictions(path, tmp_path / "index").get("i7").patch == "x" * 100_000
    assert index.stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def judged(tmp_path_factory, demo_data, store) -> tuple[Project, list[dict]]:
    """A session on predictions of every kind."""
    project = Project.make(tmp_path_factory.mktemp("predictions") / "project", demo_data, store)
    gold = {row["instance_id"]: row["patch"] for row in project.rows}
    good, broken, empty, twice, _ = project.ids
    entries = [entry(good, gold[good]), entry(broken, GOLD), entry(empty, ""), entry(twice, "nonsense"), entry("gone")]
    entries.append(entry(twice, gold[twice]))
    (project.root / "theirs.jsonl").write_text(jsonl(entries))
    project.configure(catalog={"theirs": {"agent": "predictions", "predictions": "theirs.jsonl"}}, models=["theirs"])
    done = project.snakemake("-j", "4", "--profile", "hybrid")
    assert done.returncode == 0, done.stdout
    (project.root / "run.log").write_text(done.stdout)
    return project, entries


def test_predictions_are_tested_like_any_models_patches(judged):
    """Resolved, does not apply, empty, last of two, missing: each with the state it has in SWE-bench."""
    project, entries = judged
    good, broken, empty, twice, missing = project.ids
    rows = {name: row for (_, name), row in project.results().items()}
    states = {name: (row["Status"], row["Verdict"], row["Agent_Exit"]) for name, row in rows.items()}
    assert states == {
        good: ("SUCCESS", "resolved", "submitted"),
        broken: ("SUCCESS", "unresolved", "submitted"),
        empty: ("SUCCESS", "empty_patch", "submitted"),
        twice: ("SUCCESS", "resolved", "submitted"),
        missing: ("MISSING", "empty_patch", "no_prediction"),
    }
    report = json.loads((project.folder("theirs", broken) / "eval_outputs/report.json").read_text())[broken]
    assert (report["patch_exists"], report["patch_successfully_applied"], report["resolved"]) == (True, False, False)
    report = json.loads((project.folder("theirs", missing) / "eval_outputs/report.json").read_text())[missing]
    assert (report["patch_is_None"], report["resolved"]) == (True, False)
    tested = json.loads((project.folder("theirs", good) / "output.jsonl").read_text())
    assert tested["test_result"]["git_patch"] == entries[0]["model_patch"]
    assert (project.root / f"outputs/progress/demo/theirs_{missing}.status").read_text().startswith("MISSING|")


def test_the_session_counts_them_as_the_harness_does(judged):
    project, _ = judged
    good, broken, empty, twice, missing = project.ids
    results = project.root / "outputs/results/demo"
    report = json.loads((results / "theirs.run_report.json").read_text())
    assert report["total_instances"] == 5 and report["incomplete_ids"] == [missing]
    assert report["empty_patch_ids"] == [empty] and report["unresolved_ids"] == [broken]
    assert report["resolved_ids"] == sorted([good, twice]) and report["error_ids"] == []
    submitted = [item["instance_id"] for item in json.loads((results / "theirs.preds.json").read_text())]
    assert sorted(submitted) == sorted([good, broken, empty, twice])
    text = (results / "final_report.txt").read_text()
    assert "Missing: 1 (no prediction; not resolved)" in text and "Resolved: 2 of 5 (40.00%)" in text


def test_what_is_odd_is_said_at_the_start_and_in_the_report(judged):
    project, _ = judged
    _, _, empty, twice, missing = project.ids
    report = (project.root / "outputs/results/demo/final_report.txt").read_text()
    for said in (
        "does not hold: gone",
        f"stand several times, and the last counts: {twice}",
        f"without a prediction (MISSING): {missing}",
        f"1 empty patches: {empty}",
    ):
        assert said in report
        assert said in (project.root / "run.log").read_text()


def test_a_changed_prediction_repeats_exactly_its_instance(judged, tmp_path):
    project, entries = judged
    _, broken, _, _, missing = project.ids
    again = project.copy(tmp_path / "again")
    (again.root / "theirs.jsonl").rename(again.root / "moved.json")
    again.configure(catalog={"theirs": {"agent": "predictions", "predictions": "moved.json"}})
    assert again.planned().generated == []
    changed = [item | {"model_patch": "x"} if item["instance_id"] == broken else item for item in entries]
    (again.root / "moved.json").write_text(json.dumps([*changed, entry(missing, "")]))
    assert again.planned().generated == sorted([("theirs", broken), ("theirs", missing)])
    done = again.snakemake("-j", "4", "--profile", "hybrid")
    assert done.returncode == 0, done.stdout
    assert "MISSING" not in (again.root / "outputs/results/demo/final_report.txt").read_text()
    assert "Nothing to be done" in again.planned().text
    (again.root / "moved.json").write_text(json.dumps([*changed, entry(missing, ""), entry("another")]))
    plan = again.planned()  # what is said of the file changed, no instance did
    assert plan.generated == [] and plan.jobs["summarize"] == 1


@pytest.mark.parametrize(
    ("catalog", "said"),
    [
        ({"theirs": {"agent": "predictions"}}, "needs `predictions`, the file with the patches"),
        ({"theirs": {"agent": "predictions", "predictions": "none.json"}}, "There is no file of predictions none.json"),
    ],
)
def test_a_file_that_is_not_there_is_said_before_anything_runs(judged, tmp_path, catalog, said):
    again = judged[0].copy(tmp_path / "again")
    again.configure(catalog=catalog)
    done = again.snakemake("-n")
    assert done.returncode == 2 and said in done.stdout and "Hint:" in done.stdout and "Traceback" not in done.stdout

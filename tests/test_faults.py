"""What the machine does wrong: listed apart, never a model's failure, repeated by the same command."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess

import pytest
from project import Project
from test_workflow import overlaps, spans

from trajmake.errors import EngineUnavailableError


def without_image(project: Project, number: int = 0) -> tuple[str, object]:
    """Take one instance's image away; gives its id and how to bring it back."""
    row = project.rows[number]
    image = project.dataset.parent / row["image_storage_uri"]
    target = image.readlink()
    image.unlink()
    return row["instance_id"], lambda: image.symlink_to(target)


def test_a_missing_image_fails_its_runs_alone_and_the_same_command_repeats_exactly_them(project):
    """The summary is built, the next model starts, snakemake fails and names the fault; then it is mended."""
    broken, mend = without_image(project)
    done = project.snakemake("-j", "4", "--profile", "hybrid")
    assert done.returncode != 0
    assert "no image tarball" in done.stdout and "Hint:" in done.stdout and "2 x image_missing" in done.stdout
    results = project.results()
    assert len(results) == 2 * len(project.ids)
    for (_, instance_id), row in results.items():
        assert row["Status"] == ("FAILED" if instance_id == broken else "SUCCESS")
        assert (row["Fault_Reason"], row["Resolved"] == "") == (
            ("image_missing", True) if instance_id == broken else ("", False)
        )
    report = (project.root / "outputs/results/demo/final_report.txt").read_text()
    assert "1 with a fault of the machine left out" in report and "2 x image_missing in fetch_image" in report
    record = json.loads((project.folder("fixer", broken) / "output.jsonl").read_text())
    assert record["error"] and record["fault"]["stage"] == "fetch_image" and record["history"] == []
    assert not (project.root / "outputs/results/demo/complete.json").exists()
    first = [span for span, i in zip(spans(project, "fixer"), project.ids, strict=True) if i != broken]
    second = [span for span, i in zip(spans(project, "stumbler"), project.ids, strict=True) if i != broken]
    assert min(started for started, _ in second) >= max(ended for _, ended in first)
    assert overlaps(first) + overlaps(second) >= 0

    again = project.snakemake("-j", "4", "--profile", "hybrid")
    assert again.returncode != 0  # still broken, still said
    assert project.planned().generated == [("fixer", broken), ("stumbler", broken)]

    mend()
    bought = {key: project.outcome(*key)["started"] for key in results if key[1] != broken}
    assert project.planned().generated == [("fixer", broken), ("stumbler", broken)]
    mended = project.snakemake("-j", "4", "--profile", "hybrid")
    assert mended.returncode == 0, mended.stdout
    assert {row["Status"] for row in project.results().values()} == {"SUCCESS"}
    assert {key: project.outcome(*key)["started"] for key in bought} == bought
    assert "Nothing to be done" in project.planned().text


def test_a_model_without_its_key_fails_apart_with_one_message(project):
    project.configure(models=["opus", "gold"], instances=project.ids[:2])
    done = project.snakemake("-j", "4", "--profile", "hybrid")
    assert done.returncode != 0
    assert "2 x key_missing in generate" in done.stdout and "ANTHROPIC_API_KEY" in done.stdout
    results = project.results()
    assert {row["Status"] for (model, _), row in results.items() if model == "opus"} == {"FAILED"}
    assert {row["Resolved"] for (model, _), row in results.items() if model == "gold"} == {"true"}
    assert {row["Exit_Code"] for (model, _), row in results.items() if model == "opus"} == {"8"}


def test_a_bad_row_costs_no_good_one(project):
    rows = project.rows
    rows[0]["FAIL_TO_PASS"] = []
    project.dataset.write_text("".join(json.dumps(row) + "\n" for row in rows))
    project.configure(models=["gold"])
    done = project.snakemake("-j", "4", "--profile", "hybrid")
    assert done.returncode != 0 and "FAIL_TO_PASS: names no test" in done.stdout
    results = project.results()
    assert [row["Status"] for row in results.values()] == ["FAILED"] + ["SUCCESS"] * (len(rows) - 1)


def test_instance_timeout_is_a_timeout_and_not_a_fault(project):
    """The agent's command is cut short, its patch so far is kept and tested, and snakemake succeeds."""
    import yaml

    catalog = yaml.safe_load((project.root / "config/config.yaml").read_text())["catalog"]
    catalog["sleeper"] = {
        "agent": "scripted",
        "commands": ["echo '# touched' >> $(git ls-files '*.py' | head -1)", "sleep 60"],
    }
    project.configure(models=["sleeper"], instances=project.ids[:1], catalog=catalog)
    done = project.snakemake("-j", "4", "--profile", "hybrid", INSTANCE_TIMEOUT="8")
    assert done.returncode == 0, done.stdout
    (row,) = project.results().values()
    assert (row["Status"], row["Exit_Code"], row["Agent_Exit"]) == ("TIMEOUT", "124", "time_limit")
    assert int(row["Patch_Bytes"]) > 0 and 7 <= int(row["Duration_Seconds"]) < 60
    assert (project.root / f"outputs/progress/demo/sleeper_{project.ids[0]}.status").read_text().startswith("TIMEOUT|")


def test_no_engine_at_all_is_said_before_any_work(project):
    """No Docker daemon and no user namespaces: one message, no job, no traceback."""
    closed = "mount --bind /dev/null /usr/bin/unshare" if os.geteuid() == 0 else None
    if closed is None or shutil.which("unshare") != "/usr/bin/unshare":
        pytest.skip("hiding unshare(1) needs root")
    script = f"{closed} && exec {shlex.join(project.command('-j', '1'))}"
    done = in_namespace(project, script, DOCKER_HOST="unix:///nowhere.sock")
    assert done.returncode == EngineUnavailableError.exit_code, done.stdout
    assert "No engine can run containers here" in done.stdout and "Hint: Start a Docker daemon" in done.stdout
    assert "Traceback" not in done.stdout and "Fetching image" not in done.stdout


def test_a_named_engine_that_does_not_answer_is_the_machines_fault(project):
    project.configure(models=["gold"], engine="docker", instances=project.ids[:1])
    done = project.snakemake("-j", "2", DOCKER_HOST="unix:///nowhere.sock")
    assert done.returncode != 0 and "engine_unavailable" in done.stdout and "Hint:" in done.stdout
    (row,) = project.results().values()
    assert (row["Status"], row["Resolved"], row["Fault_Reason"]) == ("FAILED", "", "engine_unavailable")


def test_a_full_disk_is_one_message_and_harms_nothing_finished(project):
    """The outputs lie on a file system of 1 MB; what does not fit is said; with room the same command goes on."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    project.configure(models=["gold"], instances=project.ids[:1])
    snakemake = shlex.join(project.command("-j", "2"))
    script = (
        "mkdir -p outputs && mount -t tmpfs -o size=1m tmpfs outputs && head -c 900K /dev/zero > outputs/ballast; "
        f"{snakemake}; code=$?; rm outputs/ballast; mount -o remount,size=400m outputs; "
        f"{snakemake} && cat outputs/results/demo/results.csv; exit $code"
    )
    done = in_namespace(project, script)
    assert done.returncode != 0
    assert "No space left" in done.stdout and "Hint: Free disk space" in done.stdout, done.stdout
    assert "Traceback" not in done.stdout
    assert f"gold,{project.ids[0]},SUCCESS" in done.stdout, done.stdout


def in_namespace(project: Project, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in the project with mounts of its own."""
    return subprocess.run(
        ["unshare", "--mount", "bash", "-c", script],
        cwd=project.root,
        env=project.environment(**environ),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )


def test_what_was_spent_before_a_fault_is_reported(project):
    """An agent that removes the shell it stands on leaves no patch; its answers were paid for all the same."""
    import yaml

    catalog = yaml.safe_load((project.root / "config/config.yaml").read_text())["catalog"]
    catalog["vandal"] = catalog["fixer"] | {"replies": "vandal"}
    replies = project.root / "vandal" / f"{project.ids[0]}.yaml"
    replies.parent.mkdir()
    turns = [{"thought": "Tidy up.", "commands": ["rm -rf /testbed/.git /usr/bin/git /bin/bash /usr/bin/bash"]}] * 3
    replies.write_text(yaml.safe_dump(turns))
    project.configure(models=["vandal"], instances=project.ids[:1], catalog=catalog)
    project.snakemake("-j", "2")
    (row,) = project.results().values()
    assert row["Status"] == "FAILED" and row["Resolved"] == ""
    assert float(row["Cost_USD"]) > 0

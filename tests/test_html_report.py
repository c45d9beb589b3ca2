"""`snakemake --report`: one HTML file or an archive, opened in a real browser from `file://`."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile

import pytest
from browser import page_of, picture
from project import Project

ITEMS = ["results.csv", "final_report.txt", "fixer_summary.txt", "stumbler_summary.txt"]


def offline(project: Project, *arguments: str) -> str:
    """Run snakemake where there is no network, if this machine can take it away."""
    command = project.command(*arguments)
    if shutil.which("unshare") and not subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        command = ["unshare", "-rn", *command]
    streams = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "timeout": 600}
    done = subprocess.run(command, cwd=project.root, env=project.environment(), check=False, **streams)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def reported(finished, tmp_path_factory) -> Project:
    """The demo's session with both reports, the archive unpacked."""
    copy = finished.copy(tmp_path_factory.mktemp("reported") / "project")
    for name in ("report.html", "report.zip"):
        offline(copy, "--report", name)
    zipfile.ZipFile(copy.root / "report.zip").extractall(copy.root / "unpacked")
    return copy


def overview(page, path):
    """Open a report: it shows the session's page at once."""
    page.goto(path.as_uri())
    frame = page.frame_locator("iframe").first
    frame.locator("html[data-drawn]").wait_for()
    return frame


def test_one_file_leads_from_the_table_to_every_step(chromium, reported):
    with page_of(chromium, size={"width": 1500, "height": 940}) as page:
        frame = overview(page, reported.root / "report.html")
        assert frame.locator("#runs-body tr").count() == 2 * len(reported.ids)
        picture(page, "report")
        for name in (*reported.ids, reported.ids[0]):
            frame.locator("#runs-body a.run", has_text=name).first.click()
            run = frame.frame_locator("#page")
            assert run.locator("h1").inner_text() == name
            run.locator(".step").nth(2).wait_for(state="attached")
            run.locator(".outline a", has_text="Patch").first.click()
            run.locator(".crumbs a").first.click()
            frame.locator("#page").wait_for(state="detached")
        frame.locator(".jump a", has_text="Provenance").click()
        frame.locator("#provenance").wait_for()
        picture(page, "report-provenance")


def test_an_archive_leads_there_too_and_back(chromium, reported):
    root = reported.root / "unpacked" / "report"
    with page_of(chromium, size={"width": 1500, "height": 940}) as page:
        overview(page, root / "report.html")
        for name in reported.ids[:2]:
            frame = page.frame_locator("iframe").first
            frame.locator("#runs-body a.run", has_text=name).first.click()
            frame.locator("h1", has_text=name).wait_for()  # the page before has one too, until this one is there
            frame.locator(".step").nth(2).wait_for(state="attached")
            frame.locator(".crumbs a").first.click()
            frame.locator("html[data-drawn]").wait_for()
        page.get_by_text("Trajectories", exact=True).first.click()
        page.get_by_text("fixer", exact=True).first.click()
        page.get_by_text(reported.ids[0], exact=True).first.wait_for()
        picture(page, "report-archive")
    held = {path.name for path in root.rglob("*")}
    assert held >= {*ITEMS, "index.html", *(f"{name}.html" for name in reported.ids)}


def test_one_file_holds_the_tables_and_texts(reported):
    text = (reported.root / "report.html").read_text()
    assert all(f'"{name}"' in text for name in ITEMS)
    assert (reported.root / "report.html").stat().st_size < 12e6


def test_rows_cannot_break_out_of_snakemakes_own_page(finished, tmp_path):
    """It has parameters in a script as they are, and a row's problem may say anything."""
    again = finished.copy(tmp_path / "again")
    evil = "</script><script>alert(1)</script>"
    row = again.rows[0] | {"instance_id": "\u0007" + evil}
    with again.dataset.open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    done = again.snakemake("--report", "report.html")
    assert done.returncode == 0, done.stdout
    assert "<script>alert(1)" not in (again.root / "report.html").read_text()


def test_pages_have_the_same_bytes_whenever_they_are_made(finished, tmp_path):
    again = finished.copy(tmp_path / "again")
    folder = again.root / "outputs/results/demo/html"
    before = {path: path.read_bytes() for path in folder.rglob("*.html")}
    assert len(before) == 2 + 2 * len(again.ids)
    done = again.snakemake("-j", "2", "--forcerun", "trajectory_pages", "session_page")
    assert done.returncode == 0 and "works on" not in done.stdout, done.stdout
    assert {path: path.read_bytes() for path in folder.rglob("*.html")} == before

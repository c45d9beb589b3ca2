"""The session's page as people see it: in a real browser, from `file://`."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from browser import LAPTOP, PHONE, page_of, picture
from made_sessions import Made

from trajmake.pages import session as page_of_session
from trajmake.pages import vega, whole
from trajmake.reports import reasons, session_facts
from trajmake.reports.session import ModelRuns, SessionRuns
from trajmake.sessions import calibration, layout, quality
from trajmake.sessions.calibration import Calibrated
from trajmake.settings.sections import QualitySettings
from trajmake.stages.pages import trajectory_pages
from trajmake.stages.session_page import session_page

EVIL = "</script><script>document.title='broken out'</script><img src=x onerror=alert(1)>"


def build(made: Made, models: dict[str, str], session: str = "s") -> Path:
    """The pages of a made session, by the stages that make them; its page."""
    rows = made.root / "rows.jsonl"
    rows.write_text(json.dumps({"instance_id": "owner__repo-0", "repo": "owner/repo"}) + "\n")
    catalog = {name: {"agent": "gold", "display_name": title} for name, title in models.items()}
    config = {"session": session, "dataset": str(rows), "models": list(models), "catalog": catalog}
    config |= {"output_dir": str(made.root), "limits": {"session_usd": 20}}
    folder = made.root / layout.PAGES.format(session=session)
    outcomes = []
    for model in models:
        mine = sorted(map(str, made.root.glob(f"trajectories/{session}/{model}/*/eval_outputs/*/outcome.json")))
        log = str(made.root / "log")
        trajectory_pages(config, model=model, outcomes=mine, folder=str(folder / model), threads=1, log=log)
        outcomes += mine
    page, single = (str(folder / name) for name in ("index.html", "session.html"))
    session_page(config, outcomes=outcomes, archived={}, page=page, single=single, log=str(made.root / "log"))
    return folder / "index.html"


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """Two models on eight instances; one failed, one out of time, one without a patch."""
    made = Made(tmp_path_factory.mktemp("overview"))
    made.session("s", usd=7.25)
    for number in range(8):
        name = f"owner__repo-{number}"
        seconds, cost = 60 + 40 * number, 0.25 * (number + 1)
        made.run("s", "first", name, number < 5, seconds=seconds, steps=4 + number, cost=cost)
        if number == 1:
            made.run("s", "second", name, False, exit_status="time_limit", seconds=3600, steps=80, cost=2)
        elif number == 2:
            made.fault("s", "second", name, "The provider answers 503.")
        else:
            made.run("s", "second", name, number == 7, seconds=seconds * 2, steps=3 + number, cost=cost / 2)
    rows = [calibration.Calibration("owner__repo-0", Calibrated.VALID, "resolved", "unresolved", (), (), "", "d")]
    broken = ("t::odd",), (), "Its tests pass without any fix.", "d"
    rows.append(calibration.Calibration("owner__repo-6", Calibrated.BROKEN, "resolved", "unresolved", *broken))
    (made.root / layout.CALIBRATION.format(session="s")).write_text(calibration.to_csv(rows))
    return build(made, {"first": "First model", "second": "Second model"})


def opened(page, path: Path, charts: bool = True):
    page.goto(path.as_uri())
    if charts:
        page.wait_for_selector("html[data-drawn]")


def shown(page) -> list[str]:
    return page.locator("#runs-body td.name").all_inner_texts()


def counted(page, text: str):
    page.locator("#count", has_text=re.compile(f"^{text}$")).wait_for()


def until(page, true, script: str):
    """Wait for what a script gives; the page's policy forbids Playwright's own way."""
    deadline = time.monotonic() + 60
    while not true(page.evaluate(script)):
        assert time.monotonic() < deadline, script
        page.wait_for_timeout(50)


def test_a_session_at_a_glance(chromium, index):
    with page_of(chromium, size=LAPTOP) as page:
        opened(page, index)
        figures = page.locator("dl.figures").inner_text()
        assert "40.0 %" in figures and "6 of 15 judged" in figures
        assert re.search(r"Timeouts\s+1\b", figures) and re.search(r"Machine faults\s+1\b", figures)
        assert re.search(r"Spent\s+\$7\.25 of \$20\.00 \(36\.2 %\)", figures)
        first, second = page.locator("#models tbody").first.locator("tr").all_inner_texts()
        assert "First model" in first and "62.5 %" in first and "30.6 \u2013 86.3" in first
        assert "Second model" in second and "14.3 %" in second
        assert "may be chance" in page.locator("#models").inner_text()
        failures = page.locator("#failures").inner_text()
        assert "provider_down in generate" in failures and "The provider answers 503. Wait." in failures
        assert "the agent had no time left" in failures and "the bug is still there" in failures
        assert "t::bug" in page.locator("#tests").inner_text()
        calibrated = page.locator("#calibration").inner_text()
        assert "1 valid 1 broken" in calibrated and "Its tests pass without any fix." in calibrated
        page.select_option("#by-more", "doubtful")
        assert set(shown(page)) == {"owner__repo-6 broken", *(f"owner__repo-{n}" for n in (1, 2, 3, 4, 5, 7))}
        page.select_option("#by-more", "")
        picture(page, "overview", full_page=True)
    for scheme, size, name in (("dark", LAPTOP, "overview-dark"), ("light", PHONE, "overview-phone")):
        with page_of(chromium, size=size, color_scheme=scheme) as page:
            opened(page, index)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing sticks out
            picture(page, name, full_page=True)


def test_runs_are_searched_filtered_and_sorted(chromium, index):
    with page_of(chromium) as page:
        opened(page, index)
        assert len(shown(page)) == 16 and page.locator("#count").inner_text() == "16"
        page.keyboard.press("/")
        page.keyboard.type("repo-7 second")
        counted(page, "1 of 16")
        assert shown(page) == ["owner__repo-7"]
        page.keyboard.press("Escape")
        assert len(shown(page)) == 16
        page.select_option("#by-end", "fault")
        assert shown(page) == ["owner__repo-2"]
        page.click("#clear")
        counted(page, "16")
        page.select_option("#by-more", "differ")
        assert set(shown(page)) == {f"owner__repo-{n}" for n in (0, 1, 3, 4, 7)}
        page.click("#clear")
        counted(page, "16")
        page.get_by_role("button", name=re.compile("^Cost")).click()
        costs = [float(text.lstrip("$")) for text in page.locator("#runs-body tr td:nth-child(6)").all_inner_texts()]
        assert costs == sorted(costs, reverse=True) and costs[0] == 2
        page.get_by_role("button", name=re.compile("^Cost")).click()
        assert page.locator("th[aria-sort=ascending]").inner_text() == "Cost"
        page.get_by_role("button", name=re.compile("^Instance")).click()
        assert shown(page) == sorted(shown(page)) and len(shown(page)) == 16
        page.get_by_text("the agent had no time left").last.click()
        assert shown(page) == ["owner__repo-1"]
        page.fill("#search", "nothing is like this")
        page.wait_for_selector("#none:not([hidden])")


def test_a_run_is_one_click_away_and_so_is_the_way_back(chromium, index):
    with page_of(chromium) as page:
        opened(page, index)
        page.locator("#runs-body a.run", has_text="owner__repo-3").first.click()
        page.wait_for_url("**/html/first/owner__repo-3.html")
        assert page.locator("h1").inner_text() == "owner__repo-3"
        page.locator(".crumbs a").first.click()
        page.wait_for_url("**/html/index.html")
        page.locator("#failures a.run").first.click()
        page.wait_for_url("**/html/*/owner__repo-*.html")


def test_charts_say_their_figures_and_choose_runs(chromium, index):
    with page_of(chromium) as page:
        opened(page, index)
        box = page.locator("#chart-ends canvas").bounding_box()
        ink = "e => new Set(e.getContext('2d').getImageData(0, 0, e.width, e.height).data).size"
        for name in ("ends", "cost", "seconds", "steps"):
            assert page.locator(f"#chart-{name} canvas").evaluate(ink) > 8, name
        spot = {"x": box["width"] * 0.5, "y": box["height"] * 0.25}
        page.locator("#chart-ends canvas").hover(position=spot)
        page.wait_for_selector("#tip:not([hidden])")
        said = page.locator("#tip").inner_text()
        assert said.startswith("First model") and "Resolved: 5 of 8 runs (62.5 %)" in said
        picture(page, "overview-chart")
        page.locator("#chart-ends canvas").click(position=spot)
        assert page.locator("#count").inner_text() == "5 of 16" and page.locator("#by-end").input_value() == "resolved"


def test_the_chosen_theme_reaches_the_charts(chromium, index):
    with page_of(chromium, color_scheme="light") as page:
        opened(page, index)
        before = page.locator("#chart-ends canvas").evaluate("e => e.toDataURL()")
        page.click("#theme")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        until(page, lambda now: now and now != before, "document.querySelector('#chart-ends canvas')?.toDataURL()")


def test_without_scripts_the_same_can_be_read(chromium, index):
    with page_of(chromium, java_script_enabled=False) as page:
        page.goto(index.as_uri())
        rows = page.locator("noscript tbody tr").all_inner_texts()
        assert len(rows) == 16 and any("provider_down in generate" in row for row in rows)
        assert not page.locator("#charts").is_visible() and not page.locator("#filters").is_visible()
        page.locator("noscript a", has_text="owner__repo-0").first.click()
        page.wait_for_url("**/owner__repo-0.html")
        assert page.locator("h1").inner_text() == "owner__repo-0"


def test_one_file_has_everything_in_it(chromium, index, tmp_path):
    """Sent to somebody, it lies alone; its pages' scripts run, and can do nothing to the page around them."""
    alone = tmp_path / "session.html"
    alone.write_bytes(index.with_name("session.html").read_bytes())
    with page_of(chromium) as page:
        opened(page, alone)
        page.locator("#runs-body a.run", has_text="owner__repo-4").first.click()
        frame = page.frame_locator("#page")
        assert frame.locator("h1").inner_text() == "owner__repo-4"
        frame.get_by_role("link", name="Patch").first.click()
        assert frame.locator("#patch").is_visible()
        picture(page, "overview-folded")
        assert page.frames[1].evaluate("try { parent.document.title } catch (e) { e.name }") == "SecurityError"
        frame.locator(".crumbs a").first.click()
        page.wait_for_selector("#page", state="detached")
        assert page.locator("#runs-body tr").count() == 16
        page.go_back()
        assert page.frame_locator("#page").locator("h1").inner_text() == "owner__repo-4"
        page.evaluate("location.hash = 'first/owner__repo-5.html'; setTimeout(() => { location.hash = 'runs' })")
        page.wait_for_url("**#runs")
        page.wait_for_timeout(500)  # the page that was asked for first takes a while to unpack
        assert not page.locator("#page").count() and page.locator("#runs-body").is_visible()
    with page_of(chromium) as page:
        page.goto(f"{alone.as_uri()}#first/owner__repo-5.html")
        assert page.frame_locator("#page").locator("h1").inner_text() == "owner__repo-5"


def test_nothing_that_others_wrote_gets_out_of_its_place(chromium, tmp_path):
    made = Made(tmp_path)
    made.session("s")
    names = [EVIL, "a/b c%2F", "quote\"'`${x}", "admin\u202egnp.exe"]
    for name in names:
        made.run("s", "m", name, False)
    made.fault("s", "m", "fault", f"It says {EVIL} \u202e\x1b[2J")
    state = made.place(layout.EVALUATION, "s", "m", EVIL) / "outcome.json"
    flags = [{"kind": "network", "count": 1, "evidence": [EVIL]}]
    record = json.loads(state.read_text()) | {"flags": flags, "message": EVIL}
    state.write_text(json.dumps(record))
    index = build(made, {"m": EVIL})
    for path in (index, index.with_name("session.html")):
        policy = re.search('http-equiv="Content-Security-Policy" content="([^"]*)"', path.read_text())
        assert "default-src &#39;none&#39;" in policy[1] and "unsafe" not in policy[1] and "http" not in policy[1]
        with page_of(chromium) as page:
            opened(page, path)
            assert page.title() == "s · Trajmake"
            texts = shown(page)
            assert EVIL in texts and "admin\u2039U+202E\u203agnp.exe" in texts and len(texts) == 5
            assert EVIL in page.locator("#flags").inner_text()
            assert f"It says {EVIL} \u2039U+202E\u203a\u2039ESC\u203a[2J" in page.locator("#failures").inner_text()
            for name in (EVIL, "a/b c%2F"):
                page.locator("#runs-body a.run").nth(texts.index(name)).click()
                there = page.frame_locator("#page") if path != index else page
                there.locator("h1", has_text=name).wait_for()
                assert there.locator("h1").inner_text() == name
                opened(page, path)
                page.reload()


def milliseconds(page, act: str) -> float:
    """How long something takes until the table is laid out again; of three times the best, as machines are busy."""
    script = (
        f"(() => {{ const before = performance.now(); {act}; document.querySelector('#table').offsetHeight;"
        " return performance.now() - before })()"
    )
    return min(page.evaluate(script) for _ in range(3))


def test_thousands_of_runs_stay_usable(chromium, tmp_path):
    made = Made(tmp_path)
    made.run("s", "m0", "base", False)
    base = json.loads(next(made.root.rglob("outcome.json")).read_text())
    wanted = QualitySettings()
    models = [f"m{number}" for number in range(4)]
    outcomes = [
        base | {"model": model, "instance_id": f"owner__repo-{n}", "cost_usd": n % 97 / 10, "resolved": n % 3 == 0}
        for model in models
        for n in range(2300)
    ]
    chosen = [ModelRuns(m, m, "", quality.marked((o for o in outcomes if o["model"] == m), wanted)) for m in models]
    session = SessionRuns("s", "d", chosen)
    facts = session_facts.describe(session, session_facts.Records(made.root, [{}] * 9200, [{}] * 9200))
    path = tmp_path / "index.html"
    path.write_text(page_of_session.render(facts, session.outcomes))
    with page_of(chromium) as page:
        started = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_selector("#runs-body tr:nth-child(100)")
        first = time.perf_counter() - started
        page.wait_for_selector("html[data-drawn]")
        sort = milliseconds(page, "document.querySelectorAll('#runs-head button')[5].click()")
        look_for = "document.querySelector('#search').value = 'repo-22'"
        search = milliseconds(page, f"{look_for}; document.querySelector('#by-end').dispatchEvent(new Event('change'))")
        assert page.locator("#count").inner_text() == "444 of 9,200"
        print(f"{path.stat().st_size / 1e6:.1f} MB, rows {first:.2f} s, sort {sort:.0f} ms, search {search:.0f} ms")
        assert first < 30 and sort < 1500 and search < 1500
        rows = page.locator("#runs-body tr").count()
        page.locator("#table").evaluate("e => { e.scrollTop = e.scrollHeight }")
        until(page, lambda now: now > rows, "document.querySelectorAll('#runs-body tr').length")


def test_every_run_has_one_end_and_says_why(tmp_path):
    made = Made(tmp_path)
    made.run("s", "m", "solved")
    made.run("s", "m", "solved-late", exit_status="time_limit")
    made.run("s", "m", "late", False, exit_status="time_limit")
    made.run("s", "m", "stepped", False, exit_status="step_limit")
    made.run("s", "m", "absent", False, exit_status="no_prediction", patch="")
    made.run("s", "m", "lost", None)
    made.fault("s", "m", "down")
    outcomes = [json.loads(path.read_text()) for path in made.root.rglob("outcome.json")]
    found = {one["instance_id"]: (reasons.end(one), reasons.reason(one)) for one in outcomes}
    assert found == {
        "solved": ("resolved", ""),
        "solved-late": ("resolved", ""),
        "late": ("timeout", "the agent had no time left"),
        "stepped": ("unresolved", "the bug is still there; the agent had no steps left"),
        "absent": ("missing", "the file of predictions has none"),
        "lost": ("fault", "container_lost in run_tests"),
        "down": ("fault", "provider_down in generate"),
    }
    grouped = reasons.grouped(outcomes)
    assert sum(group["count"] for group in grouped) == 5
    base = next(one for one in outcomes if one["instance_id"] == "stepped") | {"exit_status": "submitted"}
    assert reasons.reason(base | {"patch_applied": False}) == "the patch does not apply"
    assert reasons.reason(base | {"message": "The log is rejected: it ends."}) == "the log is rejected"
    assert reasons.reason(base | {"verdict": "empty_patch"}) == "the agent submitted without a patch"


def test_the_page_has_the_same_bytes_whenever_it_is_made(index):
    before = {path.name: path.read_bytes() for path in index.parent.glob("*.html")}
    build(_made_of(index), {"first": "First model", "second": "Second model"})
    assert before == {path.name: path.read_bytes() for path in index.parent.glob("*.html")} and len(before) == 2


def _made_of(index: Path) -> Made:
    made = Made.__new__(Made)
    made.root = index.parents[3]
    return made


def test_what_has_no_room_is_left_out_and_said(index, tmp_path, monkeypatch):
    monkeypatch.setattr(whole.fold, "__defaults__", (30_000,))
    build(_made_of(index), {"first": "First model", "second": "Second model"})
    single = index.with_name("session.html").read_text()
    said = re.search(r"(\d+) pages of runs are not in this file", single)
    assert said and 0 < int(said[1]) < 16 and single.count("data-page=") == 16 - int(said[1])
    monkeypatch.undo()
    build(_made_of(index), {"first": "First model", "second": "Second model"})
    pages = {}
    for name, size in (("a/large.html", 90_000), ("a/small.html", 100)):
        pages[name] = tmp_path / Path(name).name
        pages[name].write_bytes(bytes(value * 73 % 251 for value in range(size)))
    folded, sources = whole.fold(pages, room=400)
    assert list(folded) == ["a/small.html"] and sources["frame-src"] == "blob:"
    assert list(whole.fold(pages)[0]) == list(pages)


def test_charts_come_out_of_the_installed_snakemake_without_importing_it():
    sizes = [len(script) for script in vega.scripts()]
    assert len(sizes) == 3 and min(sizes) > 100_000
    assert all("</script" not in script.lower() for script in vega.scripts())

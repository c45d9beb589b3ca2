"""The page of a run, in a real browser: from ``file://``, by mouse and keys, without JavaScript, with hostile text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import PHONE, page_of, picture
from made_sessions import Made

from trajmake import files
from trajmake.agents.history import History
from trajmake.pages import trajectory
from trajmake.reports.one_run import Run
from trajmake.sessions import layout

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page
    from project import Project

CODE = """diff --git a/src/money.py b/src/money.py
--- a/src/money.py
+++ b/src/money.py
@@ -1,4 +1,5 @@
 def total(amounts):
-    return sum(amounts)
+    # Cents, for floats do not add up.
+    return sum(round(amount * 100) for amount in amounts) / 100


diff --git a/notes.txt b/notes.txt
new file mode 100644
--- /dev/null
+++ b/notes.txt
@@ -0,0 +1 @@
+<b>bold</b>
"""
LOG = """test_sums (tests.Money.test_sums) ... ok
=================================== FAILURES ===================================
___________________________________ bug ___________________________________
    def test_bug():
>       assert total([0.1, 0.2]) == 0.3
E       assert 0.30000000000000004 == 0.3
=========================== short test summary info ============================
FAILED t::bug - assert 0.30000000000000004 == 0.3
PASSED t::kept
"""
COMMANDS = [
    ("ls", "src\ntests\n", 0),
    ("grep -rn --color total src", "\x1b[35msrc/money.py\x1b[m\x1b[K:1:def \x1b[1;31mtotal\x1b[m\x1b[K(amounts):", 0),
    ("python -m pytest -q", "".join(f"tests/test_{n}.py ....\n" for n in range(60)) + "3 failed, 57 passed\n", 1),
    ("sed -i s/sum/fsum/ src/money.py", "", 0),
    ("python -m pytest -q", "60 passed\n", 0),
]


def history(commands: list[tuple[str, str, int]]) -> History:
    made = History()
    made.message("user", "Mend it.")
    for number, (command, output, code) in enumerate(commands):
        cause = made.run(command, f"Thought {number + 1}.", at=1000.0 + number, response=f"r{number}")
        made.ran(cause, command, output, exit_code=code, workdir="/testbed", at=1000.5 + number)
    made.finish("Done.")
    return made


def metrics(count: int) -> dict:
    return {
        "accumulated_cost": 0.01 * count,
        "accumulated_token_usage": {"prompt_tokens": 1000 * count, "completion_tokens": 100 * count},
        "costs": [{"model": "m", "cost": 0.01 * (n + 1), "timestamp": 999.0 + n} for n in range(count)],
        "response_latencies": [{"model": "m", "latency": 2.0, "response_id": f"r{n}"} for n in range(count)],
        "token_usages": [
            {"model": "m", "prompt_tokens": 1234 + n, "completion_tokens": 56, "response_id": f"r{n}"}
            for n in range(count)
        ],
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(tmp_path_factory.mktemp("pages"))
    made.session("s")
    parts = {"history": history(COMMANDS).events, "metrics": metrics(len(COMMANDS)), "log": LOG}
    task = "Sums are wrong.\\n\\n```python\\ntotal([0.1, 0.2])\\n```\\nMend `total`."
    made.run("s", "opus", "one", False, patch=CODE, statement=task, **parts)
    made.run("s", "opus", "two", True)
    made.run("s", "opus", "late", False, exit_status="time_limit")
    made.run("s", "opus", "lost", None)
    made.run("s", "opus", "waiting", judged=False)
    made.fault("s", "opus", "down")
    return made


def written(made: Made, instance: str, model: str = "opus") -> Path:
    """The page of a run, as a file beside others."""
    run = Run.at(made.root, "s", model, layout.safe_name(instance))
    path = made.root / "pages" / f"{layout.safe_name(instance)}.html"
    files.write_text(path, trajectory.of_run(run))
    return path


def words(places: Locator) -> list[str]:
    """What is seen at each place, in one line."""
    return [" ".join(seen.split()) for seen in places.all_inner_texts()]


def sign(name: str) -> str:
    """How a page shows what cannot be seen."""
    return f"\u2039{name}\u203a"


def at(page: Page) -> str:
    """Id of what the keys stand on."""
    return page.evaluate("document.querySelector('.now')?.id ?? ''")


def test_a_run_is_read_from_a_file(made, chromium: Browser):
    """Verdict, figures, task, tests with their log, patch with colours, steps with cost, provenance."""
    with page_of(chromium) as page:
        page.goto(written(made, "one").as_uri())
        assert page.title() == "✗ one · opus · s"
        assert words(page.locator(".states .badge")) == ["✗ Unresolved"]
        figures = dict(
            zip(page.locator("dt").all_inner_texts()[:8], page.locator("dd").all_inner_texts(), strict=False)
        )
        assert (
            figures["Cost"] == "$0.0500" and figures["Fail to pass"] == "0/1 pass" and figures["Patch"].startswith("+3")
        )
        assert page.locator("#task pre").first.inner_text() == "total([0.1, 0.2])"
        failed = page.locator("#tests [data-failure]")
        assert failed.count() == 1 and "before failed → after fails" in words(failed)[0]
        assert "E       assert 0.30000000000000004 == 0.3" in failed.inner_text()
        assert page.locator("#patch .file summary .name").all_inner_texts() == ["src/money.py", "notes.txt"]
        assert page.locator("#patch .add").nth(1).inner_text().startswith("+    return sum(round(")
        assert page.locator("#patch .add .tc").inner_text() == "# Cents, for floats do not add up."
        assert page.locator("#patch .file").nth(1).locator(".add").inner_text().strip() == "+<b>bold</b>"
        steps = page.locator(".step")
        assert steps.count() == len(COMMANDS) + 1
        assert "$0.0300" in steps.nth(2).inner_text() and "1,236 → 56" in steps.nth(2).inner_text()
        assert "ran 0.5 s" in steps.nth(2).inner_text() and "exit 1" in steps.nth(2).inner_text()
        assert page.locator("#s2 .output .f5").inner_text() == "src/money.py"
        assert page.locator(".time a").count() == len(COMMANDS) + 1
        picture(page, "trajectory")
        page.locator("#provenance summary").first.click()
        assert "openai/some-1" in page.locator("#provenance .facts").inner_text()


def test_long_outputs_are_folded_and_open_by_a_click(made, chromium: Browser):
    with page_of(chromium) as page:
        page.goto(written(made, "one").as_uri())
        long, short = page.locator("#s3 .output"), page.locator("#s5 .output")
        assert short.locator("pre").is_visible() and not long.locator("pre").is_visible()
        assert words(long.locator("summary")) == ["Output · 61 lines 3 failed, 57 passed"]
        long.locator("summary").click()
        assert long.locator("pre").is_visible()
        page.locator("#unfold", has_text="Fold all outputs").click()
        assert page.locator(".output[open]").count() == 0
        page.locator("#unfold", has_text="Open all outputs").click()
        assert page.locator(".output:not([open])").count() == 0
        page.keyboard.press("o")
        assert page.locator(".output[open]").count() == 0
        page.locator("#patch summary").first.click()
        assert not page.locator("#patch .diff").first.is_visible()


def test_keys_walk_over_steps_and_failures(made, chromium: Browser):
    with page_of(chromium) as page:
        page.goto(written(made, "one").as_uri())
        seen = []
        for key in "fffFsjjjkkkk":
            page.keyboard.press(key)
            seen.append(at(page))
        assert seen == ["t1", "s3", "t1", "s3", "steps", "s1", "s2", "s3", "s2", "s1", "s1", "s1"]
        page.keyboard.press("f")
        assert page.evaluate("document.activeElement.id") == "t1"
        assert 0 <= page.locator("#t1").bounding_box()["y"] < 200
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        picture(page, "trajectory-keys")
        page.keyboard.press("j")
        assert at(page) == "t1"
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()
        for key, place in (("p", "patch"), ("t", "tests")):
            page.keyboard.press(key)
            assert at(page) == place
        page.goto(f"{written(made, 'one').as_uri()}#s4")
        page.wait_for_selector("#s4.now")
        assert at(page) == "s4"


def test_search_finds_what_is_folded_and_across_colours(made, chromium: Browser):
    with page_of(chromium) as page:
        page.goto(written(made, "one").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("test_37.py")
        page.locator("#found", has_text="1 found").wait_for()
        page.keyboard.press("Enter")
        assert page.locator("#found").inner_text() == "1 of 1"
        assert page.locator("#s3 .output").get_attribute("open") is not None
        box = page.evaluate("[...CSS.highlights.get('now')][0].getBoundingClientRect().toJSON()")
        assert box["top"] >= 60 and box["bottom"] <= 900
        picture(page, "trajectory-search")
        page.locator("#find").fill("DEF TOTAL(AMOUNTS)")  # the agent's grep has it in three colours
        page.keyboard.press("Enter")
        assert page.locator("#found").inner_text() == "1 of 2"
        page.keyboard.press("Shift+Enter")
        assert page.locator("#found").inner_text() == "2 of 2"
        page.locator("#find").fill("no such words")
        page.keyboard.press("Enter")
        assert page.locator("#found").inner_text() == "nothing"
        page.keyboard.press("Escape")
        page.keyboard.press("f")
        assert at(page) == "t1"


def test_without_javascript_all_can_be_read(made, chromium: Browser):
    with page_of(chromium, java_script_enabled=False) as page:
        page.goto(written(made, "one").as_uri())
        assert not page.locator(".needs-script").first.is_visible()
        page.locator("#s3 .output summary").click()
        assert "3 failed, 57 passed" in page.locator("#s3 .output pre").inner_text()
        page.locator('.outline a[href="#s3"]').click()
        page.wait_for_url("**#s3")
        picture(page, "trajectory-no-javascript")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_both_lights(made, chromium: Browser, scheme):
    with page_of(chromium, size=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True) as page:
        page.goto(written(made, "one").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        picture(page, f"trajectory-phone-{scheme}")
        page.locator("#steps").scroll_into_view_if_needed()
        page.locator("#s3").scroll_into_view_if_needed()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        picture(page, f"trajectory-phone-steps-{scheme}")


def test_the_button_changes_the_light_and_it_stays(made, chromium: Browser):
    colour = "getComputedStyle(document.body).backgroundColor"
    with page_of(chromium, color_scheme="light") as page:
        page.goto(written(made, "one").as_uri())
        light = page.evaluate(colour)
        page.locator("#theme").click()
        dark = page.evaluate(colour)
        assert dark != light
        picture(page, "trajectory-dark")
        page.reload()
        assert page.evaluate(colour) == dark
        page.keyboard.press("d")
        assert page.evaluate(colour) == light


@pytest.mark.parametrize(
    ("instance", "badges", "said"),
    [
        ("two", ["✓ Resolved"], ""),
        ("late", ["✗ Unresolved", "⏱ Timeout"], "time limit"),
        ("lost", ["⚠ Fault"], "container lost in run_tests: Lost."),
        ("down", ["⚠ Fault"], "provider down in generate: The provider is down. Hint: Wait."),
        ("waiting", ["· No verdict yet"], "the trajectory is there, its tests have not ended"),
        ("nobody", ["· Pending"], "no agent has begun"),
    ],
)
def test_every_state_says_its_name_and_why(made, chromium: Browser, instance, badges, said):
    with page_of(chromium) as page:
        page.goto(written(made, instance).as_uri())
        assert words(page.locator(".states .badge")) == badges
        assert said in words(page.locator("main"))[0]
        picture(page, f"trajectory-{instance}")


def test_a_session_leaves_a_page_of_each_run(finished: Project, chromium: Browser):
    """The demo's, as Snakemake made them: real logs, patches and commands."""
    folder = finished.root / "outputs" / layout.PAGES.format(session="demo")
    runs = [(model, name) for model in ("fixer", "stumbler") for name in finished.ids]
    with page_of(chromium) as page:
        for model, name in runs:
            outcome = finished.outcome(model, name)
            page.goto((folder / model / f"{layout.safe_name(name)}.html").as_uri())
            assert page.locator("h1").inner_text() == name
            verdict = outcome["verdict"].replace("_", " ").capitalize()
            assert words(page.locator(".states .badge").first)[0].endswith(verdict)
            passed = outcome["fail_to_pass_passed"] + outcome["pass_to_pass_passed"]
            total = outcome["fail_to_pass_total"] + outcome["pass_to_pass_total"]
            assert page.locator("#tests .passed tbody tr").count() == passed
            assert page.locator("#tests .test").count() == total - passed
            assert page.locator("#patch .file").count() == bool(outcome["patch_bytes"])
            costs = page.locator(".step header [title^=Cost]")
            assert costs.count() == outcome["steps"]
            for part in ("f", "p", "s"):
                page.keyboard.press(part)
                picture(page, f"demo-{model}-{layout.safe_name(name)}-{part}")


EVIL = (
    "</pre></script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<!-- {{ 7*7 }} <style>*{display:none}</style> \x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[8mhidden\x1b[0m "
    "\u202egnp.exe\u2066 \x00\u200b\udce9\ud83d \U000e0041\ufeff & &amp; \"'><a href=javascript:alert(1)>x</a>\r\nnext"
)
ID = "a\"b<i>'&\u202e"


def test_hostile_text_stays_text(tmp_path, chromium: Browser):
    """In every place that an agent, a row, a file name or a model's name can fill."""
    made = Made(tmp_path)
    made.session("s")
    did = History()
    cause = did.run(EVIL, EVIL)
    did.ran(cause, EVIL, EVIL, exit_code=1, workdir=EVIL)
    did.act("edit", {"path": EVIL, "new_str": EVIL, "command": EVIL}, EVIL)
    did.observe(None, "error", EVIL, {})
    code = EVIL.replace("\ud83d", "")  # which no file of bytes can hold
    log = f"{code}\nt::bug {code}"
    evil_patch = f"diff --git a/{EVIL[:40]} b/x\n--- a/x.html\n+++ b/x.html\n@@ -0,0 +1 @@ {EVIL[:60]}\n+{code}\n"
    made.run("s", "opus", ID, False, patch=evil_patch, history=did.events, log=log, statement=EVIL)
    outcome_file = made.place(layout.EVALUATION, "s", "opus", ID) / "outcome.json"
    flags = [{"kind": "network", "count": 2, "evidence": [f"event 0: {EVIL}", EVIL]}]
    outcome = files.read_json(outcome_file) | {"message": EVIL, "warnings": [EVIL], "flaky": [EVIL], "flags": flags}
    files.write_json(outcome_file, outcome)
    path = written(made, ID)
    html = path.read_text(encoding="utf-8")
    assert not set(html) & set("\x00\x1b\u202e\u2066\u200b\ufeff\U000e0041")
    with page_of(chromium) as page:
        page.goto(path.as_uri())
        assert page.title().startswith("✗ a\"b<i>'&\u2039U+202E\u203a")
        assert page.evaluate("[...document.querySelectorAll('script')].length") == 3
        assert (
            page.locator("img, a[href^=javascript], i:not(.outline i, .legend i), style").count() == 3
        )  # our style sheets
        thought = page.locator("#s1 .thought").inner_text()
        assert "</script><script>document.title='owned'</script>" in thought and "{{ 7*7 }}" in thought
        assert (
            "redhidden" in thought
            and "\u2039U+202E\u203agnp.exe\u2039U+2066\u203a" in thought
            and "\u2039ESC\u203a[2J" in thought
        )
        assert "\u2039U+DCE9\u203a\u2039U+D83D\u203a" in thought and "\u2039U+E0041\u203a" in thought
        assert page.locator('.note a[href="#s1"]').inner_text() == "step 1"
        page.keyboard.press("o")
        page.locator("#find").fill("gnp.exe")
        page.keyboard.press("Enter")
        assert page.locator("#found").inner_text().startswith("1 of ")
        picture(page, "trajectory-hostile")


def test_the_policy_stops_what_would_get_out(made, chromium: Browser):
    """Should a template ever forget to escape: an inline script, a handler or a request would still do nothing."""
    path = written(made, "two")
    own = "document.title='owned'"
    bad = f"<script>{own}</script><img src='https://example.org/x.png' onerror=\"{own}\">"
    path.write_text(path.read_text().replace("<h1>", f"{bad}<h1>", 1))
    said: list[str] = []
    context = chromium.new_context()
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.goto(path.as_uri())
    assert page.title() == "✓ two · opus · s"
    assert sum("Content Security Policy" in words for words in said) >= 2
    context.close()


TIMES = """() => new Promise((done) => new PerformanceObserver((list) => {
    const [page] = performance.getEntriesByType("navigation");
    const paint = list.getEntriesByName("first-contentful-paint")[0];
    if (paint) done({ ready: page.domContentLoadedEventEnd, load: page.loadEventEnd, paint: paint.startTime });
}).observe({ type: "paint", buffered: true }))"""


def opened(chromium: Browser, path: Path) -> dict[str, float]:
    """Milliseconds until a page was painted, ready and loaded, and of the page's own thread for all of it."""
    with page_of(chromium) as page:
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(path.as_uri(), wait_until="load")
        times = page.evaluate(TIMES)
        spent = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
        return times | {"thread": 1000 * spent["TaskDuration"]}


def test_a_long_trajectory_opens_at_once(tmp_path, chromium: Browser):
    """3 MB of what an agent did: read, laid out and painted."""
    made = Made(tmp_path)
    made.session("s")
    line = "tests/test_money.py::test_total[{n}] \x1b[32mPASSED\x1b[0m   [ {n}%] in 0.01 s\n"
    commands = [
        (f"python -m pytest -q tests/test_{n}.py\n" * 3, "".join(line.format(n=n) for n in range(150)), n % 7 == 3)
        for n in range(300)
    ]
    made.run("s", "opus", "long", False, history=history(commands).events, metrics=metrics(300), patch=CODE)
    place = made.place(layout.INSTANCE, "s", "opus", "long") / "output.jsonl"
    assert place.stat().st_size > 3_000_000
    path = written(made, "long")
    figures = [opened(chromium, path) for _ in range(3)]
    best = {name: min(figure[name] for figure in figures) for name in figures[0]}
    print(f"page {path.stat().st_size / 1e6:.1f} MB, ms: { {name: round(value) for name, value in best.items()} }")
    assert best["thread"] < 3000  # of the processor, half a second of a quiet one: the clock tells what others do
    with page_of(chromium) as page:
        page.goto(path.as_uri())
        page.locator("#find").fill("test_total[99]")
        page.keyboard.press("Enter")
        page.locator("#found", has_text="1 of 300").wait_for()
        page.keyboard.press("Escape")
        page.keyboard.press("s")
        for _ in range(20):
            page.keyboard.press("j")
        assert at(page) == "s20"

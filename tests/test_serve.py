"""`trajmake serve`: the picture in the browser, live, for whoever has the token and nobody else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import PHONE, page_of, picture
from made_sessions import Made

from trajmake import files
from trajmake.sessions import layout, locks

ODD = "owner/repo pr:7"


@pytest.fixture
def made(tmp_path) -> Iterator[Made]:
    """A session that goes on: every state, two runs at work, a driver that lives."""
    made = Made(tmp_path)
    made.session("s", usd=3.2)
    names = [f"owner__repo-{number:03}" for number in range(60)] + [ODD]
    for place, name in enumerate(names[:40]):
        for model in ("opus", "gpt-mini"):
            resolved = (place * 7 + len(model)) % 5 > 1
            status = "time_limit" if place % 17 == 3 else "submitted"
            made.run("s", model, name, resolved, exit_status=status, seconds=60 + 7 * place, steps=4 + place % 9)
    made.run("s", "opus", ODD, True, commands=[("cat value", "0"), ("echo 1 > value", "")])
    made.fault("s", "gpt-mini", names[41])
    made.run("s", "opus", names[42], judged=False)
    made.run("s", "opus", names[43], False, exit_status="no_prediction", patch="")
    made.drive("s", ["opus", "gpt-mini"], [layout.safe_name(name) for name in names], 5.0)
    load = {"name": "0 NVIDIA A100-SXM4-80GB", "percent": 87.0, "memory_mib": 71234.0, "total_mib": 81920.0}
    idle = {"name": "1 NVIDIA A100-SXM4-80GB", "percent": None, "memory_mib": None, "total_mib": None}
    seen = {"at": time.time() + 3600, "now": [load, idle], "gpus": {}}
    files.write_json(made.root / layout.GPUS.format(session="s"), seen)
    with contextlib.ExitStack() as going:
        going.enter_context(locks.claim(made.root / layout.LOCK.format(session="s")))
        for model, name in (("opus", names[50]), ("gpt-mini", names[44])):
            going.enter_context(made.working("s", model, name))
            made.step("s", model, name, 1, "grep -rn 'def parse' src | head")
        yield made


@contextlib.contextmanager
def served(made: Made, *arguments: str, warned: bool = False) -> Iterator[str]:
    """The address that a real process prints; Ctrl-C ends it quietly."""
    command = [sys.executable, "-c", "from trajmake.cli import main; main()", "serve", "--interval", "0.2"]
    process = subprocess.Popen(
        [*command, "--configfile", str(made.configfile), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield line.split()[-1]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()  # nothing, where it has ended
    assert (process.returncode, out, "other hosts can reach this" in err) == (0, "", warned)
    assert warned or err == ""


def asked(address: str, **headers: str) -> tuple[int, dict[str, str], str]:
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def test_the_picture_is_live(made, chromium):
    """What files say is seen at once; nobody reloads anything."""
    with served(made) as address, page_of(chromium) as page:
        page.goto(address)
        page.wait_for_selector(".cells a.s-running")
        assert page.locator(".model").count() == 2
        assert page.locator(".cells >> nth=0 >> a").count() == 61
        assert page.locator(".model h3").all_inner_texts() == ["opus", "gpt-mini"]
        states = {"resolved", "unresolved", "timeout", "fault", "missing", "running", "testing", "pending"}
        assert {name for name in states if page.locator(f".cells a.s-{name}").count()} == states
        assert page.inner_text("#f-spent") == "3.20 of 5 USD" and page.inner_text("#phase") == "Running"
        ended = int(page.inner_text("#f-ended").split()[0])
        row = page.locator("#t-running tr", has_text="owner__repo-050")
        assert "grep -rn 'def parse'" in row.inner_text()
        assert page.locator("#t-gpus > div").all_inner_texts() == [
            "0 NVIDIA A100-SXM4-80GB\n87%\n69.6 of 80.0 GiB",
            "1 NVIDIA A100-SXM4-80GB\n?",
        ]
        picture(page, "serve-picture", full_page=True)

        made.step("s", "opus", "owner__repo-050", 2, "python -m pytest <b>-x</b> \x1b[31m")
        row.locator("td >> nth=4", has_text="pytest <b>-x</b> \\x1b[31m").wait_for()
        assert row.locator("td >> nth=3").inner_text() == "2"
        made.run("s", "opus", "owner__repo-045", True, seconds=4000)
        page.locator("#f-ended", has_text=re.compile(rf"^{ended + 1} ")).wait_for()
        assert page.locator("#t-latest tr >> nth=0").inner_text().split()[:2] == ["opus", "owner__repo-045"]
        assert page.title().startswith(f"({ended + 1}/122) s")

        page.locator("#legend button", has_text="machine fault").click()
        assert page.locator(".cells a:not(.out)").count() == 1
        page.locator("#legend button", has_text="machine fault").click()
        page.keyboard.press("/")
        page.keyboard.type("repo-04")
        assert page.locator(".cells a:not(.out)").count() == 20
        page.locator(".cells a.s-timeout >> nth=0").hover()
        assert page.inner_text("#hover").endswith("timeout")


def test_behind_a_cell_is_the_run_as_it_goes(made, chromium):
    """Steps are appended while they arrive; what the reader folded or opened stays, and so does the place."""
    long = "\n".join(f"line {number}" for number in range(60))
    with served(made) as address, page_of(chromium) as page:
        page.goto(address)
        page.locator("#t-running a", has_text="owner__repo-050").click()
        page.wait_for_selector("#s1")
        assert "Running" in page.inner_text(".title")
        assert page.locator("article.step").count() == 1
        for number in range(2, 9):
            made.step("s", "opus", "owner__repo-050", number, f"sed -n {number},80p src/module.py", long)
        page.wait_for_selector("#s8")
        assert "line 59" in page.locator("#s3 pre.block").text_content()
        page.locator("#s2 details.output summary").click()
        assert page.locator("#s2 details.output[open]").count() == 1
        page.locator("#s3").scroll_into_view_if_needed()
        page.evaluate("document.getElementById('s3').scrollIntoView()")
        top = page.evaluate("document.getElementById('s3').getBoundingClientRect().top")
        page.evaluate("window.first = document.getElementById('s2')")
        made.step("s", "opus", "owner__repo-050", 9, "git diff", long)
        page.wait_for_selector("#s9")
        assert page.evaluate("window.first === document.getElementById('s2')")
        assert page.locator("#s2 details.output[open]").count() == 1
        assert abs(page.evaluate("document.getElementById('s3').getBoundingClientRect().top") - top) < 2
        assert page.locator(".walk li").count() == 9
        picture(page, "serve-run")
        page.locator(".crumbs a").click()
        page.wait_for_selector(".cells a.s-running")


def test_the_page_of_a_run_that_ends_gets_its_verdict(made, chromium):
    with served(made) as address, page_of(chromium, color_scheme="dark") as page:
        page.goto(f"{address}opus/owner__repo-050.html")
        page.wait_for_selector("#s1")
        made.run("s", "opus", "owner__repo-050", False, commands=[("make test", "boom"), ("git diff", "+1")])
        page.wait_for_selector(".title .badge.bad")
        page.wait_for_selector("article.step >> nth=1")
        assert page.locator("article.step").count() == 2
        assert "t::bug" in page.inner_text("#tests")
        picture(page, "serve-run-ended", full_page=True)


def test_names_with_everything_in_them_lead_to_their_run(made, chromium):
    with served(made) as address, page_of(chromium, size=PHONE, color_scheme="dark") as page:
        page.goto(address)
        page.wait_for_selector(".cells a.s-running")
        picture(page, "serve-phone", full_page=True)
        page.locator(".cells >> nth=0 >> a >> nth=60").click()
        page.wait_for_selector("#s1")
        assert page.inner_text("h1") == ODD


def test_a_large_session_stays_usable(tmp_path, chromium):
    """2,300 x 4 cells are drawn within seconds, and a change costs no redrawing."""
    made = Made(tmp_path)
    made.session("s")
    models = ["opus", "sonnet", "gpt", "mini"]
    made.drive("s", models, [f"owner__repo-{number:04}" for number in range(2300)])
    for number in range(0, 2300, 30):
        made.run("s", "opus", f"owner__repo-{number:04}", number % 4 > 0)
    with served(made) as address, page_of(chromium) as page:
        page.goto(address)
        page.wait_for_selector(".cells a.s-resolved")
        assert page.locator(".cells a").count() == 9200
        took = page.evaluate("performance.getEntriesByType('paint')[0].startTime")
        assert took < 20_000
        page.evaluate("window.first = document.querySelector('.cells a')")
        made.run("s", "mini", "owner__repo-0001", False)
        page.wait_for_selector(".cells a.s-unresolved[aria-label^='owner__repo-0001']")
        assert page.evaluate("window.first === document.querySelector('.cells a')")
        picture(page, "serve-large", full_page=True)


def test_who_has_no_token_sees_nothing(made):
    with served(made) as address:
        origin, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/([\w-]{43})/", address).groups()
        status, headers, text = asked(address)
        assert status == 200 and "live.js" not in text and token not in text
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert headers["Referrer-Policy"] == "no-referrer" and headers["X-Content-Type-Options"] == "nosniff"
        wrong = ("a" if token[0] != "a" else "b") + token[1:]
        refused = [f"{origin}/", f"{origin}/{wrong}/", f"{origin}/{wrong}/events", f"{origin}/{token[:-1]}/"]
        refused += [f"{origin}/{wrong}/opus/owner__repo-001.html", f"{origin}/%ff/", f"{origin}/nothing/at/all/here"]
        for place in refused:
            assert asked(place)[0] == 403, place
        assert asked(f"{address}opus/nobody.html")[0] == 404
        assert asked(f"{address}opus/..%2f..%2f..%2fetc%2fpasswd.html")[0] == 404
        assert asked(f"{address}nothing/at/all/here")[0] in (403, 404)


def test_a_name_that_resolves_to_this_address_is_refused(made):
    """DNS rebinding: a page of evil.example makes the browser send its requests here."""
    with served(made) as address:
        port = address.split(":")[2].split("/")[0]
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", ""):
            assert asked(address, Host=host)[0] == 403, host
        for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
            assert asked(address, Host=host)[0] == 200, host


def test_others_can_look_only_where_that_is_asked_for(made):
    with served(made) as address:
        assert listening(address) == "127.0.0.1"
    with served(made, "--host", "0.0.0.0", warned=True) as address:
        assert listening(address) == "0.0.0.0" and asked(address)[0] == 200


def listening(address: str) -> str:
    """The local address that the kernel has for the port of this one."""
    port = int(address.split(":")[2].split("/")[0])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (found,) = {row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    return ".".join(map(str, bytes.fromhex(found)[::-1]))


def test_ctrl_c_is_quiet_while_others_look_on(made):
    """Each viewer has an open request, to which it gets no more answers."""
    with served(made) as address:
        pages = [*(["events"] * 3), "opus/owner__repo-050.events"]
        streams = [urllib.request.urlopen(address + page, timeout=20) for page in pages]
        assert all(stream.readline().startswith(b"data: ") for stream in streams)
    for stream in streams:
        stream.close()


def test_a_port_that_is_taken_is_said(made):
    with served(made) as address:
        port = address.split(":")[2].split("/")[0]
        command = [sys.executable, "-c", "from trajmake.cli import main; main()", "serve", "--port", port]
        done = subprocess.run([*command, "--configfile", str(made.configfile)], capture_output=True, text=True)
    assert done.returncode != 0 and f"Cannot listen at 127.0.0.1:{port}" in done.stderr and "Hint:" in done.stderr


def test_several_viewers_share_one_poller(made):
    """The session's files are read once for all: opens of a status file do not grow with viewers."""
    with served(made) as address:
        streams = [urllib.request.urlopen(f"{address}events", timeout=20) for _ in range(3)]
        first = [json.loads(stream.readline().decode().removeprefix("data: ")) for stream in streams]
        assert first[0]["instances"] == first[2]["instances"] and first[0]["total"] == 122
        made.run("s", "opus", "owner__repo-046", True)
        for stream in streams:
            seen = [[0, 46, 9]]
            while seen[-1] != [0, 46, 0]:  # it may be seen while its tests run
                line = stream.readline().decode()
                if line.startswith("data: "):
                    news = json.loads(line[6:])
                    assert "cells" not in news
                    seen += news["changed"]
            assert {(model, number) for model, number, _ in seen} == {(0, 46)}

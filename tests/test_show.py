"""`trajmake show`: one run, out of the files that its stages left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_sessions import PATCH, Made

from trajmake import files
from trajmake.agents.history import History
from trajmake.errors import ConfigError
from trajmake.reports import steps as stepping
from trajmake.sessions import layout

ODD = "owner/repo pr:7"


@pytest.fixture
def made(tmp_path) -> Made:
    made = Made(tmp_path)
    made.session("s")
    made.run("s", "opus", "one", False, commands=[(f"cat {n}", f"text {n}\n" * n) for n in range(1, 21)])
    made.run("s", "opus", ODD, True)
    made.fault("s", "gpt", "one")
    made.run("s", "gold", "one")
    files.write_text(made.root / "logs/s/opus/instance_one.log", "log")
    files.write_text(made.place(layout.JOURNAL, "s", "opus", "one") / "0001.json", "{}")
    return made


def shown(made: Made, *arguments: str) -> str:
    done = made.call("show", *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_everything_about_a_run_is_in_one_place(made):
    run = json.loads(shown(made, "opus", "one", "--json"))
    assert run["session"] == "s" and run["patch"] == PATCH
    place = made.place(layout.EVALUATION, "s", "opus", "one")
    assert run["outcome"] == files.read_json(place / "outcome.json")
    assert {kind: names for kind, names in run["failing"].items() if names} == {"FAIL_TO_PASS": ["t::bug"]}
    assert [step["number"] for step in run["steps"]] == [16, 17, 18, 19, 20]
    last = {"number": 20, "action": "run", "thought": "I look.", "command": "cat 20", "output": "text 20\n" * 20}
    assert run["steps"][-1].items() >= (last | {"exit_code": 0, "notes": [], "cost_usd": None}).items()
    assert all(Path(path).exists() for path in run["files"])
    names = {Path(path).name for path in run["files"]}
    assert names == {"instance_one.log", "opus_one.status", "test_output.txt", "output.jsonl"} | {
        "one",
        "report.json",
        "outcome.json",
    }


def test_people_see_the_end_of_what_is_long(made):
    text = shown(made, "opus", "one", "--steps", "1")
    assert text.startswith("opus on one, session s") and "+1\n" in text and "FAIL_TO_PASS: 1 fail\n  t::bug\n" in text
    assert "Step 20: run\nI look.\n$ cat 20\n(8 lines before, --json has them)\n" in text and "cat 19" not in text
    assert text.count("text 20") == 12 and f"{made.root}/logs/s/opus/instance_one.log\n" in text
    assert "Step " not in shown(made, "opus", "one", "--steps", "0")


def test_unfinished_and_failed_runs_say_why(made):
    assert "The provider is down." in shown(made, "gpt", "one") and "No patch." in shown(made, "gpt", "one")
    made.run("s", "gpt", "two", judged=False)
    run = json.loads(shown(made, "gpt", "two", "--json"))
    assert run["outcome"]["unfinished"].startswith("run_tests: ") and run["failing"] == {} and run["patch"] == PATCH
    made.place(layout.INSTANCE, "s", "gpt", "three").mkdir()
    run = json.loads(shown(made, "gpt", "three", "--json"))
    assert run["outcome"]["status"] == "PENDING" and run["steps"] == run["files"] == []
    assert "no agent has begun" in shown(made, "gpt", "three")


def test_any_id_can_be_shown_and_a_session_chosen(made):
    made.session("t")
    made.run("t", "opus", ODD, False)
    assert json.loads(shown(made, "opus", ODD, "--json", "--session", "s"))["outcome"]["resolved"] is True
    assert json.loads(shown(made, "opus", ODD, "--json"))["outcome"]["resolved"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ops", "one"], r"no model ops.\nHint: Did you mean opus\?"),
        (["opus", "repo"], rf"no run on repo in session s.\nHint: Did you mean {ODD}\?"),
        (["gpt", ODD], r"gpt has no run on .*\nHint: Instances there: one\."),
        (["opus", "one", "--session", "x"], r"no session x.\nHint: Sessions there: s\."),
        (["../s/opus", "one"], "no model"),
    ],
)
def test_an_unknown_name_names_near_ones(made, arguments, message):
    with pytest.raises(ConfigError, match=message):
        raise made.call("show", *arguments).exception


def test_what_an_agent_wrote_does_not_speak_to_the_terminal(made):
    hostile = "\x1b]0;title\x07\x9b2J\u202eevil\r[bold]x[/bold]\udce9"
    made.run("s", "opus", "evil", False, patch=f"+{hostile}\n", commands=[(f"echo {hostile}", hostile)])
    text = shown(made, "opus", "evil")
    assert not set(text) & set("\x1b\x07\x9b\u202e\r\udce9")
    assert text.count("\\x1b]0;title\\x07\\x9b2J\\u202eevil\\r[bold]x[/bold]\\udce9") == 3
    assert json.loads(shown(made, "opus", "evil", "--json"))["steps"][0]["output"] == hostile


def test_steps_of_every_kind_are_told():
    history = History()
    history.system("You are")
    history.message("user", "Mend it.")
    history.act("think", {"thought": "Hm."}, "")
    edit = history.act("edit", {"command": "str_replace", "path": "/a", "thought": "So."}, "str_replace /a")
    lost = history.run("sleep 1", "Wait.")
    history.observe(edit, "edit", "edited", {})
    history.message("agent", "Well.")
    history.finish("Done.")
    history.stop("time_limit")
    steps = stepping.of_history(history.events)
    assert steps[-1]["notes"] == ["time_limit"]
    assert lost and [(s["action"], s["thought"], s["command"], s["output"]) for s in steps] == [
        ("think", "Hm.", "", ""),
        ("edit", "So.", "str_replace /a", "edited"),
        ("run", "Wait.", "sleep 1", ""),
        ("message", "Well.", "", ""),
        ("finish", "Done.", "", ""),
    ]

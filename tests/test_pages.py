"""What pages are made of, without a browser: text, patches, steps, parts of logs, the stage."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import pytest
import yaml
from made_sessions import PATCH, Made

from trajmake import files, pages
from trajmake.agents.history import History
from trajmake.agents.openhands.events import to_history
from trajmake.pages import numbers, patch, text, timeline
from trajmake.reports import steps as stepping
from trajmake.reports.log_parts import LogParts
from trajmake.sessions import layout
from trajmake.stages.pages import trajectory_pages


def test_terminal_colours_become_classes_and_nothing_else_is_obeyed():
    said = text.terminal(
        "\x1b[1;31mA\x1b[22mB\x1b[0mC \x1b[38;5;196mD\x1b[48;2;0;0;250mE\x1b[39;49mF \x1b[31;41mG\x1b[m"
    )
    assert said == (
        '<span class="bold f1">A</span><span class="f1">B</span>C <span class="f1">D</span>'
        '<span class="f1 b4">E</span>F <span class="f1">G</span>'  # red on red would hide it
    )
    assert text.terminal("\x1b[8mhidden\x1b[28m") == "hidden"
    assert "\u2039ESC\u203a[2J" in text.terminal(
        "\x1b[2J"
    ) and "\u2039ESC\u203a]8;;http://x\u2039BEL\u203a" in text.terminal("\x1b]8;;http://x\x07")
    assert text.terminal("50%\r100%\r\r\nend").striptags() == "50%\u2039CR\u203a 100% end"
    assert text.terminal("\x1b") == '<span class="unseen" title="U+001B control">\u2039ESC\u203a</span>'


@pytest.mark.parametrize(
    "char", "\x00\x07\x7f\x9b\u00a0\u00ad\u200b\u200e\u202e\u2066\u2800\u3164\ufe01\ufeff\U000e0041\ud800\udfff"
)
def test_what_cannot_be_seen_is_written_out(char):
    for made in (text.plain(f"a{char}b"), str(text.marked(f"a{char}b")), str(text.terminal(f"a{char}b"))):
        assert char not in made
        made.encode()
    assert f"U+{ord(char):04X}" in text.marked(char)


def test_what_can_be_seen_stays():
    words = "naïve 日本 العربية ✓ ⚠️ 👍 a\tb\nc"
    assert text.plain(words) == words == text.marked(words).unescape() == text.terminal(words).unescape()
    assert text.plain(3) == 3 and text.marked("<&>\"'") == "&lt;&amp;&gt;&#34;&#39;"


def test_what_is_too_long_says_how_much_is_left_out():
    line = text.terminal("x" * 10_000 + "\nshort").striptags()
    assert "[… 6,001 characters left out …]" in line and line.endswith("short") and len(line) < 4_100
    whole = text.terminal("line\n" * 100_000).striptags()
    assert "[… 380,000 characters left out …]" in whole


def test_templates_escape_and_know_their_values():
    made = pages.environment().from_string("<p title='{{ x }}'>{{ x }}</p>{{ n }}")
    assert (
        made.render(x="<\u202e'>", n=1)
        == "<p title='&lt;\u2039U+202E\u203a&#39;&gt;'>&lt;\u2039U+202E\u203a&#39;&gt;</p>1"
    )
    with pytest.raises(jinja2.UndefinedError):
        made.render(x="")


def test_a_patch_by_file():
    diff = (
        "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -3,3 +3,3 @@ def f():\n x = 'a'\n--- y\n+++ y\n z = 1\n"
        "diff --git a/old b/new\nsimilarity index 100%\nrename from old\nrename to new\n"
        "diff --git a/b.bin b/b.bin\nnew file mode 100644\nindex 0..1\nBinary files /dev/null and b/b.bin differ\n"
    )
    code, renamed, binary = patch.files_of(diff)
    assert (code.path, code.added, code.removed) == ("a.py", 1, 1)
    assert [(line.kind, line.old, line.new) for line in code.lines] == [
        ("hunk", 0, 0),
        ("same", 3, 3),
        ("del", 4, 0),
        ("add", 0, 4),
        ("same", 5, 5),
    ]
    assert code.lines[1].html == 'x = <span class="ts">&#39;a&#39;</span>'
    assert code.lines[2].html.striptags() == "-- y" and code.lines[3].html.striptags() == "++ y"
    assert renamed.path == "old → new" and "rename from old" in renamed.note
    assert binary.note == "new file mode 100644, Binary files /dev/null and b/b.bin differ"
    assert patch.files_of("") == [] and patch.files_of("no diff <b>")[0].lines[0].html == "no diff &lt;b&gt;"


def test_a_huge_patch_is_cut_and_says_so():
    body = "".join(f"+{n}\n" for n in range(9_000))
    (made,) = patch.files_of(f"diff --git a/a.py b/a.py\n--- /dev/null\n+++ b/a.py\n@@ -0,0 +1,9000 @@\n{body}")
    assert made.added == 9_000 and len(made.lines) == patch.MOST_LINES
    assert made.left_out == 9_001 - patch.MOST_LINES
    (long,) = patch.files_of(f"--- a/x.py\n+++ b/x.py\n@@ -0,0 +1 @@\n+{'y' * 9_000}\r\n")
    assert "[… 5,001 characters left out …]" in long.lines[1].html


def answers(*ids: str) -> dict:
    return {
        "costs": [{"cost": 0.1 * (n + 1)} for n in range(len(ids))],
        "response_latencies": [{"latency": n + 1.0} for n in range(len(ids))],
        "token_usages": [
            {"prompt_tokens": 10 * n, "completion_tokens": n, "response_id": i} for n, i in enumerate(ids)
        ],
    }


def test_a_steps_cost_is_that_of_its_answer():
    """Two commands of one answer: the first has it; an answer of a later step is not an earlier one's."""
    made = History()
    for response in ("a", "a", "b", ""):
        made.ran(made.run("ls", "", at=1.0, response=response), "ls", "", exit_code=2, workdir="/", at=3.5)
    steps = stepping.of_history(made.events, answers("a", "b"))
    assert [step["cost_usd"] for step in steps] == [0.1, None, 0.2, None]
    assert [step["latency"] for step in steps] == [1.0, None, 2.0, None]
    assert timeline.seconds(steps[0]) == 2.5 and timeline.failed(steps[0])


def test_openhands_events_name_the_answer_too():
    """As the SDK writes them: two actions of one answer, each observed after both."""
    common = {"kind": "ActionEvent", "tool_name": "terminal", "action": {"command": "ls"}}
    acts = [common | {"id": f"e{n}", "llm_response_id": response} for n, response in enumerate("aab")]
    events = to_history([(1.0, event) for event in acts], "/testbed").events
    assert [step["cost_usd"] for step in stepping.of_history(events, answers("a", "b"))] == [0.1, None, 0.2]


def test_older_histories_and_openhands_own_have_costs_too():
    made = History()
    made.run("ls")
    made.run("pwd")
    made.finish("Done.")
    assert [s["cost_usd"] for s in stepping.of_history(made.events, answers("a", "b"))] == [0.1, 0.2, None]
    assert [s["cost_usd"] for s in stepping.of_history(made.events, answers("a"))] == [None] * 3
    for event, response in zip(made.events, "ba", strict=False):
        event["tool_call_metadata"] = {"model_response": {"id": response}}
    assert [s["cost_usd"] for s in stepping.of_history(made.events, answers("a", "b"))] == [0.2, 0.1, None]


def test_a_run_without_a_trajectory_is_read_from_its_journal(tmp_path):
    call = {"id": "c1", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
    task = [{"role": "system", "content": "You are"}, {"role": "user", "content": [{"type": "text", "text": "Mend."}]}]
    first = {"role": "assistant", "content": "I look.", "tool_calls": [call]}
    seen = {"role": "tool", "tool_call_id": "c1", "content": "src"}
    second = {
        "role": "assistant",
        "content": "Two.",
        "tool_calls": [{"id": "x", "function": {"name": "edit", "arguments": "{"}}],
    }
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    common = {"usage": usage, "cost": 0.5, "latency": 2.0}
    files.write_json(tmp_path / "0001.json", {"messages": task, "message": first, "timestamp": 100.0, **common})
    files.write_json(
        tmp_path / "0002.json", {"messages": [*task, first, seen], "message": second, "timestamp": 107.0, **common}
    )
    files.write_text(tmp_path / "0003.json", "half a")
    one, two = stepping.of_journal(tmp_path)
    assert (one["action"], one["thought"], one["command"], one["output"]) == ("run", "I look.", "ls", "src")
    assert (one["cost_usd"], one["prompt_tokens"], timeline.seconds(one)) == (0.5, 7, 5.0)
    assert (two["action"], two["thought"], two["arguments"]) == ("edit", "Two.", {"arguments": "{"})
    assert stepping.first_request(tmp_path / "0001.json") == "Mend."
    assert stepping.of_journal(tmp_path / "none") == [] and stepping.first_request(tmp_path / "0003.json") == ""


PYTEST = """\
______________________________ Total.test_cents[1] ______________________________
    def test_cents
E   assert 1 == 2
______________________________ Total.test_cents[10] _____________________________
E   assert 10 == 11
=========================== short test summary info ============================
PASSED tests/test_money.py::test_ok
FAILED tests/test_money.py::Total::test_cents[1] - assert 1 == 2
"""
UNITTEST = """\
test_a (m.T.test_a) ... ok
test_b (m.T.test_b) ... FAIL

======================================================================
FAIL: test_b (m.T.test_b)
----------------------------------------------------------------------
AssertionError: 1 != 2

----------------------------------------------------------------------
Ran 2 tests in 0.001s
"""
GO = """\
=== RUN   TestSum
    sum_test.go:9: got 1
--- FAIL: TestSum (0.00s)
=== RUN   TestSumOther
--- PASS: TestSumOther (0.00s)
"""


@pytest.mark.parametrize(
    ("log", "test", "holds", "lacks"),
    [
        (PYTEST, "tests/test_money.py::Total::test_cents[1]", "assert 1 == 2", "10 == 11"),
        (PYTEST, "tests/test_money.py::Total::test_cents[10]", "assert 10 == 11", "1 == 2"),
        ("FAILED a.py::t[1 - 2] - no\nFAILED a.py::t[1]\n", "a.py::t[1]", "FAILED a.py::t[1]", "no"),
        (UNITTEST, "m.T.test_b", "AssertionError: 1 != 2", "Ran 2"),
        (UNITTEST, "test_b (m.T)", "AssertionError: 1 != 2", "test_a"),
        (GO, "example.org/sum/TestSum", "got 1", "TestSumOther"),
        ("  ● money \u203a adds up\n    expected 1\n  ● money \u203a other\n", "money adds up", "expected 1", "other"),
        ("x\n1) Foo#test_bar [foo.rb:3]:\nExpected: 1\ny", "Foo#test_bar", "Expected: 1", "none"),
    ],
)
def test_a_failed_tests_part_of_the_log(log, test, holds, lacks):
    part = LogParts(log).of_failed(test)
    assert holds in part and lacks not in part


def test_other_parts_of_a_log():
    assert LogParts(PYTEST).of_passed("tests/test_money.py::test_ok") == "PASSED tests/test_money.py::test_ok"
    assert LogParts(UNITTEST).of_passed("m.T.test_a") == "test_a (m.T.test_a) ... ok"
    assert LogParts(GO).of_passed("example.org/sum/TestSumOther") == "--- PASS: TestSumOther (0.00s)"
    assert LogParts(PYTEST).of_failed("tests/test_money.py::test_other") == ""
    long = "______ test_x ______\n" + "E   no\n" * 900
    assert "[… 781 lines left out …]" in LogParts(long).of_failed("a.py::test_x")


def test_numbers_are_short():
    assert [numbers.usd(n) for n in (None, 0, 0.00567, 1.5, 1234.5)] == [
        "\u2013",
        "$0.00",
        "$0.0057",
        "$1.50",
        "$1,234",
    ]
    assert [numbers.tokens(n) for n in (None, 940, 12_345, 4_567_890)] == ["\u2013", "940", "12.3k", "4.57M"]
    assert [numbers.duration(n) for n in (0.42, 12, 185, 7800)] == ["0.4 s", "12 s", "3 min 05 s", "2 h 10 min"]
    assert [numbers.percent(n) for n in (None, 0, 63.24)] == ["\u2013", "0.0 %", "63.2 %"]
    assert [numbers.count(n) for n in (None, 0, 1204, 4.5)] == ["\u2013", "0", "1,204", "4.5"]
    assert [numbers.moment(n) for n in (None, 0)] == ["\u2013", "1970-01-01 00:00"]


def stage(made: Made, model: str, names: list[str], threads: int) -> dict[str, bytes]:
    config = yaml.safe_load(made.configfile.read_text()) | {"session": "s"}
    folder = made.root / layout.MODEL_PAGES.format(session="s", model=model)
    log = made.root / "logs" / "pages.log"
    where = [made.root / layout.EVALUATION.format(session="s", model=model, instance_id=name) for name in names]
    names = [str(path / "outcome.json") for path in where]
    trajectory_pages(config, model=model, outcomes=names, folder=str(folder), threads=threads, log=str(log))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_stage_makes_the_same_pages_on_any_number_of_processes(tmp_path):
    made = Made(tmp_path)
    made.session("s")
    names = [f"run {n}" for n in range(20)]
    for number, name in enumerate(names):
        made.run("s", "opus", name, bool(number % 2), commands=[("ls", "a\n")], patch=PATCH)
    safe = [layout.safe_name(name) for name in names]
    alone = stage(made, "opus", safe, 1)
    assert sorted(alone) == sorted(f"{name}.html" for name in safe)
    assert stage(made, "opus", safe, 3) == alone


def test_a_run_that_cannot_be_read_costs_the_others_nothing(tmp_path):
    made = Made(tmp_path)
    made.session("s")
    made.run("s", "opus", "good")
    made.run("s", "opus", "bad")
    record = made.place(layout.INSTANCE, "s", "opus", "bad") / "output.jsonl"
    files.write_text(record, json.dumps(files.read_json(record) | {"history": 7}))
    made_pages = stage(made, "opus", ["bad", "good"], 1)
    assert b"could not be made: TypeError" in made_pages["bad.html"] and b"Resolved" in made_pages["good.html"]
    assert "Traceback" in Path(made.root / "logs" / "pages.log").read_text()

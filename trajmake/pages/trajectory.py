"""The page of one run: task, verdict, every step, patch, required tests, where it all came from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from trajmake import files, pages
from trajmake.grading.log import read_log
from trajmake.pages import numbers, patch, states, text, timeline
from trajmake.reports import one_run
from trajmake.reports.log_parts import LogParts
from trajmake.reports.one_run import Run
from trajmake.reports.steps import Step
from trajmake.sessions import layout
from trajmake.sessions.found import Outputs

_OPEN_LINES = 12  # an output of so many lines is not folded
_LOG_READ = 8 * 1024 * 1024  # bytes of a test log
_LOG_END = 20_000  # characters of it on the page
_PARTS = 400_000  # characters of all failed tests' parts of it
_OPEN_TESTS = 3  # failed tests whose part is not folded


@dataclass(frozen=True)
class Test:
    """A required test: its row's list, whether it came out as it must, and what the log says of it."""

    number: int
    name: str
    kind: str
    passed: bool
    flaky: bool
    part: Markup


def render(
    outputs: Outputs,
    session: str,
    model: str,
    instance: str,
    *,
    home: str = "../index.html",
    scripts: Sequence[str] = (),
    policy: Mapping[str, str] | None = None,
) -> str:
    """The page of a run, finished or not, from what lies on disk.

    Args:
        outputs: The folder of all sessions.
        session, model: Names.
        instance: The instance's id.
        home: Address of the session's page; "" for none.
        scripts, policy: As of :func:`trajmake.pages.page`, after the page's own.

    Raises:
        ConfigError: there is no such run.
    """
    return of_run(one_run.find(outputs, session, model, instance), home=home, scripts=scripts, policy=policy)


def of_run(
    run: Run,
    *,
    home: str = "../index.html",
    scripts: Sequence[str] = (),
    policy: Mapping[str, str] | None = None,
) -> str:
    """As :func:`render`, of a run that is known."""
    steps = run.steps
    tests = list(_tests(run))
    touched = patch.files_of(run.patch)
    return pages.page(
        "trajectory.html.j2",
        styles=[pages.asset("code.css"), pages.asset("trajectory.css")],
        scripts=[pages.asset("find.js"), pages.asset("trajectory.js"), *scripts],
        policy=policy,
        home=home,
        run=run,
        outcome=run.outcome,
        badges=states.badges(run.outcome),
        figures=_figures(run, steps, touched),
        flags=list(_flags(run, steps)),
        task=_prose(run.task),
        task_lines=run.task.count("\n") + 1,
        instruction=str(run.record.get("instruction") or ""),
        steps=[_step(step) for step in steps],
        spans=timeline.spans(steps),
        patch=touched,
        tests=tests,
        failed=[test for test in tests if not test.passed],
        passed=[test for test in tests if test.passed],
        open_tests=_OPEN_TESTS,
        log_end=_log(run)[-_LOG_END:],
        provenance=list(_provenance(run)),
        files=one_run.paths(run),
        tokens=numbers.tokens,
        usd=numbers.usd,
        duration=numbers.duration,
    )


def _figures(run: Run, steps: Sequence[Step], touched: Sequence[patch.File]) -> list[tuple[str, str, str]]:
    """Label, figure and what is to be said in small beside it."""
    outcome = run.outcome
    known = [step["cost_usd"] for step in steps if step["cost_usd"] is not None]
    cost = outcome["cost_usd"]
    if outcome.get("unfinished"):
        cost = sum(known) if known else None
    tokens = [
        outcome[name] if outcome[name] is not None else sum(step[name] or 0 for step in steps)
        for name in ("prompt_tokens", "completion_tokens")
    ]
    changed = f"+{sum(part.added for part in touched)} \u2212{sum(part.removed for part in touched)}"
    found = [
        ("Cost", "unknown" if cost is None and not outcome.get("unfinished") else numbers.usd(cost), ""),
        ("Steps", str(len(steps)), str(outcome["exit_status"] or "").replace("_", " ")),
        ("Time", numbers.duration(outcome["seconds"]), ""),
        ("Tokens in", numbers.tokens(tokens[0]), ""),
        ("Tokens out", numbers.tokens(tokens[1]), ""),
        ("Patch", changed if touched else "empty", f"{len(touched)} files" if len(touched) > 1 else ""),
    ]
    for label, kind in (("Fail to pass", "fail_to_pass"), ("Pass to pass", "pass_to_pass")):
        if outcome[f"{kind}_total"]:
            found.append((label, f"{outcome[f'{kind}_passed']}/{outcome[f'{kind}_total']}", "pass"))
    return found


def _flags(run: Run, steps: Sequence[Step]) -> Iterator[tuple[str, int, list[tuple[int, str]]]]:
    """Kind, count and evidence of the signs of contamination: number of the step (0: none) and words."""
    by_event = {step["event"]: step["number"] for step in steps}
    for flag in run.outcome["flags"] or ():
        evidence = []
        for words in flag["evidence"]:
            event = re.match(r"event (\d+): ", words)
            number = by_event.get(int(event[1]), 0) if event else 0
            evidence.append((number, words[event.end() :] if event and number else words))
        yield str(flag["kind"]).replace("_", " "), flag["count"], evidence


def _step(step: Step) -> dict[str, Any]:
    """A step as the template wants it."""
    output = step["output"].rstrip("\n")
    lines = output.count("\n") + 1 if output.strip() else 0
    said = step["command"] or step["thought"]
    return step | {
        "failed": timeline.failed(step),
        "seconds": timeline.seconds(step),
        "title": _one_line(said, 90) or step["action"],
        "command_lines": step["command"].count("\n") + 1,
        "first_line": _one_line(step["command"], 120),
        "arguments": [(name, _text(value)) for name, value in step["arguments"].items()],
        "output": output,
        "lines": lines,
        "last_line": _last_line(text.uncoloured(output[-4_000:])),
        "open": lines <= _OPEN_LINES and len(output) < 4_000,
    }


def _tests(run: Run) -> Iterator[Test]:
    kinds = {kind: (found["success"], found["failure"]) for kind, found in _required(run)}
    flaky = set(run.outcome["flaky"] or ())
    parts = LogParts(_log(run)) if kinds else None
    number, room = 0, _PARTS
    for passed in (False, True):
        for kind, (success, failure) in kinds.items():
            for name in success if passed else failure:
                number += 1
                part = "" if parts is None else parts.of_passed(name) if passed else parts.of_failed(name)
                if not passed:
                    room -= len(part)
                    part = part if room > 0 else "[left out here for want of room; the whole log has it]"
                yield Test(number, name, kind, passed, name in flaky, text.terminal(part))


def _required(run: Run) -> list[tuple[str, dict[str, list[str]]]]:
    found = run.report.get("tests_status") or {}
    return [(kind, found[kind]) for kind in ("FAIL_TO_PASS", "PASS_TO_PASS") if kind in found]


def _log(run: Run) -> str:
    try:
        return read_log(run.place(layout.EVALUATION) / "test_output.txt", _LOG_READ)
    except OSError:
        return ""


def _provenance(run: Run) -> Iterator[tuple[str, str]]:
    metadata = run.record.get("metadata") or {}
    for name in ("agent_class", "dataset", "start_time", "max_iterations"):
        if metadata.get(name):
            yield name, str(metadata[name])
    tested = files.read_object(run.place(layout.EVALUATION) / "test_run.json")
    asked = {key: value for key, value in (metadata.get("llm_config") or {}).items() if key != "api_key"}
    yield from _flat("model", asked)
    yield from _flat("", metadata.get("details") or {})
    yield from _flat("tests", {key: value for key, value in tested.items() if key not in ("repeats", "fault")})


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Leaves of nested facts with dotted names; what is not set is left out."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), item)
    elif value not in (None, "", []):
        yield prefix, _text(value)


def _prose(words: str) -> list[tuple[bool, Markup]]:
    """A text in pieces: whether it is code between fences of three backticks, and its HTML."""
    pieces = re.split(r"^[ ]{0,3}```[^\n`]*\n?", words.strip("\n"), flags=re.MULTILINE)
    return [
        (bool(number % 2), text.terminal(piece.strip("\n")) if number % 2 else _inline(piece.strip("\n")))
        for number, piece in enumerate(pieces)
        if piece.strip()
    ]


def _inline(words: str) -> Markup:
    """Prose, with what stands between single backticks as code."""
    parts = re.split(r"`([^`\n]{1,200})`", words[: text.MOST])
    made = [text.terminal(part) for part in parts]
    made[1::2] = [Markup("<code>{}</code>").format(part) for part in made[1::2]]
    return Markup("").join([*made, *([text.cut(len(words) - text.MOST)] if len(words) > text.MOST else [])])


def _last_line(output: str) -> str:
    """The end of an output; what an agent's tool adds in brackets says less than what the command printed."""
    lines = [line for line in output.split("\n") if line.strip()][-4:]
    said = [line for line in lines if not re.fullmatch(r"\[.*\]", line.strip())]
    return _one_line((said or lines or [""])[-1], 110)


def _one_line(words: str, most: int) -> str:
    line = " ".join(words[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)

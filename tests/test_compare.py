"""`trajmake compare`: who resolved what, at which cost, and whether the difference can be chance."""

from __future__ import annotations

import json
import math
import random

import pytest
from made_sessions import Made

from trajmake.errors import ConfigError
from trajmake.reports import chance
from trajmake.sessions import layout


@pytest.fixture
def made(tmp_path) -> Made:
    """`strong` resolves eight instances that `weak` does not; the rest is odd in every way."""
    made = Made(tmp_path)
    made.session("s")
    for number in range(8):
        made.run("s", "strong", f"i{number}", True)
        made.run("s", "weak", f"i{number}", False, cost=0.1)
    for model in ("strong", "weak"):
        made.run("s", model, "both", True)
        made.run("s", model, "neither", False)
    made.run("s", "weak", "alone", True)
    made.run("s", "strong", "lost", None)
    made.run("s", "weak", "lost", True)
    made.fault("s", "strong", "both-lost")
    made.fault("s", "weak", "both-lost")
    made.run("s", "strong", "waiting", judged=False)
    made.run("s", "weak", "waiting", True)
    made.run("s", "strong", "changed", True, row="old")
    made.run("s", "weak", "changed", False, row="new")
    return made


def compared(made: Made, *arguments: str) -> dict:
    done = made.call("compare", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_only_what_both_have_judged_is_paired_and_the_rest_is_said(made):
    record = compared(made, "strong", "weak")
    (pair,) = record["pairs"]
    eight = [f"i{number}" for number in range(8)]
    assert pair.pop("left_out") == {
        "strong did not run": ["alone"],
        "strong met a fault of the machine": ["lost"],
        "strong met a fault of the machine; weak met a fault of the machine": ["both-lost"],
        "strong has no verdict yet": ["waiting"],
        "the dataset's row is another one": ["changed"],
    }
    assert pair == {
        "first": "strong",
        "second": "weak",
        "paired": 10,
        "both": 1,
        "only_first": eight,
        "only_second": [],
        "neither": 1,
        "p_value": 2 / 2**8,
        "p_holm": 2 / 2**8,
    }
    assert record["only"] == {"strong": eight, "weak": []}
    assert record["instances"]["both"] == {"strong": True, "weak": True}
    assert record["instances"]["lost"] == {"strong": None, "weak": True}
    strong, weak = record["sides"]
    assert (strong["total_instances"], strong["judged"], strong["resolved"]) == (14, 11, 10)
    assert strong["interval"] == [62.26, 98.38] and strong["cost_per_resolved_usd"] == 0.6
    assert (weak["judged"], weak["resolved"], weak["unknown_costs"]) == (14, 4, 0)


def test_people_are_told_what_it_means(made):
    shown = made.call("compare", "strong", "weak").stdout
    assert "strong resolves more" in shown and "0.00781" in shown and "62.3 to 98.4%" in shown
    assert "left out of strong, weak: 1, strong did not run" in shown
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.splitlines()]
    assert ["i0", "yes", "no"] in rows and not any(row[0] in ("both", "neither", "lost") for row in rows)
    for number in range(3):
        made.run("s", "other", f"i{number}", number < 1)
    assert "can be chance" in made.call("compare", "strong", "other").stdout
    made.session("t")
    made.run("t", "other", "elsewhere", True, cost=0.25)
    shown = made.call("compare", "s/strong", "t/other").stdout
    assert "nothing to compare" in shown and "s/strong" in shown and "0.2500" in shown


def test_many_differing_instances_are_cut_for_people_alone(made):
    for number in range(60):
        made.run("s", "a", f"n{number:02}[red]", True)
        made.run("s", "b", f"n{number:02}[red]", False)
    shown = made.call("compare", "a", "b").stdout
    assert "n39[red]" in shown and "n40[red]" not in shown and "and 20 more that differ" in shown
    assert len(compared(made, "a", "b")["only"]["a"]) == 60


def test_sessions_models_and_both_can_be_named(made):
    made.session("t")
    made.run("t", "strong", "i0", False)
    made.run("t", "gold", "i0", True)
    labels = lambda *names: [side["label"] for side in compared(made, *names)["sides"]]  # noqa: E731
    assert labels("s", "t") == ["s/strong", "s/weak", "t/strong"]
    assert labels("s/strong", "latest") == labels("s/strong", "t") == labels("s/strong", "strong") == ["s", "t"]
    assert labels("s") == labels("strong", "weak", "strong", "--session", "s") == ["strong", "weak"]
    assert labels("gold", "strong") == ["gold", "strong"]
    three = compared(made, "s", "t")["pairs"]
    assert [(pair["first"], pair["second"]) for pair in three] == [
        ("s/strong", "s/weak"),
        ("s/strong", "t/strong"),
        ("s/weak", "t/strong"),
    ]
    assert three[0]["p_holm"] == pytest.approx(3 * three[0]["p_value"])


def test_a_name_that_means_nothing_or_two_things_is_an_error(made):
    made.place(layout.INSTANCE, "s", "s", "i0").mkdir(parents=True)
    for names, message in (
        (["s", "weak"], r"s is a session and a model of session s.\nHint: Write s/s for the model"),
        (["strnog", "weak"], r"strnog is neither .*\nHint: Did you mean strong\?"),
        (["s/strnog", "weak"], r"no model strnog.\nHint: Did you mean strong\?"),
        (["x/strong", "weak"], r"holds no session x"),
        (["strong", "s/strong"], r"s/strong alone is no comparison"),
    ):
        with pytest.raises(ConfigError, match=message):
            raise made.call("compare", *names).exception


def test_mcnemar_is_the_exact_binomial():
    """Against the sum over all outcomes that are as unlikely."""
    assert chance.mcnemar(0, 0) == chance.mcnemar(3, 3) == 1.0
    assert chance.mcnemar(0, 5) == chance.mcnemar(5, 0) == 0.0625
    assert chance.mcnemar(2, 10) == pytest.approx(0.0385742, abs=1e-7)
    for first, second in ((1, 6), (4, 9), (30, 12)):
        pairs = first + second
        weights = [math.comb(pairs, k) for k in range(pairs + 1)]
        unlikely = sum(weight for weight in weights if weight <= weights[first])
        assert chance.mcnemar(first, second) == pytest.approx(unlikely / 2**pairs)
    assert 0 < chance.mcnemar(900, 1400) < 1e-20  # no overflow


def test_wilson_interval_is_the_published_one():
    """Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for part, whole, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert chance.wilson(part, whole) == pytest.approx((low, high), abs=5e-5)
        assert chance.wilson(whole - part, whole) == pytest.approx((1 - high, 1 - low), abs=5e-5)
    assert chance.wilson(0, 0) == (0.0, 1.0)


def test_holm_keeps_false_alarms_rare():
    assert chance.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert chance.holm([0.9, 0.5]) == [1.0, 1.0] and chance.holm([]) == []
    dice = random.Random(7)
    alarms = 0
    for _ in range(500):
        fair = [sum(dice.random() < 0.5 for _ in range(40)) for _ in range(6)]
        alarms += min(chance.holm([chance.mcnemar(heads, 40 - heads) for heads in fair])) < 0.05
    assert alarms < 0.05 * 500

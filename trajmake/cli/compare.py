"""``trajmake compare``: models and sessions against each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from trajmake.cli import screen

_MOST = 40  # instances shown
_VERDICTS = {True: "yes", False: "no", None: "-"}


def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="MODEL, SESSION (all its models) or SESSION/MODEL.")
    ],
    session: Annotated[
        str, typer.Option("--session", "--session-id", help="The session of a MODEL; the last driven.")
    ] = "latest",
    configfile: screen.Config = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Compare who resolved what, and at which cost; and say whether the difference can be chance.

    Pairs are compared on the instances that both have judged, by the exact McNemar test; of more than one pair
    Holm's p counts. The interval of each side is Wilson's, 95 %.
    """
    from trajmake.reports import comparison

    outputs = screen.outputs(configfile)
    record = comparison.compare(outputs.folder, comparison.sides(outputs, names, session))
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    _sides(record)
    _pairs(record)
    _instances(record)


def _sides(record: Mapping[str, Any]) -> None:
    columns = ("side", "judged", "resolved", "rate", "95 % interval", "USD", "USD per resolved", "by it alone")
    table = screen.table(*columns, right=range(1, len(columns)))
    for side in record["sides"]:
        low, high = side["interval"]
        each, rate = side["cost_per_resolved_usd"], side["resolved_rate"]
        unknown = f" + {side['unknown_costs']} unknown" if side["unknown_costs"] else ""
        table.add_row(
            screen.text(side["label"]),
            f"{side['judged']} of {side['total_instances']}",
            str(side["resolved"]),
            "-" if rate is None else f"{rate:.2f}%",
            f"{low:.1f} to {high:.1f}%",
            f"{side['cost_usd']:.4f}{unknown}",
            "-" if each is None else f"{each:.4f}",
            str(len(record["only"][side["label"]])),
        )
    screen.show(table)


def _pairs(record: Mapping[str, Any]) -> None:
    columns = ("first", "second", "paired", "left out", "both", "only first", "only second", "neither", "p")
    table = screen.table(*columns, "what it says", right=range(2, len(columns)))
    for pair in record["pairs"]:
        only = len(pair["only_first"]), len(pair["only_second"])
        table.add_row(
            *(screen.text(pair[key]) for key in ("first", "second")),
            str(pair["paired"]),
            str(sum(map(len, pair["left_out"].values()))),
            str(pair["both"]),
            *map(str, only),
            str(pair["neither"]),
            f"{pair['p_holm']:.3g}",
            screen.text(_said(pair)),
        )
    screen.show(table)
    for pair in record["pairs"]:
        for why, instances in sorted(pair["left_out"].items()):
            screen.show(screen.text(f"left out of {pair['first']}, {pair['second']}: {len(instances)}, {why}"))


def _said(pair: Mapping[str, Any]) -> str:
    from trajmake.reports.comparison import NOISE

    if not pair["paired"]:
        return "nothing to compare"
    if pair["p_holm"] >= NOISE:
        return "can be chance"
    return f"{pair['first'] if len(pair['only_first']) > len(pair['only_second']) else pair['second']} resolves more"


def _instances(record: Mapping[str, Any]) -> None:
    """The instances that some resolved and others did not."""
    labels = [side["label"] for side in record["sides"]]
    differing = {one: known for one, known in record["instances"].items() if {True, False} <= {*known.values()}}
    table = screen.table("resolved?", *labels)
    for instance, known in list(differing.items())[:_MOST]:
        table.add_row(screen.text(instance), *(_VERDICTS[known[label]] for label in labels))
    if differing:
        screen.show(table)
    if len(differing) > _MOST:
        screen.show(screen.text(f"and {len(differing) - _MOST} more that differ (--json)"))

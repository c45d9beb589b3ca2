"""``trajmake check-host``: whether this host, or many, are ready for the session configured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from trajmake.cli import screen

_COLOURS = {"ok": "green", "warning": "yellow", "bad": "red"}


def check_host(
    hosts: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="File with a host in each line: [user@]host [folder of the checkout there]."),
    ] = None,
    free_gb: Annotated[float, typer.Option(help="GB that must be free for results, images, temporary files.")] = 20,
    ssh: Annotated[str, typer.Option(help="The command that reaches hosts, with its options.")] = "ssh",
    configfile: screen.Config = screen.DEFAULT,
    as_json: screen.Json = False,
) -> None:
    """Check versions, engine, disk, keys, S3 and stale runs of this host; with --hosts of others too, over ssh.

    What must be alike everywhere is compared with this host: Python, packages, sources, configuration, clock. Exit
    code 1 where something is bad.
    """
    from trajmake.hosts import checks, fleet

    found = [checks.report(configfile, free_gb)]
    if hosts:
        arguments = ["--free-gb", str(free_gb), "--configfile", str(configfile)]
        found += fleet.reports(fleet.read(hosts), found[0], arguments, ssh)
    bad = [report["host"] for report in found if fleet.worst(report) == checks.BAD]
    if as_json:
        typer.echo(json.dumps({"ok": not bad, "hosts": found}, indent=2))
    else:
        _show(found)
    raise typer.Exit(bool(bad))


def _show(found: list[dict[str, Any]]) -> None:
    """A line for each check of a single host; of many a line for each host, and what is not well below."""
    if len(found) == 1:
        table = screen.table("check", "state", "", title=found[0]["host"])
        for check in found[0]["checks"]:
            table.add_row(check["check"], _state(check), screen.text(check["said"]))
        screen.show(table)
        return
    names = list(dict.fromkeys(check["check"] for report in found[::-1] for check in report["checks"]))
    table = screen.table("host", *names, title=f"{len(found)} hosts")
    said = []
    for report in found:
        states = {check["check"]: check for check in report["checks"]}
        table.add_row(screen.text(report["host"]), *(_state(states.get(name)) for name in names))
        said += [f"{report['host']}, {c['check']}: {c['said']}" for c in report["checks"] if c["state"] != "ok"]
    screen.show(table, *map(screen.text, said))


def _state(check: dict[str, str] | None) -> Any:
    return screen.text(check["state"], _COLOURS[check["state"]]) if check else screen.text("")

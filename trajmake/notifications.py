"""Who is told what becomes of a session: messages through Apprise, to those who do not watch a terminal.

A message that cannot be sent is a warning; it never fails a run. Addresses hold tokens and passwords, so they are
named by number in every text.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.llm.redaction import MASK
from trajmake.llm.spending import Spending
from trajmake.reports import texts
from trajmake.request import Request
from trajmake.sessions import layout, locks
from trajmake.settings import Settings

_SECONDS = 60.0  # for all addresses: a run must not wait longer for a mail server
_SHORTEST = 5  # letters of a part of an address that may be a secret
_LONGEST = 3000  # characters of a message; chats cut longer ones


def problems(options: Settings) -> list[str]:
    """What is wrong with the addresses, a sentence each; nothing where nobody is to be told."""
    wanted = options.notify
    if not wanted.urls_env:
        return []
    urls = _urls(options)
    if not urls:
        return [f"`notify.urls_env` names {wanted.urls_env}, which is not set; nobody will be told how this ends."]
    odd = [number for number, url in enumerate(urls, 1) if _service(url) is None]
    return [f"Address {number} in {wanted.urls_env} is none that Apprise knows." for number in odd]


def completed(options: Settings, workflow: Any) -> None:
    """After a run of Snakemake that met no fault: the session's figures, where the whole session was asked for."""
    results = _results(options)
    if _asked(options, workflow, "completion") and (results / "complete.json").exists():
        report = (results / "final_report.txt").read_text(encoding="utf-8")
        _tell(options, f"session {options.session} is complete", _figures(report))


def failed(options: Settings, workflow: Any) -> None:
    """After a run of Snakemake that did not end well: the faults, or what is unfinished."""
    if not _asked(options, workflow, "failure"):
        return
    said = ""
    for name in ("faults.txt", "final_report.txt"):
        if not said and (path := _results(options) / name).exists():
            said = path.read_text(encoding="utf-8")
    _tell(options, f"session {options.session} ended with failures", said or "No run has a result yet.")


def budget(options: Settings) -> None:
    """Tell once that ``notify.budget_percent`` of the session's budget is spent; cheap, to be called now and then."""
    if "budget" not in options.notify.on or not options.notify.urls_env:
        return
    money = Spending.of(options)
    if not money.limit or (spent := money.spent()).usd < money.limit * options.notify.budget_percent / 100:
        return
    record = Path(options.output_dir) / layout.TOLD.format(session=options.session)
    if files.read_object(record).get("budget_usd") == money.limit:
        return
    files.write_json(record, {"budget_usd": money.limit})
    percent = 100 * spent.usd / money.limit
    _tell(
        options,
        f"session {options.session} has spent {percent:.0f} % of its budget",
        texts.spending(spent, money.limit),
    )


def send(urls: Iterable[str], title: str, body: str, seconds: float = _SECONDS) -> list[str]:
    """Send a message to every address; the sentences say what did not work.

    Args:
        urls: Apprise's.
        title, body: Plain text.
        seconds: How long all of them may take.
    """
    trouble: dict[int, str] = {number: "it did not answer in time" for number, _ in enumerate(urls, 1)}

    def work() -> None:
        for number, url in enumerate(urls, 1):
            why = _send(url, title, body)
            if why:
                trouble[number] = why
            else:
                del trouble[number]

    thread = threading.Thread(target=work, name="notify", daemon=True)
    thread.start()
    thread.join(seconds)
    return [f"Address {number} could not be told: {why}." for number, why in sorted(dict(trouble).items())]


def _send(url: str, title: str, body: str) -> str:
    """Why it did not work; empty where it did."""
    import apprise

    service = _service(url)
    if service is None:
        return "Apprise does not know such addresses"
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:
        try:
            if service.notify(title=title, body=body):
                return ""
        except Exception as error:  # noqa: BLE001 - plug-ins of many authors; none may end a run
            return type(error).__name__
        return _masked(said.getvalue(), url) or "the service refused it"


def _service(url: str) -> Any:
    import apprise

    logging.getLogger("apprise").propagate = False  # what it says may hold an address
    return apprise.Apprise.instantiate(url, suppress_exceptions=True)


def _masked(said: str, url: str) -> str:
    for part in re.split(r"[:/@?&=,]+", url):
        if len(part) >= _SHORTEST:
            said = said.replace(part, MASK)
    return " ".join(said.split()).rstrip(".")


def _tell(options: Settings, title: str, body: str) -> None:
    if len(body) > _LONGEST:
        body = f"{body[:_LONGEST]}\n… {len(body) - _LONGEST} characters more in {_results(options)}"
    for problem in send(_urls(options), f"Trajmake: {title}", body):
        print(f"Warning: {problem}", file=sys.stderr)


def _asked(options: Settings, workflow: Any, event: str) -> bool:
    """Whether this process drives the session, for the whole of it, and somebody wants to know."""
    lock = Path(options.output_dir) / layout.LOCK.format(session=options.session)
    wanted = event in options.notify.on and bool(_urls(options))
    return wanted and locks.drives(lock) and Request.of(workflow).whole


def _urls(options: Settings) -> list[str]:
    return os.environ.get(options.notify.urls_env, "").split() if options.notify.urls_env else []


def _results(options: Settings) -> Path:
    return Path(options.output_dir) / layout.RESULTS.format(session=options.session)


def _figures(report: str) -> str:
    """A final report without its lists of runs."""
    return "\n".join(line for line in report.splitlines() if ": " in line and not line.startswith(" "))

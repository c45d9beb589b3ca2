"""What the driver of a session has set out to do, written down for those who look on.

``--config`` on the command line changes models, instances and budget, so no configuration file tells them.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trajmake import files
from trajmake.sessions import layout, locks, status

if TYPE_CHECKING:
    from trajmake.settings import Settings


@dataclass(frozen=True)
class Drive:
    """One run of the workflow, by the process that drives it.

    Attributes:
        started, ended: Unix times; 0 for not yet.
        mode: ``sequential``, ``hybrid`` or ``parallel``.
        models: Names in the catalog, in their order.
        instances: Safe names, in the dataset's order.
        budget_usd: US dollars that the session may spend; 0 for no limit.
    """

    started: float = 0.0
    ended: float = 0.0
    mode: str = ""
    models: list[str] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    budget_usd: float = 0.0


def begin(options: Settings, instances: list[str]) -> None:
    """Write down what this process is going to run."""
    drive = Drive(time.time(), 0.0, options.mode, list(options.models), instances, options.limits.session_usd)
    files.write_json(_place(options.output_dir, options.session), asdict(drive), indent=None)


def end(output_dir: Path | str, session: str) -> None:
    """Write down that the process drives it no more."""
    drive = replace(read(output_dir, session), ended=time.time())
    files.write_json(_place(output_dir, session), asdict(drive), indent=None)


def read(output_dir: Path | str, session: str) -> Drive:
    """The last one; an empty one where none was written down."""
    try:
        return Drive(**files.read_object(_place(output_dir, session)))
    except TypeError:  # of another version
        return Drive()


def driver(output_dir: Path | str, session: str, drive: Drive) -> str:
    """Who drives a session now: ``process PID on HOST``; empty where nobody does.

    A driver on a host whose locks are not seen here is believed while its heartbeat is young.
    """
    lock = Path(output_dir) / layout.LOCK.format(session=session)
    going = bool(drive.started) and not drive.ended and status.alive(_place(output_dir, session), lock)
    return (locks.signature(lock) or "a process") if locks.held(lock) or going else ""


def heartbeat(output_dir: Path | str, session: str) -> Path:
    """The file whose time the driver renews."""
    return _place(output_dir, session)


def _place(output_dir: Path | str, session: str) -> Path:
    return Path(output_dir) / layout.DRIVE.format(session=session)

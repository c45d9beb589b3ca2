"""Reports of many hosts, over ssh, and whether they are alike."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trajmake.errors import ConfigError
from trajmake.hosts.checks import BAD, OK, WARNING

_AT_ONCE = 32
_SECONDS = 300.0  # for one host's report
_SKEW = 2.0  # seconds; S3 refuses 900, and times of files decide what is newer
_PROGRAM = "from trajmake.cli import main; main()"
_ALIKE = {"python": "Python", "project": "sources", "configuration": "configuration"}


@dataclass(frozen=True)
class Host:
    """A line of the hosts file.

    Attributes:
        address: What ssh is told.
        folder: The checkout there.
        python: Its interpreter.
    """

    address: str
    folder: str
    python: str

    @classmethod
    def of(cls, line: str) -> Self:
        """``ADDRESS [FOLDER]``; without a folder the one we are in, with the interpreter we run."""
        address, *rest = line.split(maxsplit=1)
        folder = rest[0] if rest else str(Path.cwd())
        return cls(address, folder, ".venv/bin/python" if rest else sys.executable)


def read(path: Path) -> list[Host]:
    """The hosts of a file, one in a line; ``#`` begins a comment.

    Raises:
        ConfigError: it cannot be read, or names none.
    """
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Write a host in each line.") from error
    if not (hosts := [Host.of(line) for line in lines if line]):
        raise ConfigError(f"{path} names no host.", "Write a host in each line: [user@]host [folder].")
    return hosts


def reports(hosts: list[Host], own: dict[str, Any], arguments: list[str], ssh: str) -> list[dict[str, Any]]:
    """Each host's report, compared with our own: differences are checks that are bad.

    Args:
        hosts: To be asked, side by side.
        own: This host's report.
        arguments: Of ``trajmake check-host`` there.
        ssh: The command, with options where it needs some.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda host: _compared(_ask(host, arguments, ssh), own), hosts))


def _ask(host: Host, arguments: list[str], ssh: str) -> dict[str, Any]:
    program = shlex.join([host.python, "-c", _PROGRAM, "check-host", "--json", *arguments])
    options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
    command = [*shlex.split(ssh), *options, host.address, f"cd {shlex.quote(host.folder)} && {program}"]
    began = time.time()
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        ended = time.time()
        report: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])["hosts"][0]
    except subprocess.TimeoutExpired:
        return _silent(host, f"no report within {_SECONDS:.0f} s")
    except OSError as error:
        return _silent(host, f"{command[0]} cannot be run: {error.strerror}")
    except (ValueError, KeyError, IndexError):
        return _silent(host, (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")[-500:])
    report["checks"].insert(0, {"check": "ssh", "state": OK, "said": host.address})
    report["checks"].append(_clock(report["now"], began, ended))
    return report


def _silent(host: Host, why: str) -> dict[str, Any]:
    return {"host": host.address, "checks": [{"check": "ssh", "state": BAD, "said": why}]}


def _clock(now: float, began: float, ended: float) -> dict[str, str]:
    """What of the difference the way of the answer cannot explain."""
    skew = max(now - ended, began - now, 0.0)
    said = f"{skew:.1f} s {'ahead' if now > ended else 'behind'}" if skew else "as here"
    return {"check": "clock", "state": BAD if skew > _SKEW else OK, "said": said}


def _compared(report: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    for check in report["checks"]:
        name = check["check"]
        if name in _ALIKE and check["state"] == OK and report[name] != own[name]:
            check |= {"state": BAD, "said": f"{check['said']}: {_ALIKE[name]} unlike here"}
        elif name == "packages" and (other := _differences(report[name], own[name])):
            more = f" and {len(other) - 5} more" if len(other) > 5 else ""
            check |= {"state": BAD, "said": f"others than here: {', '.join(other[:5])}{more}"}
    return report


def _differences(there: dict[str, str], here: dict[str, str]) -> list[str]:
    return [
        f"{name} {there.get(name, 'missing')} ({here.get(name, 'missing')})"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]


def worst(report: dict[str, Any]) -> str:
    """The worst state of a report's checks."""
    states = {check["state"] for check in report["checks"]}
    return next((state for state in (BAD, WARNING) if state in states), OK)

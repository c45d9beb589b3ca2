"""The load of this host's GPUs, where models are served locally; nothing where there is no ``nvidia-smi``."""

from __future__ import annotations

import csv
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.live.picture import Gpu

_ASKED = "uuid,index,name,utilization.gpu,memory.used,memory.total"
_TIMEOUT = 10.0  # seconds; a driver that hangs is not waited for


@dataclass(frozen=True)
class _Load:
    uuid: str
    gpu: Gpu


def query() -> list[_Load]:
    """What ``nvidia-smi`` says now; nothing where it is missing, fails or hangs."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={_ASKED}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows: Iterable[list[str]] = (
        csv.reader(done.stdout.splitlines(), skipinitialspace=True) if not done.returncode else []
    )
    return [_load(row) for row in rows if len(row) == _ASKED.count(",") + 1]


def _load(row: list[str]) -> _Load:
    uuid, index, name, *figures = (field.strip() for field in row)
    return _Load(uuid, Gpu(f"{index} {name}", *map(_number, figures)))


def _number(field: str) -> float | None:
    """None for ``[N/A]`` and the like: not every GPU tells everything."""
    try:
        return float(field)
    except ValueError:
        return None


def sample(path: Path, *, counts: bool) -> bool:
    """Add what the GPUs do now to a session's file of samples.

    Args:
        path: The file; made where there are GPUs.
        counts: Whether agents work now: only then does the sample enter mean and peak.

    Returns:
        Whether there are GPUs.
    """
    loads = query()
    if not loads:
        return False
    host = socket.gethostname()
    kept: dict[str, Any] = files.read_object(path).get("gpus") or {}
    for load in loads if counts else ():
        if load.gpu.percent is None:
            continue
        before = kept.get(load.uuid) or {"samples": 0, "percent_sum": 0.0, "peak_percent": 0.0, "peak_memory_mib": None}
        kept[load.uuid] = {
            "name": load.gpu.name,
            "host": host,
            "samples": before["samples"] + 1,
            "percent_sum": before["percent_sum"] + load.gpu.percent,
            "peak_percent": max(before["peak_percent"], load.gpu.percent),
            "peak_memory_mib": max((m for m in (before["peak_memory_mib"], load.gpu.memory_mib) if m), default=None),
            "total_mib": load.gpu.total_mib,
        }
    files.write_json(path, {"at": time.time(), "now": [asdict(load.gpu) for load in loads], "gpus": kept})
    return True


def summary(path: Path) -> list[dict[str, Any]]:
    """For each GPU whose load was sampled while agents worked: name, host, mean and peak, how many samples."""
    found = []
    for gpu in (files.read_object(path).get("gpus") or {}).values():
        mean = round(gpu["percent_sum"] / gpu["samples"], 1)
        found.append({key: gpu[key] for key in gpu if key != "percent_sum"} | {"mean_percent": mean})
    return sorted(found, key=lambda gpu: (gpu["host"], gpu["name"]))

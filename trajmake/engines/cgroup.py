"""Control groups for the namespace engine, where the caller may make them (as a rule: root).

cgroup v1 (one hierarchy per controller) and v2 (one for all). Where neither can
be written the engine falls back to resource limits of the process.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from trajmake.engines.base import ContainerLimits
from trajmake.engines.owner import over, owner

_ROOT = Path("/sys/fs/cgroup")
_PARENT = "trajmake"
_PERIOD = 100_000  # microseconds, the kernel's default


@dataclass(frozen=True)
class ControlGroup:
    """Folders made for one container.

    Attributes:
        folders: To be removed when it has ended.
        memory: The one that holds its memory limit and figures, if any.
        limits_pids: Its number of processes is limited here.
    """

    folders: tuple[Path, ...] = ()
    memory: Path | None = None
    limits_pids: bool = False

    def rlimits(self, limits: ContainerLimits) -> dict[str, int]:
        """Resource limits, by their names in :mod:`resource`, for what this group does not limit."""
        rlimits: dict[str, int] = {}
        if limits.memory_mb and self.memory is None:
            rlimits["RLIMIT_DATA"] = limits.memory_mb << 20
        if limits.pids and not self.limits_pids:
            rlimits["RLIMIT_NPROC"] = limits.pids
        return rlimits

    def remove(self) -> None:
        """Remove the folders; the kernel may take a moment to see them empty."""
        for folder in self.folders:
            for _ in range(20):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.05)
                else:
                    break


def make_group(name: str, limits: ContainerLimits) -> ControlGroup:
    """A control group with ``limits``; an empty one where none can be made. Those of dead owners are removed."""
    name = f"{name}@{owner().replace(' ', '@')}"
    try:
        reap()
        if (_ROOT / "cgroup.controllers").exists():
            return _make_v2(name, limits)
        return _make_v1(name, limits)
    except OSError:  # not ours to write
        return ControlGroup()


def reap() -> None:
    """Remove the groups of owners that ended together with what would have removed them."""
    for place in (_ROOT / _PARENT, *_ROOT.glob(f"*/{_PARENT}")):
        for folder in place.glob("*@*"):
            if over(folder.name.partition("@")[2].replace("@", " ")):
                with contextlib.suppress(OSError):  # its processes are still ending
                    folder.rmdir()


def _make_v2(name: str, limits: ContainerLimits) -> ControlGroup:
    parent = _ROOT / _PARENT
    parent.mkdir(exist_ok=True)
    for place in (_ROOT, parent):
        (place / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    folder = parent / name
    folder.mkdir()
    group = ControlGroup((folder,), folder, limits.pids > 0)
    settings = {
        "memory.max": str(limits.memory_mb << 20) if limits.memory_mb else "max",
        "memory.swap.max": "0" if limits.memory_mb else "max",
        "pids.max": str(limits.pids) if limits.pids else "max",
        "cpu.max": f"{int(limits.cpus * _PERIOD)} {_PERIOD}" if limits.cpus else f"max {_PERIOD}",
    }
    _apply(group, folder, settings)
    return group


def _make_v1(name: str, limits: ContainerLimits) -> ControlGroup:
    settings: dict[str, dict[str, str]] = {"memory": {}}
    if limits.memory_mb:
        bytes_ = str(limits.memory_mb << 20)
        settings["memory"] = {"memory.limit_in_bytes": bytes_, "memory.memsw.limit_in_bytes": bytes_}
    if limits.pids:
        settings["pids"] = {"pids.max": str(limits.pids)}
    if limits.cpus:
        settings["cpu"] = {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": str(int(limits.cpus * _PERIOD))}
    folders = tuple(_ROOT / controller / _PARENT / name for controller in settings)
    group = ControlGroup(folders, folders[0], limits.pids > 0)
    for folder, values in zip(folders, settings.values(), strict=True):
        try:
            folder.mkdir(parents=True)
        except OSError:
            group.remove()
            raise
        _apply(group, folder, values)
    return group


def _apply(group: ControlGroup, folder: Path, settings: dict[str, str]) -> None:
    for key, value in settings.items():
        path = folder / key
        if not path.exists():  # no swap accounting in this kernel
            continue
        try:
            path.write_text(value)
        except OSError:
            group.remove()
            raise

"""What podman needs on a machine that is itself a container: a store of its own and runc, by two files."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

# crun wants control groups of version 2 alone; the limits are those that root without capabilities may set.
_ENGINE = """
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class OwnPodman:
    """A store in a new folder, for ``CONTAINERS_CONF`` and ``CONTAINERS_STORAGE_CONF``; removed at the end.

    Args:
        user: Whose it is; default is this process's.
    """

    def __init__(self, user: pwd.struct_passwd | None = None) -> None:
        self._user = user
        self.folder = Path(tempfile.mkdtemp(prefix="tmp-", dir="/tmp"))  # short: podman's sockets lie there
        (self.folder / "containers.conf").write_text(_ENGINE)
        places = f'graphroot = "{self.folder}/root"\nrunroot = "{self.folder}/run"\n'
        (self.folder / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\n{places}')
        self.variables = {
            "CONTAINERS_CONF": f"{self.folder}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.folder}/storage.conf",
        }
        if user:  # podman keeps its pause process's id there
            self.variables["XDG_RUNTIME_DIR"] = f"{self.folder}/run"
            (self.folder / "run").mkdir(mode=0o700)
            for path in (self.folder, self.folder / "run"):
                os.chown(path, user.pw_uid, user.pw_gid)

    def ask(self, *arguments: str) -> str:
        """What its command line client prints."""
        environment = {**os.environ, "HOME": str(self.folder), **self.variables}
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        command = ["podman", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=self.folder, **user
        )
        return done.stdout.strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if shutil.which("podman"):
            self.ask("rm", "--all", "--force")
            if self._user:  # ends the pause process too
                self.ask("system", "migrate")
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((place for place in mounts if place.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

"""Containers without a daemon and without root: Linux namespaces over an unpacked image.

util-linux ``unshare`` makes user (unless root), mount, pid, network, uts and
ipc namespaces; :mod:`trajmake.engines.inside` builds the root file system there
(kernel overlay, or a copy where the kernel refuses one) and becomes bash.
There is no seccomp filter. Without root the image's files all belong to root, its only user.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from trajmake.engines import inside
from trajmake.engines.cgroup import ControlGroup
from trajmake.engines.local import HOSTNAME, LocalEngine, OverlayRefusedError, Wanted, entrance, no_bash
from trajmake.engines.unshare import HINT, available, working_flags
from trajmake.errors import EngineUnavailableError


class NamespaceEngine(LocalEngine):
    """See :class:`trajmake.engines.base.Engine`, and :class:`LocalEngine` for the arguments."""

    name = "namespace"
    _unshare: tuple[str, ...] | None = None

    def version(self) -> str:
        """``namespace (util-linux <version>, Linux <release>)``.

        Raises:
            EngineUnavailableError: namespaces cannot be made here.
        """
        self._check()
        shown = subprocess.run(["unshare", "--version"], capture_output=True, text=True, check=False).stdout
        return f"namespace (util-linux {shown.split()[-1] if shown.split() else '?'}, Linux {os.uname().release})"

    def _command(self, folder: Path, wanted: Wanted, group: ControlGroup) -> list[str]:
        unshare = self._check()
        spec = {
            "scratch": str(folder),
            "rootfs": str(wanted.rootfs),
            "overlay": wanted.overlay,
            "mounts": [{"source": str(path), "target": at} for at, path in wanted.mounts.items()],
            "userxattr": "--user" in unshare,
            "hostname": HOSTNAME,
            "shared_memory": wanted.limits.shared_memory,
            "join": [str(place / "cgroup.procs") for place in group.folders],
            "rlimits": group.rlimits(wanted.limits),
            "env": wanted.env,
        }
        return [*unshare, "--", *entrance(folder, spec)]

    def _explain(self, wanted: Wanted, code: int, said: str) -> Exception | None:
        if code == inside.OVERLAY_REFUSED:
            return OverlayRefusedError(said)
        return no_bash(wanted.image_id, said) if code == inside.NO_BASH else None

    def _check(self) -> tuple[str, ...]:
        if self._unshare is None:
            usable, reason = available()
            flags = working_flags()[0] if usable else None
            if flags is None:
                raise EngineUnavailableError(f"The namespace engine cannot run here: {reason}.", HINT)
            self._unshare = ("unshare", *flags)
        return self._unshare

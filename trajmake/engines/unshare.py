"""Whether, and with which options, util-linux ``unshare`` can make containers here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

_UNSHARE = ("--mount", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc")
_AS_ROOT = ("--user", "--map-root-user")
HINT = (
    "As a user, allow user namespaces: sysctl -w user.max_user_namespaces=15000 "
    "(Debian 10: kernel.unprivileged_userns_clone=1; Ubuntu 24.04: kernel.apparmor_restrict_unprivileged_userns=0). "
    "Or start a Docker daemon."
)


def available() -> tuple[bool, str]:
    """Whether containers can be made here, and why (not); takes a few milliseconds."""
    if not sys.platform.startswith("linux"):
        return False, "namespaces are a feature of Linux"
    if shutil.which("unshare") is None:
        return False, "util-linux unshare is not installed"
    flags, reason = working_flags()
    if flags is None:
        return False, f"unshare is refused: {reason}"
    return True, "user namespaces are allowed" if "--user" in flags else "running as root"


def working_flags() -> tuple[tuple[str, ...] | None, str]:
    """Options of unshare that work here, the least privileged way root has no need of; else why not."""
    reason = ""
    for flags in ((), _AS_ROOT) if os.geteuid() == 0 else (_AS_ROOT,):
        probe = ["unshare", *flags, *_UNSHARE, "--mount-proc", "true"]
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return (*flags, *_UNSHARE), ""
        reason = done.stderr.strip() or f"exit code {done.returncode}"
    return None, reason

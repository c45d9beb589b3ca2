"""Containers of apptainer, for sites that allow neither a daemon nor user namespaces of one's own.

Where it is installed setuid, its root is an overlay over the unpacked image, if
apptainer finds fuse-overlayfs (it then mounts the kernel's all the same). Else it
is a copy (a reflink where the file system has them): in a user namespace
apptainer's overlay lacks ``userxattr``, without which ``rm -r`` and then
``mkdir`` of an image's folder fail.

Commands run as the user, with no capability: the image's files are all the
user's own. Not for root, who would own the machine's devices and settings in
there too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from trajmake.engines.cgroup import ControlGroup
from trajmake.engines.local import HOSTNAME, LocalEngine, OverlayRefusedError, Wanted, entrance, no_bash
from trajmake.errors import EngineUnavailableError

HINT = "Install apptainer and be a user other than root, or take another engine (docker, namespace)."
_OPTIONS = (
    *("--containall", "--cleanenv", "--no-eval", "--no-umask", "--no-init"),
    *("--no-home", "--no-mount", "home,cwd,tmp,sys,hostfs,bind-paths"),
    *("--net", "--network", "none", "--dns", "127.0.0.1", "--hostname", HOSTNAME, "--cwd", "/"),
)
_NO_PROGRAM = "executable file not found"
_NO_SETUID = 97
# root's overlay, that is, by the identity of all users
_SOUND = f"read -r _ _ count </proc/self/uid_map; [[ $count == 4294967295 ]] || exit {_NO_SETUID}"
# $1 and $2 are the limits of bash's ulimit, the rest the variables. bash is started twice, since what apptainer
# puts into the environment only goes with all of it.
_BECOME_BASH = f"""
for fd in /proc/self/fd/*; do fd=${{fd##*/}}; ((fd > 2)) && eval "exec $fd>&-"; done
[[ -s /etc/hosts || ! -d /etc ]] || printf '127.0.0.1\\tlocalhost {HOSTNAME}\\n' >/etc/hosts
[[ $1 == 0 ]] || ulimit -d "$1"
[[ $2 == 0 ]] || ulimit -u "$2"
exec -c "$BASH" --noprofile --norc -p -c 'export -- "$@"; exec -a bash "$BASH" --noprofile --norc -p' bash "${{@:3}}"
"""


class ApptainerEngine(LocalEngine):
    """See :class:`trajmake.engines.base.Engine`, and :class:`LocalEngine` for the arguments."""

    name = "apptainer"
    _program: tuple[str, ...] | None = None

    def version(self) -> str:
        """``apptainer (<version>, Linux <release>)``.

        Raises:
            EngineUnavailableError: it is not here, or starts no container for this user.
        """
        shown = subprocess.run([*self._check(), "--version"], capture_output=True, text=True, check=False).stdout
        return f"apptainer ({shown.split()[-1] if shown.split() else '?'}, Linux {os.uname().release})"

    def _check(self) -> tuple[str, ...]:
        if self._program is None:
            program = shutil.which("apptainer")
            reason = "it is not installed"
            if os.geteuid() == 0:
                reason = "it is not for root"
            elif program:
                reason = _trial(program)
            if reason or not program:
                raise EngineUnavailableError(f"The engine apptainer cannot run here: {reason}.", HINT)
            self._program = (program,)
        return self._program

    def _command(self, folder: Path, wanted: Wanted, group: ControlGroup) -> list[str]:
        root = ["--overlay", str(folder), str(wanted.rootfs)]
        if not wanted.overlay:
            root = ["--writable", str(folder / "merged")]
            try:
                for place in ("dev", "proc", *wanted.mounts):
                    mount_point(folder / "merged", place)
            except OSError as error:
                raise EngineUnavailableError(f"Container {wanted.name} cannot be started: {error}.") from None
        (folder / "shm").mkdir()
        lent = ["--bind", "/dev/full", *_bind(folder / "shm", "/dev/shm")]
        for at, path in wanted.mounts.items():
            lent += _bind(path, at, "ro")
        rlimits = group.rlimits(wanted.limits)
        memory = rlimits.get("RLIMIT_DATA", 0) >> 10
        processes = rlimits.get("RLIMIT_NPROC", 0)
        limits = [str(memory), str(processes + _processes() if processes else 0)]
        variables = [f"{name}={value}" for name, value in wanted.env.items()]
        script = (_SOUND if wanted.overlay else "") + _BECOME_BASH
        bash = ["bash", "--noprofile", "--norc", "-p", "-c", script, "bash", *limits, *variables]
        (program,) = self._check()
        spec = {
            "join": [str(place / "cgroup.procs") for place in group.folders],
            "command": [program, "--silent", "exec", *_OPTIONS, *lent, *root, *bash],
            "env": _environment(folder, wanted.env["PATH"]),
        }
        return entrance(folder, spec)

    def _explain(self, wanted: Wanted, code: int, said: str) -> Exception | None:
        if _NO_PROGRAM in said:
            return no_bash(wanted.image_id, said)
        if wanted.overlay and code == _NO_SETUID:
            return OverlayRefusedError("apptainer is not setuid")
        return OverlayRefusedError(said) if wanted.overlay and "overlay" in said else None


def mount_point(root: Path, path: str) -> None:
    """Make the folder that ``path`` is inside ``root``; links are followed as they will be there, never out of it."""
    place, todo, links = root, path.split("/"), 0
    while todo:
        step = place / todo.pop(0)
        if step.name == "..":
            place = root if place == root else place.parent
        elif step.is_symlink() and links < 40:
            target = os.readlink(step)
            place = root if target.startswith("/") else place
            todo = target.split("/") + todo
            links += 1
        else:
            step.mkdir(exist_ok=True)
            place = step


def _bind(source: Path, target: str, *options: str) -> list[str]:
    """Options for a folder of the host; CSV, in which a quoted field may hold a comma."""
    fields = ['"' + text.replace('"', '""') + '"' for text in (f"source={source}", f"destination={target}")]
    return ["--mount", ",".join(["type=bind", *fields, *options])]


def _environment(folder: Path, path: str) -> dict[str, str]:
    """What apptainer itself sees: nothing of the user's settings for it, and nothing is written to the user's home."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "APPTAINER_CONFIGDIR": str(folder / "config"),
        "APPTAINERENV_PATH": f"{path}:/usr/local/bin:/usr/bin:/bin",
    }


def _processes() -> int:
    """Processes and threads of this user: without a user namespace the limit counts them too."""
    count = 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if place.stat().st_uid == os.geteuid():
                count += len(os.listdir(place / "task"))
        except OSError:  # it has ended
            continue
    return count


def _trial(program: str) -> str:
    """Why no container can be started, or nothing: one without any program gets as far as looking for it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("root", "root/dev", "root/proc"):
            (folder / name).mkdir()
        command = [program, "--silent", "exec", *_OPTIONS, "--writable", str(folder / "root"), "none"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=60, env=_environment(folder, "/bin")
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    return "" if _NO_PROGRAM in done.stderr else f"{done.stderr.strip()[-500:] or f'exit code {done.returncode}'}"

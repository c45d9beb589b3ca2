"""First program of a container: builds its world, then becomes its bash, or what will build and become it.

Run as a script by the namespace engine under util-linux ``unshare``, in fresh
mount, pid, network, uts and ipc namespaces, as their root. Before apptainer it
only joins the control groups and sheds what it inherited. Imports the standard
library only: once the host's file system is gone nothing more can be imported.

The root is changed by pivot_root and the old root unmounted, so that unlike
after a chroot nothing of the host is left to escape to. /proc and the
capabilities are restricted as Docker does.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import struct
import sys
from typing import Any

OVERLAY_REFUSED = 97
NO_BASH = 96
SETUP_FAILED = 95

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_MOVE, _MS_REC = 32, 4096, 8192, 16384
_MS_NOATIME, _MS_NODIRATIME = 1024, 2048  # as statvfs gives them, too
_MNT_DETACH = 2
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
# The numbers of pivot_root and rt_sigaction.
SYSCALLS = {
    "x86_64": (155, 13),
    "aarch64": (41, 134),
    "ppc64le": (203, 173),
    "s390x": (217, 174),
    "riscv64": (41, 134),
    "armv7l": (218, 174),
}
# Docker's default capabilities without MKNOD, NET_BIND_SERVICE's numbers as in linux/capability.h.
_KEPT_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31}
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs")
_HIDDEN = ("kcore", "keys", "timer_list", "sched_debug", "latency_stats")
_HOSTS = "127.0.0.1\tlocalhost {name}\n::1\tlocalhost ip6-localhost ip6-loopback\n"

_libc = ctypes.CDLL(None, use_errno=True)


def main(spec: dict[str, Any]) -> None:
    """Build the container that ``spec`` describes and exec its bash; does not return."""
    for path in spec["join"]:
        with open(path, "w") as stream:
            stream.write("0")  # the writer itself
    if "command" in spec:  # another program builds the container
        _inherit_nothing()
        os.execve(spec["command"][0], spec["command"], spec["env"])
    os.setsid()
    os.chdir(spec["scratch"])
    if spec["overlay"]:
        _overlay(spec["rootfs"], spec["userxattr"])
    else:
        _mount("merged", "merged", None, _MS_BIND | _MS_REC)
    _dev(spec["shared_memory"])
    _lend(spec["mounts"])
    _proc()
    _loopback_up()
    socket.sethostname(spec["hostname"])
    os.chdir("merged")
    pivot_root, _ = SYSCALLS[os.uname().machine]
    _check(_libc.syscall(pivot_root, b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount of the old root")
    os.chdir("/")
    _place(spec["mounts"])
    _hosts(spec["hostname"])
    _limit(spec["rlimits"])
    _drop_privileges()
    _become_bash(spec["env"])


def _overlay(rootfs: str, userxattr: bool) -> None:
    # Bound to a plain name first: a path with a comma or a colon could not stand in the options.
    _mount(rootfs, "lower", None, _MS_BIND)
    options = "lowerdir=lower,upperdir=upper,workdir=work" + (",userxattr" if userxattr else "")
    try:
        _mount("overlay", "merged", "overlay", _MS_NODEV, options)
    except OSError as error:
        print(f"overlay: {error}", file=sys.stderr)
        sys.exit(OVERLAY_REFUSED)


def _proc() -> None:
    _real_folder("merged/proc")
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount("proc", "merged/proc", "proc", flags)
    for name in _READ_ONLY:
        path = f"merged/proc/{name}"
        if os.path.exists(path):
            _mount(path, path, None, _MS_BIND | _MS_REC)
            _mount("none", path, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | flags)
    for name in _HIDDEN:
        path = f"merged/proc/{name}"
        if os.path.exists(path):
            _mount("merged/dev/null", path, None, _MS_BIND)


def _dev(shared_memory: int) -> None:
    _real_folder("merged/dev")
    _mount("tmpfs", "merged/dev", "tmpfs", _MS_NOSUID, "mode=755,size=64k")
    for name in _DEVICES:
        _device(name)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"merged/dev/{name}")
    os.mkdir("merged/dev/pts")
    _mount("devpts", "merged/dev/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    os.mkdir("merged/dev/shm")
    _mount("shm", "merged/dev/shm", "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, f"mode=1777,size={shared_memory}")


def _device(name: str) -> None:
    """A node of our own: through a bound one, root's `chmod` in the container would change the machine's.

    Only root can make one; a user's container cannot change what it is lent.
    """
    path = f"merged/dev/{name}"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.stat(f"/dev/{name}").st_rdev)
    except PermissionError:
        with open(path, "x"):
            pass
        _mount(f"/dev/{name}", path, None, _MS_BIND)
    else:
        os.chmod(path, 0o666)  # mknod obeys the umask


def _lend(mounts: list[dict[str, str]]) -> None:
    """Bind folders of the host, read-only, to a place that is ours: an image's links could lead the way astray."""
    for number, mount in enumerate(mounts):
        place = f"merged/dev/.lent-{number}"
        os.mkdir(place)
        os.stat(mount["source"])  # names it where it is not there
        _mount(mount["source"], place, None, _MS_BIND)
        # Of its flags a user who is not root may take none away.
        kept = os.statvfs(place).f_flag & (_MS_NOEXEC | _MS_NOATIME | _MS_NODIRATIME)
        _mount("none", place, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | kept)


def _place(mounts: list[dict[str, str]]) -> None:
    """Move what was lent to where it is to be seen, now that every link ends inside."""
    for number, mount in enumerate(mounts):
        target = os.path.realpath(mount["target"])  # a link may lead to what is yet to be made
        os.makedirs(target, exist_ok=True)
        _mount(f"/dev/.lent-{number}", target, None, _MS_MOVE)
        os.rmdir(f"/dev/.lent-{number}")


def _real_folder(path: str) -> None:
    """Make ``path`` a folder: a symbolic link there would lead the mount out of the image."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        os.mkdir(path, 0o755)
        return
    if not stat.S_ISDIR(kind):
        os.unlink(path)
        os.mkdir(path, 0o755)


def _loopback_up() -> None:
    request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # struct ifreq: IFF_UP | IFF_RUNNING
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, request)  # SIOCSIFFLAGS


def _hosts(name: str) -> None:
    """Saved images have an empty /etc/hosts, or none: Docker mounts its own."""
    os.makedirs("/etc", exist_ok=True)
    if not os.path.exists("/etc/hosts") or os.path.getsize("/etc/hosts") == 0:
        with open("/etc/hosts", "w") as stream:
            stream.write(_HOSTS.format(name=name))


def _limit(rlimits: dict[str, int]) -> None:
    for name, value in rlimits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _drop_privileges() -> None:
    for capability in range(64):
        if capability not in _KEPT_CAPABILITIES:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails for those the kernel does not know
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def default_signals() -> None:
    """Handle every signal in the default way.

    What Python ignores, and what nohup or a shell made its job ignore, every child would too. By the system call,
    because glibc refuses 32 and 33, which its own posix_spawn leaves ignored in a child.
    """
    _, rt_sigaction = SYSCALLS[os.uname().machine]
    for signum in set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP}:
        _check(_libc.syscall(rt_sigaction, signum, bytes(32), None, ctypes.c_size_t(8)), f"signal {signum}")


def _inherit_nothing() -> None:
    default_signals()
    os.umask(0o022)
    os.closerange(3, 4096)


def _become_bash(env: dict[str, str]) -> None:
    _inherit_nothing()
    for folder in [*env["PATH"].split(":"), "/usr/local/bin", "/usr/bin", "/bin"]:
        path = os.path.join(folder or "/", "bash")
        if os.access(path, os.X_OK):
            try:
                os.execve(path, ["bash", "--noprofile", "--norc", "-p"], env)
            except OSError as error:  # no loader, wrong format
                print(f"{path}: {error}", file=sys.stderr)
                break
    sys.exit(NO_BASH)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    done = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    _check(done, f"mount of {target}")


def _check(done: int, what: str) -> None:
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    try:
        with open(sys.argv[1]) as _stream:
            _spec = json.load(_stream)
        main(_spec)
    except OSError as _error:
        print(_error, file=sys.stderr)
        sys.exit(SETUP_FAILED)

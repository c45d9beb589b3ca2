"""A Slurm cluster of the tests' own: a login host and nodes that share a kernel, ``shared/`` and little else.

Each host is a process tree with its own name, boot id, process ids and mounts: its own ``/etc/slurm``, containers,
leases of images and ``local/``. It sees ``shared/`` through a file system of its own, on which no host sees another's
``flock``. So a node dies as a machine does, with all that runs on it, and nothing outside is touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import ports

NODES = ("n1", "n2", "n3")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "unshare", "nsenter", "bindfs")
ACCOUNTANTS = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")
CONFIGURATION = """
ClusterName=tests
SlurmctldHost=login(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/spool/%n/pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/spool/%n/log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
SlurmdTimeout={patience}
SlurmctldTimeout=30
KillWait=5
MinJobAge=3000
ReturnToService=2
MpiDefault=none
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
{nodes}
PartitionName=all LLN=YES Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
ACCOUNTED = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge/socket
"""
ACCOUNTING = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost=localhost
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=accounting
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""
NODE = "NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=40000 Feature={name}"
# A host: its name and private places; the shell stays as its process 1, to take up orphans.
_HOST = """
set -e
hostname "$1"; private="$2"; folder="$3"; shift 3
mkdir -p "$private"
cat /proc/sys/kernel/random/uuid >"$private/boot_id"
mount --bind "$private/boot_id" /proc/sys/kernel/random/boot_id
mount --bind "$folder/etc" /etc/slurm
mount --bind "$folder/hosts" /etc/hosts
bindfs "$folder/shared" "$folder/shared"
for place; do mkdir -p "$private$place" "$place"; mount --bind "$private$place" "$place"; done
touch "$private/up"
while :; do sleep 1000 & wait; done
"""


def lacking(*, accounting: bool = False) -> str:
    """Why there can be none here; "" where there can."""
    if os.geteuid() != 0:
        return "a Slurm of our own needs root"
    lacks = [name for name in PROGRAMS + ACCOUNTANTS * accounting if not shutil.which(name)]
    return f"not installed: {', '.join(lacks)}" if lacks else ""


class Slurm:
    """The cluster; use it in a ``with``.

    Args:
        patience: Seconds after which a silent node is taken for dead.
        accounting: With slurmdbd and a MariaDB of its own.
    """

    def __init__(self, patience: int = 10, *, accounting: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tms-", dir="/var/tmp"))
        self.shared = self.folder / "shared"
        """The same folder on every host, and here."""
        self.local = self.folder / "local"
        """Another folder on each host."""
        self.ports = dict(zip(("", "dbd", *NODES), ports.free(2 + len(NODES)), strict=True))
        self.patience = patience
        self.accounting = accounting
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def on(self, host: str, *command: str, cwd: Path | str = "/") -> list[str]:
        """The command line that runs a command on a host."""
        pid = _children(self._processes[host].pid)[0]
        enter = ["nsenter", f"--target={pid}", "--mount", "--uts", "--pid", "--"]
        return [*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(cwd), *command]

    def ask(self, *command: str) -> str:
        """What a command says on the login host."""
        done = subprocess.run(self.on("login", *command), capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()

    def start_node(self, name: str) -> None:
        """Start a node, also one that died."""
        (self.folder / "spool" / name).mkdir(parents=True, exist_ok=True)
        self._start_host(name)
        self._start(f"slurmd-{name}", self.on(name, "slurmd", "-D", "-N", name))

    def kill_node(self, name: str) -> None:
        """As if its power went: the daemon, its jobs and their containers."""
        for process in (self._processes.pop(name), self._processes.pop(f"slurmd-{name}")):
            process.kill()
            process.wait()

    def kill_daemon(self, name: str) -> None:
        """``kill -9`` of a node's slurmd; its jobs go on, out of the scheduler's sight."""
        entered = self._processes[f"slurmd-{name}"]
        os.kill(_children(entered.pid)[0], signal.SIGKILL)
        entered.wait()

    def jobs(self, *more: str) -> list[list[str]]:
        """Id, state, node and comment (the rule) of all jobs that are known; ``more`` of squeue's fields."""
        fields = ["%i", "%T", "%N", "%k", *more]
        command = self.on("login", "squeue", "--states=all", "--noheader", f"--format={'|'.join(fields)}")
        for _ in range(5):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return [line.split("|") for line in done.stdout.splitlines()]
            time.sleep(1)  # the controller was too busy to answer
        raise AssertionError(done.stderr)

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:  # Ctrl-C too: no daemon may stay
            self._tear_down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tear_down()

    def _set_up(self) -> None:
        for name in ("etc", "state", "munge", "local", "shared"):
            (self.folder / name).mkdir(mode=0o755)
        self.folder.chmod(0o755)
        hosts = [f"127.0.0.1 {name}" for name in ("localhost", "login", *NODES, socket.gethostname())]
        (self.folder / "hosts").write_text("\n".join(hosts) + "\n")
        nodes = [NODE.format(name=name, port=self.ports[name]) for name in NODES]
        text = CONFIGURATION.format(
            folder=self.folder, port=self.ports[""], nodes="\n".join(nodes), patience=self.patience
        )
        text += ACCOUNTED.format(folder=self.folder, port=self.ports["dbd"]) * self.accounting
        (self.folder / "etc/slurm.conf").write_text(text)
        self._start("munged", self._munged())
        self._until(lambda: (self.folder / "munge/socket").exists(), "munged")
        self._start_host("login")
        if self.accounting:
            self._start_accounting()
        self._start("slurmctld", self.on("login", "slurmctld", "-D", "-c"))
        for name in NODES:
            self.start_node(name)
        self._until(lambda: self.ask("sinfo", "-h", "-o", "%D %t") == f"{len(NODES)} idle", "all nodes idle")

    def _start_accounting(self) -> None:
        data, place = self.folder / "mariadb", self.folder / "mariadb.sock"
        install = ["mariadb-install-db", f"--datadir={data}", "--user=root", "--auth-root-authentication-method=normal"]
        subprocess.run(install, check=True, capture_output=True)
        options = [f"--datadir={data}", f"--socket={place}", "--user=root", "--skip-networking"]
        self._start("mariadbd", ["mariadbd", "--no-defaults", *options, f"--pid-file={data}/pid"])
        self._until(place.exists, "mariadbd")
        file = self.folder / "etc/slurmdbd.conf"
        file.write_text(ACCOUNTING.format(folder=self.folder, port=self.ports["dbd"]))
        file.chmod(0o600)
        self._start("slurmdbd", self.on("login", "env", f"MYSQL_UNIX_PORT={place}", "slurmdbd", "-D"))
        add = ["sacctmgr", "-i", "add", "cluster", "tests"]
        self._until(lambda: "tests" in self.ask("sacctmgr", "-n", "list", "cluster") or not self.ask(*add), "slurmdbd")
        self.ask("sacctmgr", "-i", "add", "account", "mine", "cluster=tests")
        self.ask("sacctmgr", "-i", "add", "user", "root", "account=mine")

    def _munged(self) -> list[str]:
        place = self.folder / "munge"
        (place / "key").write_bytes(os.urandom(128))
        (place / "key").chmod(0o400)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        return ["munged", "--foreground", "--force", *(f"--{option}={place / file}" for option, file in files.items())]

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def _start_host(self, name: str) -> None:
        private = self.folder / "hosts.d" / name
        _remove_host(private)
        places = [str(self.local), "/tmp/trajmake-images", f"/tmp/trajmake-{os.geteuid()}"]
        unshare = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._start(name, [*unshare, "sh", "-c", _HOST, "sh", name, str(private), str(self.folder), *places])
        self._until((private / "up").exists, f"host {name}")

    def _until(self, true: object, what: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not true():  # type: ignore[operator]
            assert time.monotonic() < deadline, f"no {what} within {seconds:g} s:\n{self.account()}"
            time.sleep(0.2)

    def account(self) -> str:
        """The ends of all logs."""
        logs = [*self.folder.glob("*.out"), *self.folder.glob("*.log"), *self.folder.glob("spool/*/log")]
        return "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-1500:]}" for path in logs)

    def _tear_down(self) -> None:
        for name in [*NODES, "login", *self._processes]:  # what runs on a host goes with it
            if process := self._processes.get(name):
                process.kill()
                process.wait()
        for private in (self.folder / "hosts.d").glob("*"):
            _remove_host(private)
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_host(private: Path) -> None:
    """Remove what a dead host left: its places, and its control groups, which are the kernel's that hosts share."""
    if (boot := private / "boot_id").exists():
        for group in Path("/sys/fs/cgroup").glob(f"*/trajmake/*@{boot.read_text().strip()}@*"):
            with contextlib.suppress(OSError):
                group.rmdir()
    shutil.rmtree(private, ignore_errors=True)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


if __name__ == "__main__":  # a cluster to try things on: `python tests/slurm.py bash`
    with Slurm(accounting="ACCOUNTING" in os.environ) as cluster:
        sys.exit(subprocess.run(cluster.on("login", *sys.argv[1:] or ["bash"]), check=False).returncode)

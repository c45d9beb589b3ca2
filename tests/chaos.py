"""A session that is killed again and again, and must come out as if nobody had touched it: ``make chaos``.

Twelve small instances, two scripted models (one in the job's process, one behind a loopback server), once in peace
and once under fire: each round starts the same command, does it some harm, kills it at a random moment and looks at
what lies there. The seed decides what is done when. With root everything runs in mounts of its own, outputs on a
small tmpfs; ``--engine docker`` brings a daemon of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import small_instances
import yaml
from chaos_checks import Ledger, leftovers, same_results
from openai_server import Handler, OpenAIServer, answer_as, drop, fail, half
from own_daemon import OwnDaemon
from project import Project

from trajmake.llm.scripted import ScriptedProvider

SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
SESSION = "chaos"
ENDS = ("driver", "session", "session", "interrupt", "terminate")
OUTPUTS_MB = 700
_SCRIPTS = ".snakemake/scripts/"  # in the command line of a job


def script(number: int, seconds: float) -> list[dict[str, Any]]:
    """One in three does not solve its instance: verdicts must differ, or a mix-up could not be seen."""
    value = 2 if number % 3 == 2 else 1
    commands = [f"sleep {seconds}; cat value", f"sleep {seconds}; echo {value} > value; false", SUBMIT]
    return [{"thought": f"Step {n} of {number}.", "commands": [c]} for n, c in enumerate(commands, 1)]


class Provider:
    """The server's behaviour: the script of the instance that a request names, or ``trouble``."""

    def __init__(self, folder: Path) -> None:
        self.trouble = ""
        self.refusals = 0
        self._scripts = {path.stem: answer_as(ScriptedProvider(path, model="loopback-1")) for path in folder.iterdir()}

    def __call__(self, handler: Handler, body: dict[str, Any]) -> None:
        if self.trouble:
            self.refusals += 1
            bad = [drop(), half(), fail(502)] if self.trouble == "down" else [fail(401, "No such key.")]
            return bad[self.refusals % len(bad)](handler, body)
        text = json.dumps(body["messages"])
        return next(behaviour for name, behaviour in self._scripts.items() if name in text)(handler, body)


class Chaos:
    """The session under fire.

    Args:
        project: A copy of the project, configured.
        seed: Decides everything that is not the machine's doing.
    """

    def __init__(self, project: Project, provider: Provider, daemon: OwnDaemon | None, seed: int) -> None:
        self.project, self.provider, self.daemon = project, provider, daemon
        self.random = random.Random(seed)
        self.mark = f"CHAOS_{os.getpid()}"
        self.done: Counter[str] = Counter()
        self.ledger = Ledger(project)
        self.driver: subprocess.Popen[bytes] | None = None
        self.on_tmpfs = os.path.ismount(project.root / "outputs")
        self.log = (project.root / "chaos.log").open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.driver and self.driver.poll() is None:
            os.killpg(self.driver.pid, signal.SIGKILL)

    def start(self) -> None:
        """The same command, in a process group of its own."""
        command = self.project.command("-j", "4", "--profile", "parallel")
        self.log.write(f"\n=== round {self.done['resumes']}\n".encode())
        self.log.flush()
        self.driver = subprocess.Popen(
            command,
            cwd=self.project.root,
            env=self.project.environment(**{self.mark: "1"}),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.done["resumes"] += 1

    def round(self, longest: float) -> bool:
        """Start, harm, kill, look; True where the session was complete before its kill."""
        self.start()
        assert self.driver is not None
        if self.random.random() < 0.8:  # else also while the graph is built
            self._until_a_job()
        self._pause(self.random.uniform(0, longest))
        if self.driver.poll() is None and self.random.random() < 0.7:
            harm = self.random.choice(
                [self.job, self.job, self.container, self.container, self.restart, self.full, self.fail]
            )
            harm()
            self._pause(self.random.uniform(0, longest / 2))
        finished = self.driver.poll() is not None
        if not finished:
            self.end(self.random.choice(ENDS))
        self.ledger.look()
        return finished and self.driver.returncode == 0

    def finish(self) -> None:
        """Undisturbed now, the same command must come to an end; faults are repeated by the next."""
        for _ in range(4):
            self.start()
            assert self.driver is not None
            code = self.driver.wait(timeout=1200)
            self.ledger.look()
            if code == 0:
                return
        raise AssertionError(f"the session does not come to an end: {self.log.name}")

    def end(self, how: str) -> None:
        assert self.driver is not None
        self.done[f"{how} killed" if how in ("driver", "session") else f"driver {how.removesuffix('e')}ed"] += 1
        sent = {"interrupt": signal.SIGINT, "terminate": signal.SIGTERM}.get(how, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            if how in ("driver", "terminate"):
                self.driver.send_signal(sent)
            else:
                os.killpg(self.driver.pid, sent)
        self.driver.wait(timeout=300)

    def job(self) -> None:
        """``kill -9`` of a job."""
        jobs = [pid for pid, line in self._processes() if _SCRIPTS in line]
        if jobs:
            self._kill(self.random.choice(jobs), "job")

    def container(self) -> None:
        """``kill -9`` of a container's first process."""
        if self.daemon:
            found = self.daemon.ask("ps", "-q").split()
            pids = [self.daemon.ask("inspect", "-f", "{{.State.Pid}}", name) for name in found]
        else:
            supervisors = [pid for pid, line in self._processes() if line.startswith("unshare")]
            pids = [c for pid in supervisors for c in _children(pid)]
        if pids := [pid for pid in pids if pid not in ("", "0")]:
            self._kill(self.random.choice(pids), "container")

    def restart(self) -> None:
        """``kill -9`` of the daemon, which comes back."""
        if self.daemon:
            self.daemon.kill()
            time.sleep(self.random.uniform(0, 4))
            self.daemon.start()
            self.done["daemon killed"] += 1

    def full(self) -> None:
        """Not a byte left where the outputs lie, for some seconds."""
        if self.on_tmpfs:
            ballast = self.project.root / "outputs" / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
                while True:
                    stream.write(bytes(1 << 16))
            time.sleep(self.random.uniform(0.5, 4))
            ballast.unlink(missing_ok=True)
            self.done["disk full"] += 1

    def fail(self) -> None:
        """The provider is down, or refuses the key, until a request has met that, and for some seconds."""
        assert self.driver is not None
        before, deadline = self.provider.refusals, time.monotonic() + 30
        self.provider.trouble = self.random.choice(["down", "refused"])
        self.done[f"provider {self.provider.trouble}"] += 1
        while self.provider.refusals == before and self.driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        self._pause(self.random.uniform(0, 3))
        self.provider.trouble = ""

    def _kill(self, pid: str, what: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
            self.done[f"{what} killed"] += 1

    def _processes(self) -> list[tuple[str, str]]:
        return marked(self.mark)

    def _until_a_job(self) -> None:
        assert self.driver is not None
        while self.driver.poll() is None and not any(_SCRIPTS in line for _, line in self._processes()):
            time.sleep(0.2)

    def _pause(self, seconds: float) -> None:
        assert self.driver is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.driver.wait(seconds)


def marked(mark: str) -> list[tuple[str, str]]:
    """Process id and command line of what inherited the mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (entry / "environ").read_bytes():
                found.append((entry.name, (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()))
    return found


def _children(pid: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def make(folder: Path, name: str, data: Path, url: str, engine: str) -> Project:
    """A project with both models."""
    project = Project.make(folder / name, data, folder / f"store-{name}")
    catalog = {
        "inside": {"provider": "scripted", "replies": str(folder / "replies"), "prices": {"input": 1, "output": 5}},
        "served": {
            "model": "openai/loopback-1",
            "api_key_env": "LOOPBACK_KEY",
            "base_url": url,
            "prices": {"input": 1, "output": 5},
        },
    }
    project.configure(session=SESSION, engine=engine, models=list(catalog), catalog=catalog)
    temporary = project.root / "tmp"
    temporary.mkdir()
    project.environ |= {"LOOPBACK_KEY": "sk-0", "PYTHONDONTWRITEBYTECODE": "", "TMPDIR": str(temporary)}
    return project


def run(
    folder: Path, engine: str, kills: int, instances: int, seed: int, longest: float, daemon: OwnDaemon | None
) -> int:
    """The whole of it; gives the exit code, 0 where nothing was found."""
    data = folder / "data"
    (data / "images").mkdir(parents=True)
    (folder / "replies").mkdir()
    images = small_instances.make(folder / "made", -(-instances // 3))  # three instances of one image
    rows = [row | {"instance_id": f"{row['instance_id']}-{n}"} for row in images for n in range(3)][:instances]
    for number, row in enumerate(rows):
        # The request must tell which instance it is about.
        row["problem_statement"] += f" ({row['instance_id']})"
        (folder / "replies" / f"{row['instance_id']}.yaml").write_text(yaml.safe_dump(script(number, 0.3)))
    small_instances.write(rows, data / "instances.jsonl")
    provider = Provider(folder / "replies")
    with OpenAIServer(provider) as server, contextlib.ExitStack() as stack:
        peace, project = (make(folder, name, data, server.url, engine) for name in ("peace", "fire"))
        began = time.monotonic()
        done = peace.snakemake("-j", "4", "--profile", "parallel")
        assert done.returncode == 0, done.stdout
        longest = longest or 6 + (time.monotonic() - began) / 12
        print(f"undisturbed: {time.monotonic() - began:.0f} s; a kill within {longest:.0f} s", flush=True)
        asked = len(server.requests)
        if os.geteuid() == 0:
            (project.root / "outputs").mkdir()
            options = f"size={OUTPUTS_MB}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", project.root / "outputs"], check=True)
            stack.callback(subprocess.run, ["umount", "--lazy", project.root / "outputs"], check=True)
        chaos = stack.enter_context(Chaos(project, provider, daemon, seed))
        for number in range(1, kills + 1):
            complete = chaos.round(longest)
            print(f"round {number}: {chaos.ledger}{' complete' if complete else ''}", flush=True)
            if complete:
                chaos.done["complete sessions"] += 1
                chaos.ledger.problems += same_results(peace, project, chaos.ledger.gone)
                chaos.ledger.renew()
        chaos.finish()
        chaos.driver = None
        clean(project)
        found = [*chaos.ledger.problems, *same_results(peace, project, chaos.ledger.gone)]
        left = leftovers(project, chaos.mark, daemon, patience=15)
        table(chaos, seed, len(server.requests) - asked, left, time.monotonic() - began)
    for line in [*found, *(f"left over: {thing}" for thing in left)]:
        print(f"PROBLEM {line}")
    print(f"seed {seed}: {'nothing lost, nothing repeated' if not found and not left else 'SEE ABOVE'}")
    return 1 if found or left else 0


def clean(project: Project) -> None:
    """``trajmake clean``: nothing of what was killed is to be left after it."""
    command = [sys.executable, "-c", "from trajmake.cli import main; main()", "clean"]
    done = subprocess.run(
        command, cwd=project.root, env=project.environment(), capture_output=True, text=True, check=True
    )
    print(f"trajmake clean: {done.stdout.splitlines()[-1]}", flush=True)


def table(chaos: Chaos, seed: int, requests: int, left: list[str], seconds: float) -> None:
    """What was done to the session, and what came of it."""
    ledger = chaos.ledger
    rows = {f"{what}": count for what, count in sorted(chaos.done.items()) if what != "resumes"}
    refused = chaos.provider.refusals
    rows |= {"resumes": chaos.done["resumes"], "requests refused, cut or dropped by the provider": refused}
    rows |= {"requests that it answered": requests - refused, "answers bought": ledger.bought}
    rows |= {"answers lost between provider and disk": ledger.gone}
    rows |= {"answers bought twice": ledger.twice, "finished work lost or repeated": ledger.lost}
    rows |= {"leftovers": len(left), "empty folders of Snakemakes killed before they read anything": ledger.unread()}
    rows |= {"minutes": round(seconds / 60)}
    print("\n| | |\n|---|---|\n" + "\n".join(f"| {what} | {count} |" for what, count in rows.items()), flush=True)


def main() -> int:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["docker", "namespace"], default="docker")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--instances", type=int, default=12)
    parser.add_argument(
        "--longest",
        type=float,
        default=0,
        help="seconds until a kill, at most (default: by how long the session takes in peace)",
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--folder", type=Path, help="where to work; kept (default: a temporary one)")
    given = parser.parse_args()
    if os.geteuid() == 0 and not os.environ.get("CHAOS_MOUNTS"):  # mounts that go with us
        command = ["unshare", "--mount", sys.executable, *sys.argv]
        os.execvpe("unshare", command, {**os.environ, "CHAOS_MOUNTS": "private"})
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a job in the background has it ignored, and so would ours
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the daemon goes with us
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trajmake-chaos-")))
        folder.mkdir(parents=True, exist_ok=True)
        daemon = stack.enter_context(OwnDaemon()) if given.engine == "docker" else None
        if daemon:
            os.environ["DOCKER_HOST"] = daemon.url
        print(f"engine {given.engine}, seed {given.seed}", flush=True)
        chosen = (given.engine, given.kills, given.instances, given.seed, given.longest)
        return run(folder.absolute(), *chosen, daemon)


if __name__ == "__main__":
    sys.exit(main())

"""``trajmake check-host``: on this host, and over a real sshd on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ports
import pytest
from project import Project
from test_images_workflow import engine_or_skip

from trajmake.engines import select
from trajmake.images.space import mark

KEY = "sk-never-printed-0123456789"
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.fixture
def ready(project, store) -> Project:
    """A project that can run: without Docker, with a model that needs a key."""
    engine_or_skip("namespace", store)
    catalog = {"served": {"model": "openai/some", "api_key_env": "LOOPBACK_ACCESS", "base_url": "http://127.0.0.1:9"}}
    project.configure(engine="namespace", models=["served"], catalog=catalog)
    project.environ["LOOPBACK_ACCESS"] = KEY
    return project


def check_host(project: Project, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from trajmake.cli import main; main()", "check-host", *arguments],
        cwd=project.root,
        env=project.environment(**environ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def states(report: dict[str, Any]) -> dict[str, str]:
    return {check["check"]: check["state"] for check in report["checks"]}


def test_a_host_that_is_ready_and_one_that_is_not(ready) -> None:
    """The exit code is for scripts, the sentence for people; a key's value is for nobody."""
    done = check_host(ready, "--json", "--free-gb", "0.1")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] and set(states(told["hosts"][0]).values()) == {"ok"}
    assert {"python", "packages", "project", "configuration", "engine", "disk", "keys", "s3", "runs"} == set(
        states(told["hosts"][0])
    )
    bad = check_host(ready, "--json", "--free-gb", "1e9", LOOPBACK_ACCESS="")
    assert bad.returncode == 1
    found = states(json.loads(bad.stdout)["hosts"][0])
    assert {name for name, state in found.items() if state == "bad"} == {"disk", "keys"}
    table = check_host(ready, "--free-gb", "0.1")
    assert "set: LOOPBACK_ACCESS" in table.stdout
    assert KEY not in done.stdout + bad.stdout + table.stdout


def test_a_container_is_really_started(ready, demo_data, store) -> None:
    """A daemon that answers may still be unable to start anything."""
    engine = select("namespace", store=store)
    image = engine.load(next((demo_data / "images").glob("*.tar")))
    engine.tag(image.id, [mark(image.id)])  # ours
    done = check_host(ready, "--json", "--free-gb", "0.1")
    (said,) = [check for check in json.loads(done.stdout)["hosts"][0]["checks"] if check["check"] == "engine"]
    assert said["state"] == "ok" and said["said"].endswith("a container runs")
    with contextlib.ExitStack() as back:  # of all images: those of other tests may be there
        for root in list(store.glob("*/rootfs")):
            back.callback(root.rename(root.with_name("elsewhere")).rename, root)
        done = check_host(ready, "--json", "--free-gb", "0.1")
    assert done.returncode == 1 and states(json.loads(done.stdout)["hosts"][0])["engine"] == "bad"


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[str]:
    """A real sshd on loopback; gives the ssh command that reaches it."""
    if not SSHD:
        pytest.skip("sshd is not installed")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (port,) = ports.free()
    config = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "SetEnv": f"LOOPBACK_ACCESS={KEY}",
    }
    (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        deadline = time.monotonic() + 60
        while "listening" not in (folder / "sshd.log").read_text():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "sshd.log").read_text()
            time.sleep(0.05)
        options = {"Port": port, "IdentityFile": folder / "user", "StrictHostKeyChecking": "no"}
        options |= {"UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR"}
        yield " ".join(["ssh", "-F", "none", *(f"-o {key}={value}" for key, value in options.items())])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def test_many_hosts_are_compared_with_this_one(ready, tmp_path) -> None:
    """Ten machines, one of them with last week's checkout: the evaluation that nobody could explain."""
    other = ready.copy(tmp_path / "other").root
    (other / "trajmake/diffs.py").write_text((other / "trajmake/diffs.py").read_text() + "\n# last week's\n")
    (other / ".venv").symlink_to(Path(sys.prefix))
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1  # the same\n\n127.0.0.1 {other}\nhost.invalid\n")
    with sshd(tmp_path) as ssh:
        arguments = ["--hosts", str(hosts), "--ssh", ssh, "--free-gb", "0.1"]
        done = check_host(ready, "--json", *arguments)
        table = check_host(ready, *arguments)
    assert done.returncode == table.returncode == 1, done.stderr
    here, same, changed, silent = json.loads(done.stdout)["hosts"]
    assert set(states(here).values()) == {"ok"}
    assert {name for name, state in states(same).items() if state != "ok"} == set(), same
    assert {name for name, state in states(changed).items() if state != "ok"} == {"project"}
    assert states(silent) == {"ssh": "bad"}
    assert "sources unlike here" in table.stdout and "host.invalid, ssh: " in table.stdout
    assert KEY not in done.stdout + table.stdout

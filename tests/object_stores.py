"""Real servers for image tests, on loopback: moto's S3, OpenStack Swift's S3, a Docker registry.

None is written here. Each is a context manager that gives an address, and ends
what it has started.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ports
import pytest

SWIFT = ("swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server", "memcached")
KEYS = {"AWS_ACCESS_KEY_ID": "test:tester", "AWS_SECRET_ACCESS_KEY": "testing"}


@dataclass(frozen=True)
class Store:
    """A server of objects: its address, and who may write to it."""

    endpoint: str
    keys: Mapping[str, str] = field(default_factory=lambda: dict(KEYS))

    @property
    def settings(self) -> dict[str, str]:
        """``images.s3`` for it."""
        return {"endpoint": self.endpoint, "region": "us-east-1"}

    def client(self):
        import boto3
        from botocore.config import Config

        config = Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"],
            config=config,
        )


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[Store]:
    """moto's server; it takes any credentials."""
    (port,) = ports.free()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, folder / "moto.log"):
        _wait(port)
        yield Store(f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def or_skip(kind: str, folder: Path) -> Iterator[Store]:
    """``moto`` or ``swift``, and its keys in the environment; the test is skipped by name where it cannot run."""
    if why := {"moto": without_moto, "swift": without_swift}[kind]():
        pytest.skip(f"{kind}: {why}")
    with pytest.MonkeyPatch.context() as patch, {"moto": moto, "swift": swift}[kind](folder) as server:
        for name, value in server.keys.items():
            patch.setenv(name, value)
        yield server


def without_moto() -> str:
    """Why moto cannot be started; "" where it can."""
    return "" if importlib.util.find_spec("moto") and importlib.util.find_spec("flask") else "moto[server] is missing"


def without_swift() -> str:
    """Why Swift cannot be started; "" where it can."""
    missing = [name for name in SWIFT if not shutil.which(name)]
    if missing:
        return (
            f"{missing[0]} is not installed (Debian: swift-proxy swift-account swift-container swift-object memcached)"
        )
    return "" if os.geteuid() == 0 or shutil.which("swift-ring-builder") else "swift-ring-builder is missing"


@contextlib.contextmanager
def swift(folder: Path, address: str = "127.0.0.1", within: Sequence[str] = ()) -> Iterator[Store]:
    """OpenStack Swift with s3api and tempauth: persistent, checks signatures.

    ``within`` goes before its commands, for a network of its own that has ``address``.
    """
    names = ("proxy", "account", "container", "object", "memcached")
    at = dict(zip(names, ports.free(len(names)), strict=True))
    _swift_files(folder, at, address)
    commands = {name: [*within, f"swift-{name}-server", str(folder / f"{name}.conf")] for name in names[:4]}
    user = ["-u", "root"] if os.geteuid() == 0 else []
    commands["memcached"] = [*within, "memcached", "-l", "127.0.0.1", "-p", str(at["memcached"]), *user]
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            stack.enter_context(_running(command, folder / f"{name}.log"))
        for name, port in at.items():
            if not within or name == "proxy":  # the others are seen from inside alone
                _wait(port, address)
        yield Store(f"http://{address}:{at['proxy']}")


def _swift_files(folder: Path, at: Mapping[str, int], address: str) -> None:
    for name in ("account", "container", "object"):
        (folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
        builder = f"{name}.builder"
        device = f"r1z1-127.0.0.1:{at[name]}/d1"
        for arguments in (["create", "4", "1", "0"], ["add", device, "1"], ["rebalance"]):
            subprocess.run(["swift-ring-builder", builder, *arguments], cwd=folder, check=True, capture_output=True)
        (folder / f"{name}.conf").write_text(
            f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {at[name]}\nworkers = 1\nswift_dir = {folder}\n"
            f"devices = {folder}/devices\nmount_check = false\nuser = {_user()}\nlog_level = WARNING\n"
            f"[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n"
            "fallocate_reserve = 0\n"
        )
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n")
    pipeline = "catch_errors proxy-logging cache s3api tempauth bulk slo dlo proxy-logging proxy-server"
    filters = {
        "catch_errors": "use = egg:swift#catch_errors",
        "proxy-logging": "use = egg:swift#proxy_logging",
        "cache": f"use = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{at['memcached']}",
        "s3api": "use = egg:swift#s3api\ns3_acl = false\nlocation = us-east-1\ndns_compliant_bucket_names = false",
        "tempauth": "use = egg:swift#tempauth\nuser_test_tester = testing .admin",
        "bulk": "use = egg:swift#bulk",
        "slo": "use = egg:swift#slo",
        "dlo": "use = egg:swift#dlo",
    }
    (folder / "proxy.conf").write_text(
        f"[DEFAULT]\nbind_ip = {address}\nbind_port = {at['proxy']}\nworkers = 2\nswift_dir = {folder}\n"
        f"user = {_user()}\nlog_level = WARNING\n[pipeline:main]\npipeline = {pipeline}\n"
        "[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true\n"
        + "".join(f"[filter:{name}]\n{text}\n" for name, text in filters.items())
    )


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def without_registry() -> str:
    """Why no registry can be started; "" where it can."""
    return "" if shutil.which("docker-registry") else "docker-registry is not installed (Debian: docker-registry)"


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A registry of Docker's own distribution; gives ``127.0.0.1:PORT``, which daemons take without TLS."""
    (port,) = ports.free()
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with _running(["docker-registry", "serve", str(config)], folder / "registry.log"):
        _wait(port)
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=log.parent, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _wait(port: int, address: str = "127.0.0.1") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


def gone(address: str) -> bool:
    """Whether nobody answers there."""
    try:
        urllib.request.urlopen(address, timeout=2)
    except OSError:
        return True
    return False

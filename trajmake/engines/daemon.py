"""Who speaks Docker's API at an address, asked over its socket in a millisecond, without the SDK."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT = "unix:///var/run/docker.sock"
_REQUEST = b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n"


@dataclass(frozen=True)
class Daemon:
    """What speaks Docker's API, and how messages call it.

    Attributes:
        name: As the subject of a sentence, after "the".
        url: Where it answers.
        start: What to do where it does not.
        prune: The command that makes room.
        client: Its command line client.
    """

    name: str
    url: str
    start: str
    prune: str
    client: str


def docker_daemon() -> Daemon:
    """The Docker daemon of ``DOCKER_HOST``, or of the default socket."""
    start = "Start it (`systemctl start docker`, or `dockerd` as root), or set DOCKER_HOST, or use engine: namespace."
    url = os.environ.get("DOCKER_HOST") or _DEFAULT
    return Daemon("Docker daemon", url, start, "docker system prune", "docker")


def ping(url: str, name: str = "Docker daemon", timeout: float = 2.0) -> tuple[str, str]:
    """The version of what answers as ``name``, or "" and why there is none.

    ``/_ping``, because podman asks the package manager for its version's sake, which takes seconds.
    """
    try:
        if os.environ.get("DOCKER_TLS_VERIFY") and url.startswith("tcp"):
            _connect(url, timeout).close()  # the SDK, which has the certificates, will ask for more
            return "over TLS", ""
        with _connect(url, timeout) as connection:
            connection.sendall(_REQUEST)
            answer = b""
            while block := connection.recv(65536):
                answer += block
        status, _, fields = answer.decode("latin-1").partition("\r\n")
        said = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in fields.splitlines())}
        if " 200 " not in f"{status} " or "api-version" not in said:
            return "", f"what listens at {url} is no {name}"
        return said.get("server", "").partition("/")[2].split(" ")[0] or f"API {said['api-version']}", ""
    except PermissionError:
        return "", f"this user may not use the {name} at {url}"
    except (OSError, ValueError) as error:
        return "", f"no {name} answers at {url} ({error})"


def _connect(url: str, timeout: float) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(parts.path)
        except OSError:
            connection.close()
            raise
        return connection
    if parts.scheme in ("tcp", "http", "https"):
        return socket.create_connection((parts.hostname or "localhost", parts.port or 2375), timeout)
    raise ValueError(f"{parts.scheme or url}: only unix and tcp are known")

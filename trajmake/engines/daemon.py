"""Is there a Docker daemon? Asked over its socket in a millisecond, without the SDK."""

from __future__ import annotations

import json
import os
import socket
from urllib.parse import urlsplit

_DEFAULT = "unix:///var/run/docker.sock"
_REQUEST = b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n"


def daemon_url() -> str:
    """``DOCKER_HOST``, or the default socket."""
    return os.environ.get("DOCKER_HOST") or _DEFAULT


def ping(url: str, timeout: float = 2.0) -> tuple[str, str]:
    """The daemon's version, or "" and why there is none."""
    try:
        if os.environ.get("DOCKER_TLS_VERIFY") and url.startswith("tcp"):
            _connect(url, timeout).close()  # the SDK, which has the certificates, will ask for more
            return "over TLS", ""
        with _connect(url, timeout) as connection:
            connection.sendall(_REQUEST)
            answer = b""
            while block := connection.recv(65536):
                answer += block
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.splitlines()[0] + b" ":
            return "", f"what listens at {url} is no Docker daemon"
        return str(json.loads(body)["Version"]), ""
    except PermissionError:
        return "", f"this user may not use the Docker daemon at {url} (group docker)"
    except (OSError, ValueError, KeyError, IndexError) as error:
        return "", f"no Docker daemon answers at {url} ({error})"


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

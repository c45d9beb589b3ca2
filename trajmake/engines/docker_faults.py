"""A Docker daemon's errors, by our names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trajmake.errors import (
    DiskFullError,
    EngineAwayError,
    EngineUnavailableError,
    EnvironmentBrokenError,
    ImageBrokenError,
    TrajmakeError,
)

if TYPE_CHECKING:
    from docker.errors import APIError

START_HINT = "Start it (`systemctl start docker`, or `dockerd` as root), or set DOCKER_HOST, or use engine: namespace."

_AWAY = re.compile(
    "shutting down|transport is closing|connection (refused|reset|error)|closed network|context canceled|ttrpc: closed",
    re.IGNORECASE,
)  # what a daemon that is going down says of its own parts


def load_error(tarball: Path | str, message: str) -> TrajmakeError:
    """What a daemon that refused an archive means."""
    if _AWAY.search(message):
        return EngineAwayError(f"The Docker daemon went away while it loaded {tarball}: {message}", START_HINT)
    if "no space left" in message.lower():
        return DiskFullError(f"No space left while the Docker daemon loaded {tarball}.", "docker system prune")
    return ImageBrokenError(f"The Docker daemon refuses {tarball}: {message}", "Fetch the image again.")


def is_going(error: APIError) -> bool:
    """Whether a container cannot be removed because it ends, or is being removed, at this moment."""
    return error.status_code == 409 or "is not running" in str(error.explanation)


@contextlib.contextmanager
def faults(thing: str) -> Iterator[None]:
    """Turn the SDK's errors in a block about ``thing`` into ours."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as error:
        text = str(error.explanation or error)
        if "no space left" in text.lower():
            message = f"{thing}: no space left where the Docker daemon keeps its data."
            raise DiskFullError(message, "docker system prune") from error
        if "executable file not found" in text or '"bash"' in text:
            message = f"{thing}: the image has no bash."
            raise EnvironmentBrokenError(message, "Install bash and coreutils in the image.") from error
        kind = EngineAwayError if _AWAY.search(text) else EngineUnavailableError
        raise kind(f"{thing}: the Docker daemon says: {text}") from error
    except (DockerException, RequestException, HTTPError, ConnectionError) as error:
        raise EngineAwayError(f"{thing}: the Docker daemon does not answer ({error}).", START_HINT) from error

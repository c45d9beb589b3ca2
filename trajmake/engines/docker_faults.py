"""The errors of a daemon with Docker's API, by our names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trajmake.engines.daemon import Daemon
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

_AWAY = re.compile(
    "shutting down|transport is closing|connection (refused|reset|error)|closed network|context canceled|ttrpc: closed",
    re.IGNORECASE,
)  # what a daemon that is going down says of its own parts


def load_error(daemon: Daemon, tarball: Path | str, message: str) -> TrajmakeError:
    """What a daemon that refused an archive means."""
    if _AWAY.search(message):
        return EngineAwayError(f"The {daemon.name} went away while it loaded {tarball}: {message}", daemon.start)
    if "no space left" in message.lower():
        return DiskFullError(f"No space left while the {daemon.name} loaded {tarball}.", daemon.prune)
    return ImageBrokenError(f"The {daemon.name} refuses {tarball}: {message}", "Fetch the image again.")


def is_going(error: APIError) -> bool:
    """Whether a container cannot be removed because it ends, or is being removed, at this moment."""
    said = str(error.explanation)
    return error.status_code == 409 or "is not running" in said or "container state improper" in said


@contextlib.contextmanager
def faults(daemon: Daemon, thing: str) -> Iterator[None]:
    """Turn the SDK's errors in a block about ``thing`` into ours."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as error:
        text = str(error.explanation or error)
        if "no space left" in text.lower():
            message = f"{thing}: no space left where the {daemon.name} keeps its data."
            raise DiskFullError(message, daemon.prune) from error
        if "executable file not found" in text or '"bash"' in text:
            message = f"{thing}: the image has no bash."
            raise EnvironmentBrokenError(message, "Install bash and coreutils in the image.") from error
        kind = EngineAwayError if _AWAY.search(text) else EngineUnavailableError
        raise kind(f"{thing}: the {daemon.name} says: {text}") from error
    except (DockerException, RequestException, HTTPError, ConnectionError) as error:
        raise EngineAwayError(f"{thing}: the {daemon.name} does not answer ({error}).", daemon.start) from error

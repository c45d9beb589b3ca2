"""A Docker daemon's errors, by our names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from trajmake.errors import (
    DiskFullError,
    EngineUnavailableError,
    EnvironmentBrokenError,
    ImageBrokenError,
    TrajmakeError,
)

START_HINT = "Start it (`systemctl start docker`, or `dockerd` as root), or set DOCKER_HOST, or use engine: namespace."


def load_error(tarball: Path | str, message: str) -> TrajmakeError:
    """What a daemon that refused an archive means."""
    if "no space left" in message.lower():
        return DiskFullError(f"No space left while the Docker daemon loaded {tarball}.", "docker system prune")
    return ImageBrokenError(f"The Docker daemon refuses {tarball}: {message}", "Fetch the image again.")


@contextlib.contextmanager
def faults(thing: str) -> Iterator[None]:
    """Turn the SDK's errors in a block about ``thing`` into ours."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

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
        raise EngineUnavailableError(f"{thing}: the Docker daemon says: {text}") from error
    except (DockerException, RequestException) as error:
        raise EngineUnavailableError(f"{thing}: the Docker daemon does not answer ({error}).", START_HINT) from error

"""Where images come from: one module per kind of URI, one line in the table."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from trajmake.errors import ConfigError
from trajmake.images.sources.base import LocalFile, Reference, Remote, Source
from trajmake.settings import ImageSettings

__all__ = ["SOURCES", "LocalFile", "Reference", "Remote", "Source", "locate"]

SOURCES = {
    "s3": "trajmake.images.sources.s3",
    "http": "trajmake.images.sources.http",
    "https": "trajmake.images.sources.http",
    "file": "trajmake.images.sources.local",
    "registry": "trajmake.images.sources.registry",
}
"""Kind of URI → module whose ``locate(uri, options)`` looks it up. Loaded when needed: boto3 takes half a second."""

_REFERENCE = re.compile(
    r"([a-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?", re.ASCII
)


def kind(uri: str) -> str:
    """The kind of a URI: a key of :data:`SOURCES`, or a scheme that is not known."""
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri):
        return scheme[1].lower()
    named_file = uri.endswith((".tar", ".tar.gz", ".tgz", ".tar.zst")) or uri.startswith(("/", "."))
    named_file = named_file or Path(uri).is_file()
    return "registry" if not named_file and _REFERENCE.fullmatch(uri) else "file"


def locate(uri: str, options: ImageSettings) -> Source:
    """Look up what a URI leads to; nothing is downloaded.

    Raises:
        ConfigError: a kind of URI that is not known.
        ImageMissingError: the source does not hold it, does not give it, or cannot be reached.
    """
    found = kind(uri)
    if found not in SOURCES:
        raise ConfigError(
            f"The image {uri} has a source of the kind {found!r}, which is not known.",
            f"Known kinds: {', '.join(SOURCES)}. Save the image with `docker save` and name the file.",
        )
    module = import_module(SOURCES[found])
    return cast(Callable[[str, ImageSettings], Source], module.locate)(uri, options)

"""Archives on this machine: a path, or a ``file://`` address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from trajmake.errors import ImageMissingError
from trajmake.images.sources.base import LocalFile
from trajmake.settings import ImageSettings


def locate(uri: str, options: ImageSettings) -> LocalFile:
    """The file that ``uri`` names.

    Raises:
        ImageMissingError: there is none.
    """
    path = Path(unquote(urlsplit(uri).path) if uri.startswith("file://") else uri)
    if not path.is_file():
        raise ImageMissingError(
            f"There is no image tarball {path}.",
            "A relative path is taken from the dataset's folder; `trajmake demo prepare` builds the demo's images.",
        )
    return LocalFile(path)

"""References to registries (``host/path/name:tag``), which an engine pulls itself."""

from __future__ import annotations

import csv
from pathlib import Path

from trajmake.errors import ConfigError
from trajmake.images.sources.base import Reference
from trajmake.settings import ImageSettings

_COLUMNS = ("internal_uri", "ecr_uri")


def locate(uri: str, options: ImageSettings) -> Reference:
    """The reference to pull: ``uri``, or what the table ``images.mapping`` has for exactly it.

    Raises:
        ConfigError: the table cannot be read.
    """
    if not options.mapping:
        return Reference(uri)
    return Reference(_table(Path(options.mapping)).get(uri, uri))


def _table(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                raise ConfigError(
                    f"The image mapping {path} has no column {missing[0]}.", f"Its first line is {','.join(_COLUMNS)}."
                )
            return {row["internal_uri"].strip(): row["ecr_uri"].strip() for row in rows if row["ecr_uri"]}
    except (OSError, UnicodeError, csv.Error) as error:
        raise ConfigError(f"The image mapping {path} cannot be read: {error}.") from error

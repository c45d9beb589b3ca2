"""The charts' JavaScript, out of the installed Snakemake package, which brings it for its own reports."""

from __future__ import annotations

import logging
from importlib import metadata
from pathlib import Path

logger = logging.getLogger(__name__)
_ASSETS = "snakemake/assets/data"
_NAMES = ("vega", "vega-lite", "vega-embed")  # in the order in which they need each other


def scripts() -> list[str]:
    """Sources of Vega, Vega-Lite and vega-embed; none where this version of Snakemake has them no more.

    A page then has its tables, which say the same.
    """
    package = metadata.distribution("snakemake")  # its name is enough: nothing of Snakemake is imported
    paths = [Path(str(package.locate_file(f"{_ASSETS}/{name}/{name}.js"))) for name in _NAMES]
    if absent := [str(path) for path in paths if not path.is_file()]:
        logger.warning("the page has no charts: Snakemake %s has no %s", package.version, ", ".join(absent))
        return []
    return [path.read_text(encoding="utf-8") for path in paths]

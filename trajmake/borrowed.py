"""Variables of the environment, set for as long as a block runs.

Some packages look there once, when they are imported, and would otherwise fetch
tables, read a ``.env`` or print a banner.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def environment(**wanted: str) -> Iterator[None]:
    """Set these variables while the block runs, and put back what was there."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

"""What killed runs left on this host, removed: of living ones, whoever's, nothing is touched."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from trajmake import engines
from trajmake.errors import EngineUnavailableError
from trajmake.images import leases
from trajmake.sessions import temporary

_ENGINES = ("docker", "podman", "namespace")


def remove() -> list[str]:
    """Remove containers, their folders and control groups, temporary folders, and leases of images; names them.

    The next run removes them too, each when it needs the place. An engine that does not answer is left out.
    """
    removed = []
    for name in _ENGINES:
        with contextlib.suppress(EngineUnavailableError):
            removed += [f"container {found} of engine {name}" for found in engines.select(name).reap()]
    removed += [f"folder {path}" for path in temporary.reap(Path(tempfile.gettempdir()))]
    return removed + [f"lease {path}" for path in leases.reap()]

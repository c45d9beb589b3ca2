"""The container of a stage: the instance's image ensured, started under a name of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from trajmake import engines
from trajmake.engines.base import Container, ContainerLimits, Engine
from trajmake.images import lifecycle
from trajmake.settings import Settings


def start(
    options: Settings,
    uri: str,
    *,
    stage: str,
    model: str,
    instance_id: str,
    mounts: Mapping[str, Path] | None = None,
) -> tuple[Engine, Container]:
    """Start a container of the image at ``uri``, with ``mounts`` (see :meth:`Engine.start`); give the engine too.

    The name tells the run; a part of it stands for the output folder, so that two
    checkouts may run sessions of the same name on one daemon.

    Raises:
        TrajmakeError: the image or the engine cannot be had.
    """
    folder = Path(options.output_dir).resolve()
    engine = engines.configured(options)
    image = lifecycle.ensure(engine, uri, options)
    where = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    labels = {
        "trajmake.output": str(folder),
        "trajmake.session": options.session,
        "trajmake.model": model,
        "trajmake.instance": instance_id,
        "trajmake.stage": stage,
    }
    limits = ContainerLimits(**options.container.model_dump())
    name = f"{where}-{options.session}-{model}-{instance_id}-{stage}"
    return engine, engine.start(image.id, name=name, labels=labels, limits=limits, mounts=mounts)

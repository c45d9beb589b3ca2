"""Stages of an image: ``fetch_image``, ``load_image``, ``release_image``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trajmake import engines, files, settings
from trajmake.datasets import Dataset
from trajmake.errors import TrajmakeError
from trajmake.images import lifecycle
from trajmake.images.host import Host
from trajmake.sessions import faults
from trajmake.sessions.faults import CarriedFault
from trajmake.settings import Settings
from trajmake.stages.boundary import Stage, log_to, logger


def warm(config: Mapping[str, Any]) -> None:
    """Import what every job would."""
    engines.warm(settings.load(config))


def fetch_image(config: Mapping[str, Any], *, uri: str, tarball: str, log: str) -> None:
    """Bring the image here as ``tarball``, or a record in its place where the engine has it.

    ``uri`` is the public part of its URI.
    """
    options = settings.load(config)
    target = Path(tarball)
    stage = Stage.of(options, "fetch_image", log, image=target.stem)
    stage.run(
        lambda: lifecycle.fetch(Host(engines.configured(options), options), _address(options, uri), target),
        lambda fault: files.write_json(target, faults.as_record(fault)),
    )


def load_image(config: Mapping[str, Any], *, uri: str, tarball: str, record: str, log: str) -> None:
    """Load ``tarball`` into the engine and write ``record``, which other sessions may write too."""
    options = settings.load(config)
    target, marker = Path(tarball), Path(record)

    def work() -> None:
        faults.check_file(target)
        host = Host(engines.configured(options), options)
        lifecycle.record(marker, uri, lifecycle.load(host, target, _address(options, uri)))

    stage = Stage.of(options, "load_image", log, image=target.stem)
    stage.run(work, lambda fault: lifecycle.record(marker, uri, faults.as_record(fault)))


def _address(options: Settings, uri: str) -> str:
    """What Snakemake records of a rule holds no signature."""
    return Dataset.of(options).address(uri)


def release_image(config: Mapping[str, Any], *, image: str, record: str, log: str) -> None:
    """Free the image of that name unless it is to be kept; write what was done to ``record``.

    A release that fails is no fault of any instance: it is recorded, and the image stays.
    """
    options = settings.load(config)
    done = {"image": image, "released": False, "why": "was never loaded"}
    with log_to(log, debug=options.debug):
        try:
            engine = engines.configured(options)
            if known := Host(engine, options).known(image):
                done = lifecycle.release(engine, known, options)
        except CarriedFault:
            pass
        except TrajmakeError as error:
            logger.warning("image %s stays: %s", image, error)
            done["why"] = error.message
        files.write_json(record, done)

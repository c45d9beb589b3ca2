"""Stage ``build_bundle``: what an agent brings into containers, built once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trajmake import files, settings
from trajmake.agents.openhands import bundle
from trajmake.sessions import faults
from trajmake.stages.boundary import Stage


def build_bundle(config: Mapping[str, Any], *, record: str, log: str) -> None:
    """Build the bundle of the agent ``openhands`` unless it is there, and write ``record``."""
    options = settings.load(config)

    def work() -> None:
        files.write_json(record, bundle.build(bundle.place(options), options.openhands.python))

    stage = Stage.of(options, "build_bundle", log, bundle=Path(record).stem)
    stage.run(work, lambda fault: files.write_json(record, faults.as_record(fault)))

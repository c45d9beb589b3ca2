"""Stage ``trajectory_pages``: a page for each of a model's runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from trajmake import pages, settings
from trajmake.pages import trajectory
from trajmake.reports.one_run import Run
from trajmake.stages.boundary import log_to

logger = logging.getLogger(__name__)
_TOGETHER = 8  # runs that a process is given at a time; for fewer no other one is started


def trajectory_pages(
    config: Mapping[str, Any], *, model: str, outcomes: Sequence[str], folder: str, threads: int, log: str
) -> None:
    """Write ``folder/INSTANCE.html`` for each run.

    Args:
        config: The configuration.
        model: The model's name in the catalog.
        outcomes: Paths of ``outcome.json`` of the model's runs, whose folders have the instances' safe names.
        folder: Where the pages go.
        threads: Processes that work.
        log: The job's log.
    """
    options = settings.load(config)
    with log_to(log):
        target, instances = Path(folder), [Path(path).parent.name for path in outcomes]
        target.mkdir(parents=True, exist_ok=True)
        write = partial(_write, Path(options.output_dir), options.session, model, target)
        workers = min(threads, len(instances) // _TOGETHER)
        if workers > 1:
            with ProcessPoolExecutor(workers) as pool:
                list(pool.map(write, instances, chunksize=_TOGETHER))
        else:
            list(map(write, instances))
        logger.info("%d pages of %s", len(instances), model)


def _write(output_dir: Path, session: str, model: str, folder: Path, safe: str) -> None:
    try:
        html = trajectory.of_run(Run.at(output_dir, session, model, safe))
    except Exception as error:  # what an agent left may be anything: it must not cost all the other runs their pages
        logger.error("no page of %s: %s", safe, error, exc_info=error)
        said = f"{type(error).__name__}: {error}"
        html = pages.page("failed.html.j2", session=session, model=model, instance=safe, said=said)
    # Not `files.write_text`: a page is made again at will, and syncing each would take longer than making it.
    (folder / f"{safe}.html").write_text(html, encoding="utf-8", newline="")

"""Stage ``session_page``: the page of the session, with links to its runs' pages and with them in it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trajmake import files, settings
from trajmake.pages import session as page_of
from trajmake.pages import whole
from trajmake.reports import session_facts
from trajmake.reports.session_facts import Records
from trajmake.sessions import layout, outcome
from trajmake.settings import Settings
from trajmake.stages.boundary import log_to, logger
from trajmake.stages.summarize import session_of


def session_page(
    config: Mapping[str, Any], *, outcomes: Sequence[str], archived: Mapping[str, str], page: str, single: str, log: str
) -> None:
    """Write the session's page.

    Args:
        config: The configuration.
        outcomes: Paths of ``outcome.json`` of all runs; what else is read lies beside them.
        archived: Model → folder of its runs' pages, seen from ``page``, in the archive of ``snakemake --report``.
        page: Where to write it, beside the folders of the models' pages, to which it links.
        single: Where to write the same with all these pages in it.
        log: The job's log.
    """
    options = settings.load(config)
    with log_to(log):
        session = session_of(options, [outcome.read(Path(path)) for path in outcomes])
        facts = session_facts.describe(session, _records(options, [Path(path) for path in outcomes]))
        files.write_text(page, page_of.render(facts, session.outcomes, archived=archived))
        pages = _pages(Path(page).parent, session.outcomes)
        folded, sources = whole.fold(pages)
        files.write_text(single, page_of.render(facts, session.outcomes, folded=folded, sources=sources))
        logger.info("%d of %d pages of runs are in %s", len(folded), len(pages), single)


def _records(options: Settings, outcomes: Sequence[Path]) -> Records:
    root = Path(options.output_dir)
    return Records(
        output_dir=root,
        reports=(files.read_json(path.with_name("report.json")) for path in outcomes),
        metadata=(files.read_json(path.parents[2] / "metadata.json") for path in outcomes),
        calibration=_calibration(root / layout.CALIBRATION.format(session=options.session)),
    )


def _calibration(table: Path) -> list[dict[str, str]]:
    if not table.exists():
        return []
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _pages(folder: Path, outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Path]:
    """Address → file of every run's page that is there."""
    found = {}
    for one in outcomes:
        path = folder / one["model"] / f"{layout.safe_name(one['instance_id'])}.html"
        if path.exists():
            found[page_of.address(one["model"], one["instance_id"])] = path
    return found

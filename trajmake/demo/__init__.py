"""The demo's instances: real bugs, built on this machine from released sources.

``python -m trajmake.demo --destination demo/data`` writes a dataset and its
images; nothing is done for what is already there.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import fcntl
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from trajmake.demo.bugs import Bug, load_bugs
from trajmake.files import read_json, write_json, write_text

FORMAT = 1  # raised when what is built from the same bug and base changes


def prepare(destination: Path, engine: str = "auto", base_image: str | None = None, jobs: int = 2) -> list[Path]:
    """Build the instances that are missing or out of date.

    Args:
        destination: Receives ``instances.jsonl``, ``images/*.tar`` (``image_storage_uri`` is relative to the
            folder of ``instances.jsonl``), and what is kept to build again: ``rows/``, ``base/``, ``sdists/``.
        engine: Name of the engine on which the tests are run, or ``auto``.
        base_image: Docker image to start from instead of this machine's own programs.
        jobs: Instances built at the same time.

    Returns:
        The dataset, then the images, in the order of the bugs.

    Raises:
        DatasetError: a release cannot be fetched, is not the pinned one, or a bug cannot be proved.
        EnvironmentBrokenError: this machine lacks a program that the base file system needs.
        EngineUnavailableError: no engine can run the tests.
        DiskFullError: no room.
    """
    from trajmake.demo import base  # not when only `load_bugs` is wanted

    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    bugs, base_key = load_bugs(), base.identity(base_image)
    with (destination / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits, and then finds everything there
        rows = {bug.instance_id: _row_if_current(destination, bug, _key(bug, base_key)) for bug in bugs}
        missing = [bug for bug in bugs if rows[bug.instance_id] is None]
        if missing:
            rows |= _build(destination, missing, base_key, engine, base_image, jobs)
    built = [row for bug in bugs if (row := rows[bug.instance_id]) is not None]
    dataset = destination / "instances.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in built)
    if not dataset.exists() or dataset.read_text(encoding="utf-8") != text:
        write_text(dataset, text)
    return [dataset, *(destination / row["image_storage_uri"] for row in built)]


def _build(
    destination: Path, bugs: list[Bug], base_key: str, engine: str, base_image: str | None, jobs: int
) -> dict[str, dict[str, Any] | None]:
    from trajmake.demo import base, instances  # not when there is nothing to do
    from trajmake.engines import UNPACKED, choose, select

    name = choose(engine)[0]
    # What is unpacked for the proof goes afterwards, so it does not belong among the user's images.
    store = (destination / "store").resolve()
    runner = select(name, store=store) if name in UNPACKED else select(name)
    start = base.prepare_base(destination / "base" / base_key, base_image, destination / "sdists")

    def build(bug: Bug) -> dict[str, Any]:
        row = instances.build(bug, start, destination, runner)
        size = (destination / row["image_storage_uri"]).stat().st_size
        write_json(_row_file(destination, bug), {"key": _key(bug, base_key), "image_bytes": size, "row": row})
        return row

    try:
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            return {bug.instance_id: row for bug, row in zip(bugs, pool.map(build, bugs), strict=True)}
    finally:
        shutil.rmtree(store, ignore_errors=True)


def _key(bug: Bug, base_key: str) -> str:
    text = json.dumps([FORMAT, base_key, dataclasses.asdict(bug)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _row_file(destination: Path, bug: Bug) -> Path:
    return destination / "rows" / f"{bug.instance_id}.json"


def _row_if_current(destination: Path, bug: Bug, key: str) -> dict[str, Any] | None:
    try:
        kept = read_json(_row_file(destination, bug))
        image = destination / kept["row"]["image_storage_uri"]
        current = kept["key"] == key and image.stat().st_size == kept["image_bytes"]
    except (FileNotFoundError, KeyError, ValueError):
        return None
    return kept["row"] if current else None

"""Projects for benches: the demo's instances many times over, in a folder of their own, run by this checkout."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import own_daemon

from trajmake import borrowed, demo

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "demo" / "data"


def rows(number: int) -> list[dict[str, Any]]:
    """So many instances made of the demo's whose tests pytest runs; ``of`` names the one each was made of.

    Tests whose ids hold a blank are not required, for SWE-bench's parsers cut ids there, and instances that
    require others of them are left out.
    """
    demo.prepare(DATA)
    found = [json.loads(line) for line in (DATA / "instances.jsonl").read_text().splitlines()]
    found = [row for row in found if row["test_output_parser"] == "python/parse_log_pytest"]
    for row in found:
        for key in ("FAIL_TO_PASS", "PASS_TO_PASS"):
            row[key] = [identity for identity in row[key] if " " not in identity]
    found = [row for row in found if row["FAIL_TO_PASS"] and row["PASS_TO_PASS"]]
    made = []
    for index in range(number):
        row = dict(found[index % len(found)])
        row |= {
            "of": row["instance_id"],
            "instance_id": f"{row['instance_id']}-{index}",
            "image_storage_uri": str(DATA / row["image_storage_uri"]),
        }
        made.append(row)
    return made


def make(folder: Path, dataset: list[dict[str, Any]], **config: Any) -> Path:
    """A folder with a dataset and a configuration (``config`` over the defaults)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dataset))
    settings = {"session": "bench", "dataset": "rows.jsonl", "output_dir": "outputs", **config}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder


def snakemake(folder: Path, jobs: int, *arguments: str) -> list[str]:
    """The command that runs this checkout's workflow on the project in ``folder``."""
    command = [sys.executable, "-m", "snakemake", "-j", str(jobs), "-s", str(ROOT / "Snakefile")]
    return [*command, "--directory", str(folder), "--configfile", str(folder / "config.yaml"), *arguments]


@contextlib.contextmanager
def loaded(dataset: list[dict[str, Any]]) -> Iterator[Mapping[str, str]]:
    """The rows' images in a Docker daemon of the bench's own: URI → name.

    One that others use would do their work too, and holds their images. It has no bridge, which spares either side
    the making of networks.
    """
    if why := own_daemon.lacking():
        sys.exit(f"This bench cannot run: {why}.")
    with own_daemon.OwnDaemon() as daemon, borrowed.environment(DOCKER_HOST=daemon.url):
        names: dict[str, str] = {}
        for uri in sorted({row["image_storage_uri"] for row in dataset}):
            identity = _docker("load", "--quiet", "--input", uri).split(": ", 1)[1].strip()
            names[uri] = f"trajmake-bench:{Path(uri).stem.lower()[:100]}"
            _docker("tag", identity, names[uri])
        yield names


def quiet(prefix: str) -> None:
    """Remove all containers whose name begins so: nothing of a round may go on in the next."""
    for name in _docker("ps", "--all", "--format", "{{.Names}}").split():
        if name.startswith(prefix):
            subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"docker {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout

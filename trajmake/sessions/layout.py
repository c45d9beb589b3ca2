"""What lies where, said once: rules, command line and reports all read it here.

Names in braces are Snakemake wildcards. ``{instance_id}`` and ``{image}`` are
the *safe* names (see :func:`safe_name`), so that any id can be a file name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

TRAJECTORIES = "trajectories/{session}"
INSTANCE = TRAJECTORIES + "/{model}/instance_{instance_id}"
EVALUATION = INSTANCE + "/eval_outputs/{instance_id}"
RESULTS = "results/{session}"
PAGES = RESULTS + "/html"
MODEL_PAGES = PAGES + "/{model}"  # one for each instance, INSTANCE.html
CALIBRATION = RESULTS + "/calibration.csv"
LOGS = "logs/{session}"
PROGRESS = "progress/{session}"
STATUS = PROGRESS + "/{model}_{instance_id}.status"
IMAGES = "images"
LOADED = IMAGES + "/{name}.loaded.json"
FETCHED = IMAGES + "/fetched/{session}"
BUNDLES = "bundles"  # what agents bring into containers
BUILT = BUNDLES + "/{name}.json"
INDEX = "index"  # of datasets: trajmake.datasets.index
BENCHMARKS = "benchmarks/{session}"
FAULTS = INSTANCE + "/faults/{stage}.jsonl"  # beside the trajectory, so that both are moved and restored together
IMAGE_FAULTS = "images/faults/{image}.{stage}.jsonl"
BUNDLE_FAULTS = "bundles/faults/{bundle}.{stage}.jsonl"
LOCK = "results/{session}/.driver.lock"
CLAIM = INSTANCE + "/.claim"
JOURNAL = INSTANCE + "/llm_completions/{instance_id}"
SPENDING = "results/{session}/spending"
KEPT = INSTANCE + "/.kept"
RERUN_FAULTS = "results/{session}/rerun_faults.jsonl"
RETRY = "results/{session}/retry"  # names too many for a command line: a profile, targets
OUTAGE = "results/{session}/.engine-away-{host}"
TOLD = "results/{session}/.told.json"  # notifications sent
RENEWALS = "results/{session}/.renewals.json"
DRIVE = "results/{session}/.drive.json"  # what the driver set out to do: trajmake.sessions.drive
PROGRESS_REPORT = "results/{session}/progress_report.txt"
MIRROR = "results/{session}/.mirror.json"  # of which copy in S3 this session is
GPUS = "results/{session}/gpus.json"

NAME = r"[^/\s]+"  # what a wildcard may match


def safe_name(name: str) -> str:
    """``name`` as one file name: letters, digits and ``._-+@=`` stay, the rest is %-encoded.

    Reversible by :func:`original_name`. A leading dot is encoded too, so that
    ``..`` or a hidden file can never come out.

    Raises:
        ValueError: the name is empty, or too long for a file name.
    """
    encoded = quote(name, safe="+@=")
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if not encoded or len(encoded) > 200:
        raise ValueError(f"cannot be a file name: {name[:80]!r}")
    return encoded


def original_name(safe: str) -> str:
    """The name that :func:`safe_name` was given."""
    return unquote(safe)


def public_uri(uri: str) -> str:
    """An image's URI without user name, password and query, which may hold a signature.

    What names the image in messages and records, and what decides whether it is another one: a signature
    that is renewed makes no new image. Only ``http(s)`` URIs differ from it.
    """
    parts = urlsplit(uri) if uri.lower().startswith(("http://", "https://")) else None
    if parts is None:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def image_name(uri: str) -> str:
    """Name of an image's tarball without ``.tar``: last path component, ``:`` as ``-``.

    ``s3://bucket/dir/owner_repo-commit.tar`` and ``host/path/owner_repo:commit``
    both give ``owner_repo-commit``.
    """
    last = PurePosixPath(uri.split("?")[0].rstrip("/")).name.replace(":", "-")
    for suffix in (".tar", ".tar.gz", ".tgz", ".tar.zst"):
        if last.endswith(suffix):
            last = last[: -len(suffix)]
            break
    return safe_name(last)


def repeat_log(first: str | Path, number: int) -> Path:
    """The log of the ``number``-th run of the same tests, beside the first's: ``test_output.2.txt``."""
    path = Path(first)
    return path if number == 1 else path.with_name(f"{path.stem}.{number}{path.suffix}")


def one_of(names: Iterable[str]) -> str:
    """What a wildcard may match, where it is one of these."""
    return "|".join(map(re.escape, names))


def fault_file(stage: str, **subject: str) -> str:
    """Path of the fault file of a stage and its subject (an instance and model, an image, or a bundle)."""
    pattern = FAULTS if "instance_id" in subject else BUNDLE_FAULTS if "bundle" in subject else IMAGE_FAULTS
    return pattern.format(stage=stage, **subject)

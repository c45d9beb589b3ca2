"""Whether this host is ready for a session: a report of plain values, which another host can compare with its own."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trajmake
from trajmake import agents, engines, settings
from trajmake.datasets import Dataset
from trajmake.errors import EnvironmentBrokenError, TrajmakeError
from trajmake.images import sources
from trajmake.images.space import mark
from trajmake.sessions.found import Outputs
from trajmake.settings import Settings

OK, WARNING, BAD = "ok", "warning", "bad"
_GB = 10**9
_TRIED = 5  # images
Finding = tuple[str, str]  # state, what is said


def report(configfile: Path, free_gb: float) -> dict[str, Any]:
    """What can be said of this host: ``host, now, python, project, configuration, packages, checks``.

    ``checks`` is a list of ``{check, state, said}``; states are ``ok``, ``warning``, ``bad``. No key's value is in it.

    Args:
        configfile: The configuration that is to run.
        free_gb: Less than so many GB (10^9 bytes) free is bad.
    """
    packages = {str(one.metadata["Name"]).lower(): one.version for one in metadata.distributions()}
    found: dict[str, Any] = {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "project": project_digest(),
        "configuration": "",
        "packages": dict(sorted(packages.items())),
    }
    found["checks"] = [
        _entry("python", (OK, f"{found['python']} at {sys.executable}")),
        _entry("packages", (OK, f"{len(packages)} packages")),
        _entry("project", (OK, f"trajmake {trajmake.__version__}, {found['project'][:12]}")),
    ]
    try:
        options = settings.from_file(configfile)
    except TrajmakeError as error:
        found["checks"].append(_entry("configuration", (BAD, error.message)))
    else:
        found["configuration"] = hashlib.sha256(configfile.read_bytes()).hexdigest()
        found["checks"].append(_entry("configuration", (OK, f"{configfile}, {found['configuration'][:12]}")))
        found["checks"] += [_check(name, check, options) for name, check in _CHECKS.items()]
        found["checks"].insert(-2, _check("disk", lambda chosen: _disk(chosen, free_gb), options))
    return found | {"now": time.time()}


def project_digest() -> str:
    """sha256 over the sources of library and workflow."""
    root = Path(trajmake.__file__).resolve().parent
    digest = hashlib.sha256()
    workflow = [Path("Snakefile"), *sorted(Path("workflow").rglob("*")), *sorted(Path("profiles").rglob("*"))]
    for base, paths in ((root, sorted(root.rglob("*.py"))), (Path(), workflow)):
        for path in paths:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.relative_to(base).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _check(name: str, check: Callable[[Settings], Finding], options: Settings) -> dict[str, str]:
    try:
        return _entry(name, check(options))
    except TrajmakeError as error:
        return _entry(name, (BAD, error.message))


def _entry(name: str, finding: Finding) -> dict[str, str]:
    return {"check": name, "state": finding[0], "said": finding[1]}


def _engine(options: Settings) -> Finding:
    """Answers, and starts a container of an image that it has."""
    engine = engines.configured(options)
    version = engine.version()
    for image in engine.images()[:_TRIED]:
        try:
            with engine.start(image.id, name=f"check-host-{os.getpid()}") as container:
                done = container.run("true", timeout=60)
        except EnvironmentBrokenError:
            if mark(image.id) in image.tags:  # other people's images need no shell
                raise
        else:
            said = "a container runs" if done.exit_code == 0 else f"`true` fails in a container: {done.text}"
            return (BAD if done.exit_code else OK), f"{version}; {said}"
    return OK, f"{version}; it has no image to start a container of"


def _disk(options: Settings, free_gb: float) -> Finding:
    places = {"results": Path(options.output_dir), "temporary files": Path(tempfile.gettempdir())}
    if place := engines.configured(options).place():
        places["images"] = place
    free = {name: shutil.disk_usage(_there(path)).free / _GB for name, path in places.items()}
    said = ", ".join(f"{gb:.0f} GB for {name}" for name, gb in free.items())
    return (BAD if min(free.values()) < free_gb else OK), said


def _there(path: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _keys(options: Settings) -> Finding:
    needed = {
        entry.api_key_env: name
        for name, entry in options.chosen.items()
        if entry.api_key_env and agents.needs_model(entry.agent)
    }
    lacking = [f"{variable} ({name})" for variable, name in needed.items() if not os.environ.get(variable)]
    if lacking:
        return BAD, f"not set: {', '.join(lacking)}"
    return OK, f"set: {', '.join(needed)}" if needed else "none needed"


def _s3(options: Settings) -> Finding:
    """One object of each bucket is looked up."""
    dataset = Dataset.of(options)
    examples: dict[str, str] = {}
    for identity in dataset.select(options.instances):
        if not dataset.problem(identity) and (uri := dataset.image_uri(identity)).startswith("s3://"):
            examples.setdefault(urlsplit(uri).netloc, uri)
    for uri in examples.values():
        sources.locate(uri, options.images)
    return OK, f"reached: {', '.join(sorted(examples))}" if examples else "no image of the dataset lies there"


def _runs(options: Settings) -> Finding:
    """Runs of the session whose process is gone."""
    outputs = Outputs(Path(options.output_dir), options)
    if options.session not in outputs.sessions:
        return OK, f"session {options.session} has not begun"
    states = outputs.states(options.session, outputs.models(options.session))
    stale = [f"{state['model']}/{state['instance_id']}" for state in states if state["status"] == "STALE"]
    if not stale:
        return OK, "none is stale"
    return WARNING, f"{len(stale)} stale, which the next run goes on with: {', '.join(stale[:3])}"


_CHECKS: dict[str, Callable[[Settings], Finding]] = {"engine": _engine, "keys": _keys, "s3": _s3, "runs": _runs}

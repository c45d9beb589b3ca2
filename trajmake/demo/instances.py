"""From a bug to an instance: repository, image, and the tests that prove it."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from trajmake.demo import repository
from trajmake.demo.base import Base
from trajmake.demo.bugs import Bug
from trajmake.demo.downloads import installed_metadata, sdist
from trajmake.demo.image import Layer, Tree, sha256_of, write_image
from trajmake.engines.base import Container, Engine
from trajmake.errors import DatasetError
from trajmake.files import atomic
from trajmake.grading.parsers import parse

WORKDIR = "/testbed"
TIMEOUT = 600.0  # seconds for one run of the tests; they take less than two

log = logging.getLogger(__name__)


def build(bug: Bug, base: Base, destination: Path, engine: Engine) -> dict[str, Any]:
    """Write the instance's image and give its dataset row.

    Args:
        bug: Which one.
        base: What its image starts from.
        destination: Folder of the dataset; the image goes to ``images/``, downloads to ``sdists/``.
        engine: Where the tests are run.

    Raises:
        DatasetError: a release cannot be had, or the tests do not prove the bug and its fix.
        DiskFullError: no room for the image.
        EngineUnavailableError, ContainerLostError: the tests could not be run.
    """
    before, after = (
        sdist(bug.package, release.version, release.sha256, destination / "sdists")
        for release in (bug.before, bug.after)
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "testbed")
        change = repository.build(bug, before, after, folder)
        owner_name = bug.repo.replace("/", "_")
        tarball = destination / "images" / f"{owner_name}-{change.base_commit}.tar"
        layer = Path(scratch, "layer.tar")
        with atomic(layer) as stream:
            _tree(bug, before, folder, base.site_packages).write(stream)
        tag = f"{owner_name}:{change.base_commit}".lower()
        write_image(tarball, [*base.layers, Layer(layer, sha256_of(layer))], _config(base), tag)
    fail_to_pass, pass_to_pass = prove(bug, change, tarball, engine)
    return {
        "instance_id": bug.instance_id,
        "repo": bug.repo,
        "base_commit": change.base_commit,
        "problem_statement": bug.problem_statement,
        "FAIL_TO_PASS": fail_to_pass,
        "PASS_TO_PASS": pass_to_pass,
        "patch": change.patch,
        "test_patch": change.test_patch,
        "language": "python",
        "test_command": bug.test_command,
        "test_output_parser": bug.test_output_parser,
        "image_storage_uri": f"images/{tarball.name}",
        "repo_path": WORKDIR,
        "version": bug.before.version,
        "created_at": bug.date,
    }


def _tree(bug: Bug, before: Path, folder: Path, site_packages: str) -> Tree:
    tree = Tree()
    tree.add_folder(folder, WORKDIR)
    # What `pip install --editable` leaves behind: the package's metadata and a path to its source.
    name = bug.package.replace("-", "_")
    source = f"{WORKDIR}/src" if (folder / "src").is_dir() else WORKDIR
    for file, content in installed_metadata(before).items():
        tree.add(f"{site_packages}/{name}-{bug.before.version}.dist-info/{file}", content)
    tree.add(f"{site_packages}/__editable__.{name}-{bug.before.version}.pth", f"{source}\n".encode())
    return tree


def _config(base: Base) -> dict[str, Any]:
    inner = dict(base.config.get("config") or {})
    # Byte code in the repository would end up in the agent's patch.
    inner["Env"] = [*(inner.get("Env") or []), "PYTHONDONTWRITEBYTECODE=1"]
    inner["WorkingDir"] = WORKDIR
    return {**base.config, "config": inner}


def prove(bug: Bug, change: repository.Change, tarball: Path, engine: Engine) -> tuple[list[str], list[str]]:
    """Run the tests before and after the fix; the tests it mends, and those that pass both times.

    Raises:
        DatasetError: a patch does not apply, or no test fails before the fix and passes after it.
    """
    known = engine.find(_image_tag(tarball)) is not None
    image = engine.load(tarball)
    try:
        with engine.start(image.id, name=f"trajmake-demo-{bug.instance_id}") as container:
            _apply(bug, container, "test_patch", change.test_patch)
            before = _statuses(bug, container)
            _apply(bug, container, "patch", change.patch)
            after = _statuses(bug, container)
    finally:
        if not known:
            engine.remove(image.id)
    passing = {test for test, status in after.items() if status in ("PASSED", "XFAIL")}
    kept = {test for test in passing if before.get(test) in ("PASSED", "XFAIL")}
    if not passing - kept:
        raise DatasetError(f"{bug.instance_id}: no test fails before the fix and passes after it.")
    return sorted(passing - kept), sorted(kept)


def _image_tag(tarball: Path) -> str:
    name, _, commit = tarball.stem.rpartition("-")
    return f"{name}:{commit}".lower()


def _apply(bug: Bug, container: Container, name: str, patch: str) -> None:
    container.write(f"/tmp/{name}.diff", patch.encode())
    result = container.run(f"git apply --verbose /tmp/{name}.diff", timeout=60, cwd=WORKDIR)
    if result.exit_code:
        raise DatasetError(f"{bug.instance_id}: its {name} does not apply: {result.text.strip()[-500:]}")


def _statuses(bug: Bug, container: Container) -> dict[str, str]:
    result = container.run(bug.test_command, timeout=TIMEOUT, cwd=WORKDIR)
    statuses = {test: str(status) for test, status in parse(bug.test_output_parser, result.text).items()}
    if not statuses:
        raise DatasetError(f"{bug.instance_id}: no test ran: {result.text.strip()[-500:]}")
    log.debug("%s: %d tests", bug.instance_id, len(statuses))
    return statuses

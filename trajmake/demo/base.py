"""What every instance image starts from: a base file system and pytest in it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajmake.demo import machine
from trajmake.demo.downloads import wheel
from trajmake.demo.image import Layer, Tree, architecture, sha256_of
from trajmake.files import atomic, read_json, write_json

# Version 9 would refuse the conftest.py of one of the packages.
WHEELS = (
    ("pytest", "8.4.2", "872f880de3fc3a5bdc88a11b39c9710c3497a547cfa9320bc3c5e62fbf272e79"),
    ("iniconfig", "2.1.0", "9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760"),
    ("packaging", "25.0", "29572ef2b1f17581046b3a2227d5c611fb25ec70ca1ba8554b24b0e69331a484"),
    ("pluggy", "1.6.0", "e920276dd6813095e9377c0bc5566d94c932c33b27a3e3945d8389c374dd4746"),
    ("pygments", "2.19.2", "86540386c03d588bb81d44bc3928634ff26449851e99741617ecb9037ee5ec0b"),
)
ENV = ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "LANG=C.UTF-8", "HOME=/root"]


@dataclass(frozen=True)
class Base:
    """A base on disk.

    Attributes:
        layers: Lowest first.
        config: The image configuration: ``architecture`` and ``config``.
        site_packages: Where the interpreter inside looks for installed packages.
    """

    layers: list[Layer]
    config: dict[str, Any]
    site_packages: str


def identity(base_image: str | None) -> str:
    """A key that changes when another base has to be built; for an image, its id.

    Raises:
        EngineUnavailableError, ImageMissingError: the named image cannot be asked for.
    """
    if base_image is None:
        text = machine.identity()
    else:
        from trajmake.demo import docker_base  # only here: the SDK takes long to import

        text = docker_base.identity(base_image)
    return hashlib.sha256(f"{text} {WHEELS}".encode()).hexdigest()[:16]


def prepare_base(folder: Path, base_image: str | None, cache: Path) -> Base:
    """The base in ``folder``, built when it is not there; for one process at a time.

    Raises:
        DatasetError: a wheel cannot be fetched.
        EnvironmentBrokenError: the machine, or the named image, lacks what is needed.
        DiskFullError: no room for it.
    """
    if not (folder / "base.json").exists():
        build: Callable[[Path], tuple[list[str], dict[str, Any], str]] = _from_machine
        if base_image is not None:
            from trajmake.demo import docker_base  # only here: the SDK takes long to import

            def build(target: Path) -> tuple[list[str], dict[str, Any], str]:
                return docker_base.save(base_image, target)

        partial = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        partial.mkdir(parents=True)
        try:
            _build(partial, build, cache)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    facts = read_json(folder / "base.json")
    layers = [Layer(folder / f"layer-{number}.tar", diff_id) for number, diff_id in enumerate(facts["diff_ids"])]
    return Base(layers, facts["config"], facts["site_packages"])


def _build(folder: Path, build: Callable[[Path], tuple[list[str], dict[str, Any], str]], cache: Path) -> None:
    diff_ids, config, site_packages = build(folder)
    tools = folder / f"layer-{len(diff_ids)}.tar"
    with atomic(tools) as stream, tempfile.TemporaryDirectory() as scratch:
        _pytest(site_packages, Path(scratch), cache).write(stream)
    facts = {"diff_ids": [*diff_ids, sha256_of(tools)], "config": config, "site_packages": site_packages}
    write_json(folder / "base.json", facts)


def _from_machine(folder: Path) -> tuple[list[str], dict[str, Any], str]:
    layer = folder / "layer-0.tar"
    with atomic(layer) as stream:
        machine.file_system().write(stream)
    config = {"architecture": architecture(), "config": {"Env": ENV, "Cmd": ["/bin/bash"]}}
    return [sha256_of(layer)], config, machine.site_packages()


def _pytest(site_packages: str, scratch: Path, cache: Path) -> Tree:
    for name, version, sha256 in WHEELS:
        with zipfile.ZipFile(wheel(name, version, sha256, cache)) as archive:
            archive.extractall(scratch)
    tree = Tree()
    tree.add_folder(scratch, site_packages)
    for path, content in machine.compiled_modules(scratch.rglob("*.py"), scratch, site_packages):
        tree.add(path, content)
    tree.add("usr/local/bin/pytest", b'#!/bin/sh\nexec python3 -m pytest "$@"\n', 0o755)
    return tree

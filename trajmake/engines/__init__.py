"""Where commands run. ``select`` gives an engine by name, ``choose`` and ``settle`` say which ``auto`` means."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajmake.engines.base import Engine
from trajmake.errors import ConfigError, EngineUnavailableError

if TYPE_CHECKING:
    from trajmake.settings import Settings


def _docker(**options: Any) -> Engine:
    from trajmake.engines.docker import DockerEngine

    return DockerEngine(**options)


def _namespace(**options: Any) -> Engine:
    from trajmake.engines.namespace import NamespaceEngine

    return NamespaceEngine(**options)


def _podman(**options: Any) -> Engine:
    from trajmake.engines.podman import PodmanEngine

    return PodmanEngine(**options)


def _apptainer(**options: Any) -> Engine:
    from trajmake.engines.apptainer import ApptainerEngine

    return ApptainerEngine(**options)


def _fake(**options: Any) -> Engine:
    from trajmake.engines.fake import FakeEngine

    return FakeEngine(**options)


ENGINES: dict[str, Callable[..., Engine]] = {
    "docker": _docker,
    "podman": _podman,
    "namespace": _namespace,
    "apptainer": _apptainer,
    "fake": _fake,
}
"""Name to loader. ``auto`` takes the first of docker and namespace that can run here."""

UNPACKED = ("namespace", "apptainer")
"""Engines without a daemon, which keep unpacked images in a folder, their option ``store``."""

ADVICE = "Start a Docker daemon, or allow user namespaces (sysctl -w user.max_user_namespaces=15000)."
"""What to do where no engine can run."""


def choose(name: str = "auto") -> tuple[str, str]:
    """The engine that ``name`` means here, and why in one sentence.

    Raises:
        ConfigError: no such engine.
        EngineUnavailableError: ``auto``, and none can run here.
    """
    if name != "auto":
        if name not in ENGINES:
            raise ConfigError(f"There is no engine {name!r}.", f"Known engines: auto, {', '.join(ENGINES)}.")
        return name, f"{name}: named in the configuration"
    from trajmake.engines import docker, unshare

    answers, docker_reason = docker.available()
    if answers:
        return "docker", f"docker: {docker_reason}"
    usable, reason = unshare.available()
    if usable:
        return "namespace", f"namespace: {docker_reason}; {reason}"
    raise EngineUnavailableError(
        f"No engine can run containers here. docker: {docker_reason}. namespace: {reason}.",
        ADVICE,
    )


def settle(config: MutableMapping[str, Any], *, elsewhere: bool = False) -> str:
    """Settle ``engine: auto`` for a run, in its configuration: jobs of one host must not each choose anew.

    Args:
        config: The configuration; its ``engine`` becomes the one taken.
        elsewhere: Jobs run on other hosts than this one. Each chooses for itself; this one may have none.

    Returns:
        The engine taken and why, or ``none:`` and why there is none.
    """
    wanted = str(config.get("engine") or "auto")
    if elsewhere:
        return f"{wanted}, on the host of each job"
    try:
        name, why = choose(wanted)
    except EngineUnavailableError as error:
        return f"none: {error.message}"
    config["engine"] = name
    return why


def configured(options: Settings) -> Engine:
    """The engine of a configuration; those without a daemon keep their images in ``images.store``.

    Raises:
        ConfigError: no such engine.
        EngineUnavailableError: ``auto``, and none can run here.
    """
    name = choose(options.engine)[0]
    if name in UNPACKED:
        return select(name, store=options.images.store or Path(options.output_dir) / "store")
    return select(name)


def warm(options: Settings) -> None:
    """Import what the configured engine imports when it is first used."""
    configured(options)
    if choose(options.engine)[0] in ("docker", "podman"):
        import docker.errors
        import docker.types  # noqa: F401


def select(name: str = "auto", **options: Any) -> Engine:
    """An engine by name (``auto`` as :func:`choose` has it).

    Args:
        name: A key of :data:`ENGINES`, or ``auto``.
        options: Arguments of the engine's class, such as ``store`` of those in :data:`UNPACKED`.

    Raises:
        ConfigError: no such engine.
        EngineUnavailableError: ``auto``, and none can run here.
    """
    return ENGINES[choose(name)[0]](**options)

"""A Docker image of the user's as the base, instead of this machine's own programs."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import docker
from docker.errors import ContainerError, DockerException, ImageNotFound

from trajmake.errors import EngineUnavailableError, EnvironmentBrokenError, ImageMissingError
from trajmake.files import atomic

PROBE = "git --version >&2 && python3 -c 'import site; print(site.getsitepackages()[0])'"


def _client() -> Any:
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise EngineUnavailableError(
            f"A base image was named, but no Docker daemon answers: {error}.",
            "Start Docker, or leave --base-image out to use this machine's own programs.",
        ) from error
    return client


def _image(client: Any, name: str) -> Any:
    try:
        return client.images.get(name)
    except ImageNotFound:
        raise ImageMissingError(f"Docker has no image {name}.", f"docker pull {name}") from None


def identity(name: str) -> str:
    """The image's id.

    Raises:
        EngineUnavailableError: no Docker daemon answers.
        ImageMissingError: it has no such image.
    """
    return str(_image(_client(), name).id)


def save(name: str, folder: Path) -> tuple[list[str], dict[str, Any], str]:
    """Write the image's layers as ``layer-N.tar``; give their diff ids, its configuration, its site-packages.

    Raises:
        EngineUnavailableError, ImageMissingError: see :func:`identity`.
        EnvironmentBrokenError: the image has no bash, git or Python 3.
    """
    client = _client()
    image = _image(client, name)
    try:
        probed = client.containers.run(image.id, ["-c", PROBE], entrypoint="bash", remove=True, network_mode="none")
    except (ContainerError, DockerException) as error:
        raise EnvironmentBrokenError(
            f"The image {name} cannot be a base: {error}", "It needs bash, git and python3."
        ) from error
    archive = folder / "saved.tar"
    with atomic(archive) as stream:
        for chunk in image.save():
            stream.write(chunk)
    with tarfile.open(archive) as tar:
        manifest = json.loads(_member(tar, "manifest.json"))[0]
        config = json.loads(_member(tar, manifest["Config"]))
        for number, layer in enumerate(manifest["Layers"]):
            member = tar.getmember(layer)
            while member.issym():  # old daemons link a layer that occurs twice
                member = tar.getmember(str(Path(member.name).parent.joinpath(member.linkname)).replace("/../", "/"))
            member.name = f"layer-{number}.tar"
            tar.extract(member, folder, filter="data")
    archive.unlink()
    diff_ids = [digest.removeprefix("sha256:") for digest in config["rootfs"]["diff_ids"]]
    kept = {key: config[key] for key in ("architecture", "config", "variant") if key in config}
    return diff_ids, kept, probed.decode().strip()


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    assert stream is not None  # docker save writes regular files
    return stream.read()

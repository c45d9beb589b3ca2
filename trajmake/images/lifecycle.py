"""An image's life on a host: fetched, loaded, ensured before each use, released after the last."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trajmake import files
from trajmake.engines.base import Engine, Image, Puller, StreamLoader
from trajmake.errors import ConfigError, DiskFullError, ImageBrokenError, ImageMissingError, TrajmakeError
from trajmake.images import archive, compression, layered, ranged, sources, space, tarballs
from trajmake.images.archive import Archive
from trajmake.images.download import Coming, Download
from trajmake.images.host import PATIENCE, Host
from trajmake.images.layered import Loading
from trajmake.images.leases import Lease
from trajmake.images.naming import double_tags
from trajmake.images.space import Need, mark
from trajmake.sessions import faults, layout, locks
from trajmake.settings import Settings

__all__ = ["Host", "ensure", "fetch", "load", "mark", "record", "release"]

logger = logging.getLogger(__name__)


def fetch(host: Host, uri: str, tarball: Path) -> None:
    """Bring the image at ``uri`` here: its tarball, or where the engine has it by then a record of that.

    Nothing is downloaded where a session before kept the tarball, or where the engine
    holds the image that the remote manifest names. An engine that can loads it while it comes in.

    Args:
        tarball: Our session's alone: another's Snakemake would remove it before its own job and after its own load.

    Raises:
        ConfigError: a kind of URI that is not known, or that the engine cannot use.
        ImageMissingError: the source does not hold it, does not give it, or cannot be reached.
        ImageBrokenError: it is damaged, or for another machine.
        DiskFullError: there is no room for it.
    """
    with _named(uri), host.claim(uri):
        tarball.unlink(missing_ok=True)
        if tarballs.is_archive(host.kept(uri)):
            logger.info("image %s: kept as %s", layout.public_uri(uri), host.kept(uri))
            tarball.parent.mkdir(parents=True, exist_ok=True)
            tarballs.link(host.kept(uri), tarball)
            return
        image = _bring(host, uri, tarball, "")
        if image and not tarball.exists():  # it is there all the same when it is to be kept
            tarballs.write_arrived(tarball, image[0].id, image[1], layout.public_uri(uri))
        elif host.options.images.keep:
            tarballs.link(tarball, host.kept(uri))


def load(host: Host, tarball: Path, uri: str) -> dict[str, Any]:
    """Load what :func:`fetch` brought, unless the engine holds it, and give ``{image}.loaded.json``.

    Raises:
        ImageMissingError, ImageBrokenError, DiskFullError: see :func:`fetch`.
    """
    with _named(uri), host.claim(uri), host.claim(uri, here=True):
        if here := tarballs.arrived(tarball):
            sha256 = str(here["sha256"])
            image = _find(host, here["here"], uri)
            if image is None:  # removed since then
                image, sha256 = _again(host, uri, here["here"])
        else:
            image, sha256 = _load(host, tarball, uri), tarballs.sha256(tarball)
    return _said(uri, image, sha256)


def _said(uri: str, image: Image, sha256: str) -> dict[str, Any]:
    tags = [tag for tag in image.tags if tag != mark(image.id)]
    known = {"image": layout.image_name(uri), "id": image.id, "size": image.size, "tags": tags}
    return known | {"uri": layout.public_uri(uri), "sha256": sha256}


def record(path: Path, uri: str, said: dict[str, Any]) -> None:
    """Write ``{image}.loaded.json``. A fault takes no record's place: another session has loaded what we could not.

    Args:
        path: Every session's of the ``output_dir``.
        said: By :func:`load`, or a fault.
    """
    with locks.claim(path.with_name(".records.lock"), patience=PATIENCE):
        known = files.read_object(path)
        if faults.of(said) and not faults.of(known) and known.get("uri") == layout.public_uri(uri):
            logger.info("image %s: the record stays, by which it is %s", uri, known.get("id"))
        else:
            files.write_json(path, said)


def ensure(engine: Engine, uri: str, options: Settings) -> Image:
    """The image at ``uri`` on this host, leased: loaded where it was removed, was never here, or has no record yet.

    Args:
        engine: Where it must be.
        uri: Where it comes from.
        options: The session's.

    Raises:
        CarriedFault: its record is a fault: what could not be fetched or loaded is not tried again by every run.
        ImageBrokenError: the source now holds another image than the record says, or that is damaged.
    """
    host = Host(engine, options)
    tarball, name = host.kept(uri), layout.image_name(uri)
    expected = str(host.known(name).get("id", ""))
    if expected and (found := _find(host, expected, uri)):
        return found
    with _named(uri), host.claim(uri, here=True):
        if tarballs.is_archive(tarball):
            image, sha256 = _load(host, tarball, uri, expected), "" if expected else tarballs.sha256(tarball)
        else:
            image, sha256 = _again(host, uri, expected)
    if not expected:  # whoever releases it looks there
        record(host.record(name), uri, _said(uri, image, sha256))
    return image


def release(engine: Engine, record: dict[str, Any], options: Settings) -> dict[str, Any]:
    """Free an image after its last test run, unless it is to be kept, is used by others, or was there before us."""
    host = Host(engine, options)
    host.lease(record["id"]).drop()
    found = engine.find(record["id"])
    if found is None:
        why = "is not there any more"
    elif options.images.keep:
        why = "is to be kept"
    elif mark(found.id) not in found.tags:
        why = "was not loaded by Trajmake"
    else:
        why = space.remove(engine, found, host.driver)
    return {"image": record["image"], "released": not why, "why": why}


def _find(host: Host, image_id: str, uri: str) -> Image | None:
    with host.lease(image_id).locked():
        return _held(host, image_id, layout.public_uri(uri))


def _held(host: Host, image_id: str, uri: str) -> Image | None:
    """The image, leased, where the engine has it. Nobody else may remove it meanwhile."""
    found = host.engine.find(image_id)
    if found is None:
        return None
    host.lease(image_id).take()
    tags = double_tags(host.options, uri)
    return host.engine.tag(image_id, tags) if not set(tags) <= set(found.tags) else found


def _again(host: Host, uri: str, expected: str) -> tuple[Image, str]:
    """From the source once more, leaving no tarball but one that is to be kept."""
    tarball = host.again(uri)
    try:
        brought = _bring(host, uri, tarball, expected)
        image = brought or (_load(host, tarball, uri, expected), tarballs.sha256(tarball))
        if host.options.images.keep and tarball.exists():
            os.replace(tarball, host.kept(uri))
        return image
    finally:
        tarball.unlink(missing_ok=True)


def _bring(host: Host, uri: str, tarball: Path, expected: str) -> tuple[Image, str] | None:
    """The image and its archive's sha256 where it is in the engine now; else the tarball is there."""
    tarball.parent.mkdir(parents=True, exist_ok=True)
    source = sources.locate(uri, host.options.images)
    uri = layout.public_uri(uri)
    if isinstance(source, sources.LocalFile):
        tarballs.link(source.path, tarball)
        return None
    with Lease(f"source {uri}", host.driver).locked():  # other runs on this host wait, then find it here
        if isinstance(source, sources.Reference):
            return _pull(host, source.name, uri), ""
        known = ranged.manifest(source)
        if known:
            _check_expected(uri, known, expected)
            if found := _find(host, known.image_id, uri):
                logger.info("image %s: %s is in %s; nothing is downloaded", uri, known.image_id, host.engine.name)
                return found, ""
            if isinstance(host.engine, StreamLoader):
                return _stream(host, host.engine, uri, known, Download(source, tarball), tarball)
        download = Download(source, tarball)
        with space.taken(host.engine, host.driver, 0, [Need(host.folder, download.missing, "the download")]):
            for _ in download.stream():
                pass
        download.keep(tarball)
    return None


def _stream(
    host: Host, engine: StreamLoader, uri: str, known: Archive, download: Download, tarball: Path
) -> tuple[Image, str]:
    """Load the archive while it is downloaded."""
    lease = host.lease(known.image_id)
    with lease.locked():
        lacking = layered.missing(engine, known)
        whole = host.options.images.keep or len(lacking) == len(known.spans)
        stored = sum(size for _, size in lacking)
        logger.info("image %s: %d of %d layers are to come, %d bytes", uri, len(lacking), len(known.spans), stored)
        needs = [Need(host.folder, min(download.missing, known.stored if whole else stored), "the download")]
        spans = [*lacking, (0, download.size)] if whole else lacking
        try:
            with (
                _room(host, stored, [*needs, *_needs(host, stored)]),
                download.fetching(spans, check=whole) as coming,
            ):
                image = _give(host, engine, uri, known, coming)
        except ImageBrokenError:  # more of the same would not mend it
            download.discard()
            raise
        lease.take()
    logger.info("image %s: %s loaded into %s as it came in", uri, image.id, host.engine.name)
    if host.options.images.keep:
        download.keep(tarball)
    else:
        download.discard()
    return image, download.sha256


def _give(host: Host, engine: StreamLoader, uri: str, held: Archive, coming: Coming) -> Image:
    names = [*held.tags, mark(held.image_id), *double_tags(host.options, uri)]
    return layered.load(Loading(engine, uri, held, coming, names, host.driver))


def _pull(host: Host, reference: str, uri: str) -> Image:
    engine = host.engine
    if not isinstance(engine, Puller):
        raise ConfigError(
            f"The image {uri} is a reference to a registry, which the engine {engine.name} cannot pull.",
            "Use engine: docker, or save the image with `docker save` and name the file.",
        )
    image, new = engine.find(reference), False
    if image is None:
        before = {held.id for held in engine.images()}
        image = engine.pull(reference)
        new = image.id not in before
    with host.lease(image.id).locked():
        found = _held(host, image.id, uri)
        if found is None:
            raise ImageMissingError(f"Image {uri} was removed while it was pulled.", "Run the same command again.")
        # Ours only now that it is leased: what bears our mark and was never used is the first to make room for others.
        return engine.tag(image.id, [mark(image.id)]) if new else found


def _load(host: Host, tarball: Path, uri: str, expected: str = "") -> Image:
    uri = layout.public_uri(uri)
    held = archive.read_archive(tarball)
    _check_expected(uri, held, expected)
    lease = host.lease(held.image_id)
    with lease.locked():
        if found := _held(host, held.image_id, uri):
            logger.info("image %s: %s was in %s", uri, held.image_id, host.engine.name)
            return found
        with _room(host, held.stored, _needs(host, held.stored)):
            if isinstance(host.engine, StreamLoader) and not compression.kind_of(tarball):
                with layered.opened(tarball) as coming:
                    image = _give(host, host.engine, uri, held, coming)
            else:
                image = host.engine.load(tarball, [mark(held.image_id), *double_tags(host.options, uri)])
        lease.take()
    logger.info("image %s: %s loaded into %s", uri, held.image_id, host.engine.name)
    return image


def _needs(host: Host, stored: int) -> list[Need]:
    """A daemon unpacks the archive aside before it unpacks its layers."""
    copies = 2 if isinstance(host.engine, StreamLoader) else 1
    return [Need(host.engine.place(), copies * stored, "the unpacked image")]


def _room(host: Host, unpacked: int, needs: list[Need]) -> contextlib.AbstractContextManager[None]:
    return space.taken(host.engine, host.driver, unpacked, needs, max_disk_gb=host.options.images.max_disk_gb)


def _check_expected(uri: str, held: Archive, expected: str) -> None:
    if expected and held.image_id != expected:
        raise ImageBrokenError(
            f"{uri} held the image {expected} when this project loaded it first; now it holds {held.image_id}.",
            f"Restore it, or accept the new one by removing {layout.image_name(uri)}.loaded.json.",
        )


@contextlib.contextmanager
def _named(uri: str) -> Iterator[None]:
    """Let faults of an image name its URI."""
    uri = layout.public_uri(uri)
    try:
        yield
    except (ImageBrokenError, ImageMissingError, DiskFullError) as error:
        if uri in error.message:
            raise
        named: TrajmakeError = type(error)(f"Image {uri}: {error.message}", error.hint)
        raise named from error

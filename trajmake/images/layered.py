"""Gives an image to a daemon a few layers at a time, and only the layers that it lacks.

A daemon first unpacks the archive it is given aside, and begins to register its
layers only when the archive is whole. So the archive is given in steps, each a
small archive of an image that ends at some layer: while the daemon registers one
step, the next one comes in. Layers it holds, of whatever image, are left out:
Docker looks a layer up by the digests of it and of those below it before it
looks into the archive (moby, ``image/tarexport/load.go``).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import tarfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from trajmake.engines.base import Image, StreamLoader
from trajmake.errors import ImageBrokenError
from trajmake.images import space
from trajmake.images.archive import Archive
from trajmake.images.download import Coming
from trajmake.images.leases import Lease

logger = logging.getLogger(__name__)

_PIECE = 1 << 20
_LEAST = 16 << 20  # bytes of a step: each costs a request and an image that is removed again


def missing(engine: StreamLoader, held: Archive) -> tuple[tuple[int, int], ...]:
    """Spans of ``held`` that the engine lacks, lowest layer first."""
    return held.spans[engine.shared(held.diff_ids) :]


@dataclass
class Loading:
    """One image on its way into an engine.

    Attributes:
        engine: Where to.
        source: Where it comes from, for messages.
        held: What the archive says of it.
        coming: The archive's bytes; where they are checked, the last of them is held back for that.
        names: Tags that the image gets.
        driver: The driver's lock of our session; see :class:`Lease`.
        betrayed: It failed, and layers that it left out, since the engine had them, are there no more.
    """

    engine: StreamLoader
    source: str
    held: Archive
    coming: Coming
    names: Sequence[str]
    driver: Path
    betrayed: bool = field(default=False, init=False)
    _trusted: int = field(default=0, init=False)  # so many of the lowest layers are not ours

    def run(self) -> Image:
        """Load it.

        Raises:
            ImageBrokenError, DiskFullError: see :meth:`Engine.load`; also what ``coming`` raises.
        """
        self._trusted = 0
        with contextlib.ExitStack() as parts:
            try:
                return self._run(parts)
            except ImageBrokenError:  # looked at before our own steps go
                self.betrayed = self.engine.shared(self.held.diff_ids) < self._trusted
                raise

    def _run(self, parts: contextlib.ExitStack) -> Image:
        with ThreadPoolExecutor(2, "load") as pool:
            before: Future[Image] | None = None
            done, end = 0, len(self.held.layers)
            for upto in range(1, self.engine.shared(self.held.diff_ids) + 1):  # what a killed process left
                parts.callback(self._remove, upto)
            while before is None or done < end:
                with contextlib.ExitStack() as turn:
                    turn.enter_context(Lease(f"layer {_chain(self.held.diff_ids[: done + 1])}", self.driver).locked())
                    if (there := self.engine.shared(self.held.diff_ids)) > done:
                        done = self._trusted = there
                    upto = self._step(done)
                    sent = threading.Event()
                    blocks = self._blocks(done, upto, before, sent)
                    if upto < end:
                        parts.enter_context(self._part(upto))
                    now = pool.submit(self._load, upto, blocks, turn.pop_all())
                now.add_done_callback(functools.partial(_set, sent))  # also where it asked for nothing
                sent.wait()
                if before:
                    before.result()
                before, done = now, upto
            return before.result()

    @contextlib.contextmanager
    def _part(self, upto: int) -> Iterator[None]:
        """Keep the image of a step while the block runs; then its layers are the whole image's, or nobody's."""
        lease = Lease(_digest(self._image(upto)[0]), self.driver)
        lease.take()
        try:
            yield
        finally:
            lease.drop()
            self._remove(upto)

    def _remove(self, upto: int) -> None:
        found = self.engine.find(_digest(self._image(upto)[0])) if upto < len(self.held.layers) else None
        if found and (why := space.remove(self.engine, found, self.driver)):
            logger.info("image %s, a part of %s, stays: it %s", found.id, self.held.image_id, why)

    def _step(self, done: int) -> int:
        """The layer before which the step that begins with layer ``done`` ends."""
        size = 0
        for layer in range(done, len(self.held.layers)):
            size += self.held.spans[layer][1]
            if size >= _LEAST:
                return layer + 1
        return len(self.held.layers)

    def _load(self, upto: int, blocks: Iterator[bytes], turn: contextlib.ExitStack) -> Image:
        with turn:
            config, names = self._image(upto)
            return self.engine.load_stream(self.source, blocks, _digest(config), names)

    def _image(self, upto: int) -> tuple[bytes, Sequence[str]]:
        """Configuration and names of the image that ends before layer ``upto``."""
        if upto == len(self.held.layers):
            return self.held.content, self.names
        rootfs = {"type": "layers", "diff_ids": self.held.diff_ids[:upto]}
        facts = {"architecture": self.held.architecture, "os": "linux", "config": {}, "rootfs": rootfs}
        config = json.dumps(facts, sort_keys=True).encode()
        return config, [space.mark(_digest(config))]  # ours, should we not live to remove it

    def _blocks(self, done: int, upto: int, before: Future[Image] | None, sent: threading.Event) -> Iterator[bytes]:
        """The step's archive; its last block waits for the step before, and for the check."""
        last = b""
        try:
            for block in self._archive(done, upto):
                if last:
                    yield last
                last = block
        finally:
            sent.set()
        if before:
            before.result()
        if self.coming.checked and upto == len(self.held.layers):
            self.coming.checked()
        yield last

    def _archive(self, done: int, upto: int) -> Iterator[bytes]:
        config, _ = self._image(upto)
        names = [f"{layer}/layer.tar" for layer in range(upto)]
        name = f"{_digest(config).removeprefix('sha256:')}.json"
        manifest = json.dumps([{"Config": name, "RepoTags": [], "Layers": names}]).encode()
        yield from _member("manifest.json", len(manifest), [manifest])
        yield from _member(name, len(config), [config])
        for layer in range(done, upto):
            start, size = self.held.spans[layer]
            yield from _member(names[layer], size, self.coming.read(start, size))
        yield bytes(2 * tarfile.BLOCKSIZE)


def load(loading: Loading) -> Image:
    """Run it; once more where layers that were there have gone meanwhile, with the image that held them.

    Raises:
        ImageBrokenError, DiskFullError: see :meth:`Loading.run`.
    """
    try:
        return loading.run()
    except ImageBrokenError:
        if not loading.betrayed:
            raise
    return loading.run()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Coming]:
    """The content of a plain archive on this machine."""
    with path.open("rb") as stream:
        handle = stream.fileno()

        def read(start: int, length: int) -> Iterator[bytes]:
            for position in range(start, start + length, _PIECE):
                yield os.pread(handle, min(_PIECE, start + length - position), position)

        yield Coming(read, None)


def _set(event: threading.Event, _: object) -> None:
    event.set()


def _member(name: str, size: int, content: Iterable[bytes]) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = size
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield from content
    if padding := -size % tarfile.BLOCKSIZE:
        yield bytes(padding)


def _chain(diff_ids: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(diff_ids).encode()).hexdigest()


def _digest(config: bytes) -> str:
    return f"sha256:{hashlib.sha256(config).hexdigest()}"

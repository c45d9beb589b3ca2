"""Downloads in parts, side by side; one that was interrupted goes on where it stopped.

Beside the target lie ``TARGET.part`` and its journal ``TARGET.part.journal``: a
line of JSON that says of what it is a part, then the number of each block that
is complete. They outlive faults and killed processes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trajmake import files
from trajmake.errors import ImageBrokenError, ImageMissingError
from trajmake.images import ranged
from trajmake.images.checksums import Checksums
from trajmake.images.sources.base import Remote

logger = logging.getLogger(__name__)

BLOCK = 16 << 20  # bytes of one request
WORKERS = 8
_SLICE = 1 << 20

# The bytes from a position on, so many, in pieces, each as soon as it is there.
Reader = Callable[[int, int], Iterator[bytes]]


@dataclass(frozen=True)
class Coming:
    """Content on its way.

    Attributes:
        read: Waits for what it gives. It raises ImageMissingError where the source fails (what has come is
            kept), ImageBrokenError where the object has changed.
        checked: Waits until the whole has come and is checked. It raises the same, and ImageBrokenError where
            size or checksum differ from what the source says (nothing of it is kept). None: not to be checked.
    """

    read: Reader
    checked: Callable[[], None] | None


class Download:
    """One archive on its way to ``target``; the caller sees to it that nobody else downloads it there.

    Attributes:
        size: Bytes; -1 where the source does not say.
        sha256: Of the whole content, once all of it is checked.
    """

    def __init__(self, remote: Remote, target: Path) -> None:
        self.sha256 = ""
        self.part = target.with_name(target.name + ".part")
        self.size = remote.size
        self._remote = remote
        self._journal = target.with_name(target.name + ".part.journal")
        size = remote.size if remote.ranges else 0
        self._blocks = -(-size // BLOCK)
        self._head = {"uri": remote.uri, "version": remote.version, "size": size, "block": BLOCK}

    def keep(self, target: Path) -> None:
        """Give the complete download its own name."""
        os.replace(self.part, target)
        self.discard()

    def discard(self) -> None:
        """Forget the download and what there is of it."""
        self._journal.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        return max(0, self._remote.size - BLOCK * len(self._done()))

    def stream(self) -> Iterator[bytes]:
        """Download and give the content in order, each block as soon as it is there.

        The last bytes are given only when everything is checked, so that a
        consumer never has the whole of an archive that is not what its source says.

        Raises:
            ImageBrokenError: size or checksum differ from what the source says; nothing of it is kept.
            ImageMissingError: the source fails; what has come is kept.
        """
        if not self._remote.ranges or self._remote.size <= 0:
            yield from self._checked(self._single())
            return
        whole = (0, self._remote.size)
        with self.fetching([whole]) as coming:
            yield from self._checked(coming.read(*whole))

    @contextlib.contextmanager
    def fetching(self, spans: Sequence[tuple[int, int]], *, check: bool = False) -> Iterator[Coming]:
        """Download parts of the content in the background, in this order.

        Args:
            spans: First byte and number of bytes of each. What they do not touch is fetched when it is read.
            check: They are the whole content, which is to be compared with what the source says of it.
        """
        done = self._resume()
        if done:
            logger.info("image %s: going on with %d of %d blocks", self._remote.uri, len(done), self._blocks)
        handle = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        journal = os.open(self._journal, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        pool, checker = ThreadPoolExecutor(WORKERS, "download"), ThreadPoolExecutor(1, "check")
        try:
            arrived = _Arrived()
            coming: dict[int, Future[None]] = {}

            def begin(block: int) -> None:
                if block not in coming and block not in done:
                    coming[block] = pool.submit(self._fetch, block, handle, journal, arrived)
                    coming[block].add_done_callback(lambda _: arrived.tell())

            def there(block: int, position: int) -> int:
                begin(block)
                start, length = self._span(block)
                if block in done or arrived.wait(coming[block], block, position):
                    return start + length
                return arrived.upto[block]

            for start, length in spans:
                for block in self._blocks_of(start, length):
                    begin(block)
            read = partial(self._read, handle, there)
            yield Coming(read, checker.submit(self._check, read).result if check else None)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            checker.shutdown(wait=True)
            os.close(journal)
            os.close(handle)

    def _check(self, read: Reader) -> None:
        for _ in self._checked(read(0, self.size)):
            pass

    def _checked(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        sums = Checksums(self._remote.checksums, self._remote.part_size)
        last = b""
        size = 0
        with ThreadPoolExecutor(1, "checksum") as pool:  # one thread: in order, and beside the consumer's work
            running: Future[None] | None = None
            for data in blocks:
                if last:
                    yield last
                if running:
                    running.result()
                running = pool.submit(sums.update, data)
                size += len(data)
                last = data
        problems = list(sums.differences())
        if self._remote.size not in (-1, size):
            problems.append(f"it has {size} bytes, the source says {self._remote.size}")
        if problems:
            self.discard()
            raise ImageBrokenError(
                f"Image {self._remote.uri} came damaged: {'; '.join(problems)}.",
                "Fetch it again, or mend its source.",
            )
        self.sha256 = sums.sha256
        yield last

    def _single(self) -> Iterator[bytes]:
        """From a server without ranges: in one go, from the start."""
        self._journal.unlink(missing_ok=True)
        try:
            with self.part.open("wb") as part:
                for data in self._remote.read(0, 0):
                    part.write(data)
                    yield data
        except ConnectionError as error:
            self.discard()
            message = f"Image {self._remote.uri} cannot be downloaded: {error}."
            hint = "Its server gives no parts, so that it begins anew each time."
            raise ImageMissingError(message, hint) from error

    def _fetch(self, block: int, handle: int, journal: int, arrived: _Arrived) -> None:
        start, length = self._span(block)
        position = start
        for data in ranged.read(self._remote, start, length):
            view = memoryview(data)
            while view:
                written = os.pwrite(handle, view, position)
                view, position = view[written:], position + written
            arrived.tell(block, position)
        os.write(journal, f"{block}\n".encode())

    def _read(self, handle: int, there: Callable[[int, int], int], start: int, length: int) -> Iterator[bytes]:
        position, end = start, start + length
        while position < end:
            until = min(there(position // BLOCK, position), end)
            while position < until:
                data = os.pread(handle, min(_SLICE, until - position), position)
                if not data:
                    self.discard()  # somebody cut the part short: its journal says more than there is
                    raise ImageBrokenError(f"The part file {self.part} is damaged.", "Run the same command again.")
                position += len(data)
                yield data

    def _blocks_of(self, start: int, length: int) -> range:
        return range(start // BLOCK, -(-(start + length) // BLOCK))

    def _span(self, block: int) -> tuple[int, int]:
        start = block * BLOCK
        return start, min(BLOCK, self._remote.size - start)

    def _resume(self) -> set[int]:
        """Blocks that are there; another object's part is removed."""
        done = self._done()
        if not done:
            self.discard()
        # Written anew: a killed process may have left half a line, which the next would be appended to.
        lines = [json.dumps(self._head), *map(str, sorted(done))]
        files.write_text(self._journal, "".join(f"{line}\n" for line in lines))
        return done

    def _done(self) -> set[int]:
        try:
            head, *lines = self._journal.read_text().split("\n")
            if json.loads(head) != self._head or not self._head["version"] or not self.part.exists():
                return set()
            # The last line may be half written: then what follows the last newline is no block.
            return {int(line) for line in lines[:-1] if line.isdecimal() and int(line) < self._blocks}
        except (OSError, ValueError):
            return set()


class _Arrived:
    """How far blocks on their way have come.

    Attributes:
        upto: For a block the first byte that is not there yet, from its first piece on.
    """

    def __init__(self) -> None:
        self.upto: dict[int, int] = {}
        self._changed = threading.Condition()

    def tell(self, block: int = -1, upto: int = 0) -> None:
        """Wake those who wait: a block has come so far, or has ended."""
        with self._changed:
            if block >= 0:
                self.upto[block] = upto
            self._changed.notify_all()

    def wait(self, coming: Future[None], block: int, position: int) -> bool:
        """Wait until a block has come beyond ``position``; whether it is complete. What has ended it is raised."""
        with self._changed:
            self._changed.wait_for(lambda: coming.done() or self.upto.get(block, 0) > position)
        if coming.done():
            coming.result()
            return True
        return False

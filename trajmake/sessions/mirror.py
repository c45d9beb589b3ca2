"""A session's copy in S3: pushed when a run ends, pulled where it is to be read or to go on.

Keys are the paths under ``output_dir``, so that any client of S3 can read the copy. ``results/SESSION/manifest.json``
is written last and says which files make it up: path → size in bytes, time of modification in nanoseconds,
SHA-256. Nothing is ever deleted there. A copy belongs to the session that made it: its id stands in the manifest and
in ``results/SESSION/.mirror.json``, and another session of the same name neither overwrites nor mixes with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import stat
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError, field_validator

from trajmake import files, s3
from trajmake.errors import ConfigError, CopyError
from trajmake.sessions import cleaning, layout, locks
from trajmake.settings import Settings
from trajmake.settings.sections import ResultSettings

Item = TypeVar("Item")
Result = TypeVar("Result")

_MANIFEST = layout.RESULTS + "/manifest.json"
_SMALL = 8 << 20  # bytes of a file that is sent in one request, out of memory
# Claims and locks are of processes, and so are unfinished files.
_LOCKS = r"\.driver\.lock[^/]*|\.mirror\.lock[^/]*"
_PASSING = re.compile(rf"(^|/)(\.claim[^/]*|{_LOCKS}|\.mirror\.json|manifest\.json|\.[^/]*\.part[^/]*)$")


@dataclass(frozen=True)
class Copied:
    """What a push or a pull did: files in the copy, how many of them were moved and their bytes, whether it is whole.

    A copy is not whole when its push was interrupted.
    """

    files: int
    moved: int
    bytes: int
    whole: bool = True


Facts = tuple[int, int, str]
"""Size in bytes, time of modification in nanoseconds, SHA-256."""


class Manifest(BaseModel):
    """What a copy consists of.

    Attributes:
        id: Of the session.
        whole: Whether the last push came to its end.
        files: Path under ``output_dir`` → facts.
    """

    id: str
    whole: bool
    files: dict[str, Facts]

    @field_validator("files")
    @classmethod
    def _inside(cls, value: dict[str, Facts]) -> dict[str, Facts]:
        for path in map(PurePosixPath, value):
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{path} leads out of the folder")
        return value


@dataclass(frozen=True)
class _Place:
    """Where copies lie: a client, a bucket, what stands before every key."""

    uri: str
    client: Any
    bucket: str
    prefix: str

    def key(self, path: str) -> str:
        return f"{self.prefix}{path}"

    @contextlib.contextmanager
    def faults(self, path: str = "") -> Iterator[None]:
        """Turn boto3's errors into ours."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        what = f"{self.uri}/{path}" if path else self.uri
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            hint = "Check the bucket and results.s3.endpoint."
            if code in s3.DENIED:
                hint = "Check results.s3.profile and its permissions s3:GetObject and s3:PutObject."
            raise CopyError(f"{what}: S3 answers {code}.", hint) from error
        except (BotoCoreError, Boto3Error) as error:
            hint = "Check results.s3, the credentials and the network; `trajmake push` tries again."
            raise CopyError(f"{what}: {error}.", hint) from error


def push(output_dir: Path, session: str, wanted: ResultSettings) -> Copied:
    """Bring a session's copy up to date; only what changed since the last push is sent. Pushes take turns.

    Raises:
        ClaimedError: another process has been pushing it for a day.
        ConfigError: no ``results.uri``, no such session, or another session's copy is there.
        CopyError: S3 cannot be reached, or refuses.
    """
    place = _place(wanted)
    with cleaning.copying(output_dir, session) as turn:
        mark = output_dir / layout.MIRROR.format(session=session)
        own = str(files.read_object(mark).get("id") or uuid.uuid4().hex)
        before = _manifest(place, session)
        if before and before.id != own:
            hint = "Go on with that one (`trajmake pull`), or name another place or session."
            raise ConfigError(f"{place.uri} holds another session {session}.", hint)
        files.write_json(mark, {"id": own})
        known = before.files if before else {}
        now = Manifest(id=own, whole=False, files=known.copy())
        sent = []
        try:
            there = set()
            paths = _files(output_dir, session)
            done = _at_once(lambda path: _send(place, output_dir / path, path, known.get(path)), paths)
            for path, facts, moved in done:
                now.files[path] = facts
                there.add(path)
                if moved:
                    sent.append(facts[0])
            now = Manifest(id=own, whole=True, files={path: now.files[path] for path in now.files if path in there})
        finally:  # what is there by now need not be sent again
            turn.check()
            if now != before:
                with place.faults(_MANIFEST.format(session=session)):
                    _put(place, _MANIFEST.format(session=session), now.model_dump_json().encode())
        return Copied(len(now.files), len(sent), sum(sent))


def pull(output_dir: Path, session: str, wanted: ResultSettings) -> Copied:
    """Bring a copy here; files that are here already, with the same content, stay.

    Times of modification are those of the original, so that nothing is made again.

    Raises:
        ConfigError: no ``results.uri``, or there is no copy of such a session, or another of the same name is here.
        ClaimedError: somebody works on the session here.
        CopyError: S3 cannot be reached, or the copy is not what its manifest says.
        DiskFullError: no room here.
    """
    place = _place(wanted)
    found = _manifest(place, session)
    if not found:
        raise ConfigError(f"{place.uri} holds no session {session}.", "Check results.uri and --session.")
    results = output_dir / layout.RESULTS.format(session=session)
    mark = output_dir / layout.MIRROR.format(session=session)

    def check() -> None:
        fresh = all(re.fullmatch(_LOCKS, path.name) for path in results.glob("*"))  # a pull was killed at its start
        if not fresh and files.read_object(mark).get("id") != found.id:
            raise ConfigError(f"{output_dir} holds another session {session}.", "Pull into another folder.")

    check()  # before there is a lock in a folder that is no session
    with locks.claim(output_dir / layout.LOCK.format(session=session)):
        check()
        files.write_json(mark, {"id": found.id})
        brought = list(_at_once(lambda one: _bring(place, output_dir / one[0], *one), found.files.items()))
    return Copied(len(found.files), len(brought), sum(brought), found.whole)


def after_run(options: Settings) -> None:
    """Push the session of a run that ended, where ``results.uri`` says so and this process drives it.

    Raises:
        ClaimedError, ConfigError, CopyError: see :func:`push`.
    """
    output_dir = Path(options.output_dir)
    if options.results.uri and locks.drives(output_dir / layout.LOCK.format(session=options.session)):
        done = push(output_dir, options.session, options.results)
        print(f"Copied to {options.results.uri}: {done.moved} of {done.files} files", file=sys.stderr)


def _place(wanted: ResultSettings) -> _Place:
    if not wanted.uri:
        message = "`results.uri` is empty: there is no place for copies."
        raise ConfigError(message, "Set it: results: {uri: s3://bucket/prefix}.")
    parts = urlsplit(wanted.uri, allow_fragments=False)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigError(f"{wanted.uri} is no place in S3.", "It has the form s3://bucket/prefix.")
    prefix = parts.path.strip("/")
    return _Place(wanted.uri.rstrip("/"), s3.client(wanted.s3), parts.netloc, f"{prefix}/" if prefix else "")


def _at_once(work: Callable[[Item], Result | None], items: Iterable[Item]) -> Iterator[Result]:
    """Results of calls side by side, in order, without those that are None."""
    with ThreadPoolExecutor(s3.CONNECTIONS, "mirror") as pool:
        waiting = [pool.submit(work, item) for item in items]
        try:
            for done in waiting:
                if (result := done.result()) is not None:
                    yield result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _manifest(place: _Place, session: str) -> Manifest | None:
    """What the copy there consists of; None where there is none.

    Raises:
        CopyError: it is not one of ours.
    """
    from botocore.exceptions import ClientError

    path = _MANIFEST.format(session=session)
    with place.faults(path):
        try:
            body = place.client.get_object(Bucket=place.bucket, Key=place.key(path))["Body"]
            return Manifest.model_validate_json(body.read())
        except ClientError as error:
            if str(error.response.get("Error", {}).get("Code", "")) in ("NoSuchKey", "404"):
                return None
            raise
        except ValidationError as error:
            message = f"{place.uri}/{path} is no manifest of a copy."
            raise CopyError(message, "Name another place.") from error


def _files(output_dir: Path, session: str) -> Iterator[str]:
    """Paths under ``output_dir`` of the session's regular files that stay."""
    for place in cleaning.places(output_dir, session):
        for folder, _, found in os.walk(place):
            for name in sorted(found):
                path = Path(folder, name)
                relative = path.relative_to(output_dir).as_posix()
                if not _PASSING.search(relative):
                    yield relative


def _send(place: _Place, path: Path, name: str, before: Facts | None) -> tuple[str, Facts, bool] | None:
    """Send a file unless it is there; gives its facts and whether it was sent, None where it is gone or no file."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            return None
        if before and before[:2] == (found.st_size, found.st_mtime_ns):
            return name, before, False
        with path.open("rb") as stream:
            # Small ones are read once: what is hashed is what is sent, also while somebody writes.
            content: io.BytesIO | io.BufferedReader = io.BytesIO(stream.read()) if found.st_size < _SMALL else stream
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            facts = (content.seek(0, os.SEEK_END), found.st_mtime_ns, digest)
            if before and before[2] == digest:
                return name, facts, False
            content.seek(0)
            with place.faults(name):
                if isinstance(content, io.BytesIO):
                    _put(place, name, content.getvalue())
                else:
                    place.client.upload_fileobj(content, place.bucket, place.key(name))
            return name, facts, True
    except FileNotFoundError:
        return None


def _put(place: _Place, name: str, data: bytes) -> None:
    place.client.put_object(Bucket=place.bucket, Key=place.key(name), Body=data)


def _bring(place: _Place, path: Path, name: str, facts: Facts) -> int | None:
    """Bring a file here unless it is; gives its size, None where it was here."""
    size, modified, digest = facts
    with contextlib.suppress(FileNotFoundError):
        here = path.lstat()
        if (here.st_size, here.st_mtime_ns) == (size, modified):
            return None
    seen = hashlib.sha256()
    with files.atomic(path) as target, place.faults(name):
        body = place.client.get_object(Bucket=place.bucket, Key=place.key(name))["Body"]
        with contextlib.closing(body):
            for block in body.iter_chunks(1 << 20):
                seen.update(block)
                target.write(block)
        if seen.hexdigest() != digest:
            message = f"{place.uri}/{name} is not what the manifest says."
            raise CopyError(message, "Push the session again where it ran.")
    os.utime(path, ns=(modified, modified))
    return size

"""Archives behind ``http://`` and ``https://``, by ranged requests where the server has them (RFC 9110)."""

from __future__ import annotations

import base64
import binascii
import http.client
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from trajmake.errors import ImageBrokenError, ImageMissingError, TrajmakeError
from trajmake.sessions.layout import public_uri
from trajmake.settings import ImageSettings

_SECONDS = 60.0  # without a byte
_BLOCK = 1 << 20
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class HttpFile:
    """See :class:`trajmake.images.sources.base.Remote`.

    Attributes:
        address: The whole URI, with what must not be shown.
    """

    uri: str
    address: str
    size: int
    version: str
    ranges: bool
    checksums: Mapping[str, str] = field(default_factory=dict)
    part_size: int = 0

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """See the protocol."""
        headers = {"Range": f"bytes={start}-{start + length - 1}"} if self.ranges else {}
        if self.ranges and self.version.startswith('"'):
            headers["If-Match"] = self.version
        try:
            with urlopen(Request(self.address, headers=headers), timeout=_SECONDS) as answer:
                if self.ranges and answer.status != 206:
                    raise ConnectionError(f"{self.uri} answers a ranged request with status {answer.status}")
                while block := answer.read(_BLOCK):
                    yield block
        except HTTPError as error:
            raise _fault(self.uri, error) from error
        except (http.client.HTTPException, URLError, TimeoutError) as error:
            raise ConnectionError(str(error)) from error


def locate(uri: str, options: ImageSettings) -> HttpFile:
    """Ask for one byte: what it is, how long, and whether parts can be had.

    Raises:
        ImageMissingError: it is not there, not for us, or nobody answers.
    """
    try:
        with urlopen(Request(uri, headers={"Range": "bytes=0-0"}), timeout=_SECONDS) as answer:
            headers, ranged = answer.headers, answer.status == 206
    except HTTPError as error:
        fault = _fault(uri, error)
        if isinstance(fault, TrajmakeError):
            raise fault from error
        raise _unreachable(uri, error) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(uri, error) from error
    whole = re.fullmatch(r"bytes 0-0/(\d+)", headers.get("Content-Range", ""))
    size = int(whole[1]) if whole else int(headers.get("Content-Length") or -1)
    version = headers.get("ETag") or headers.get("Last-Modified") or ""
    return HttpFile(public_uri(uri), uri, size, version, bool(ranged and whole), {} if ranged else _checksums(headers))


def _checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Of the whole content; an answer of one byte has those of that byte."""
    found = {}
    if value := headers.get("Content-MD5"):
        found["md5"] = _hex(value)
    if digest := re.search(
        r"sha-256=:?([A-Za-z0-9+/=]{44})", headers.get("Repr-Digest") or headers.get("Digest") or ""
    ):
        found["sha256"] = _hex(digest[1])
    return {name: value for name, value in found.items() if value}


def _hex(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).hex()
    except binascii.Error:
        return ""


def _fault(uri: str, error: HTTPError) -> TrajmakeError | ConnectionError:
    shown = public_uri(uri)
    if error.code in _TRANSIENT:
        return ConnectionError(f"{shown} answers {error.code} {error.reason}")
    if error.code in (401, 403):
        return ImageMissingError(f"Access to image {shown} is denied ({error.code}).", "Check address and permission.")
    if error.code in (412, 416):
        return ImageBrokenError(f"Image {shown} has changed during its download.", "Run the same command again.")
    return ImageMissingError(f"There is no image {shown} ({error.code} {error.reason}).", "Check its address.")


def _unreachable(uri: str, error: Exception) -> ImageMissingError:
    cause = getattr(error, "reason", None) or error
    host = urlsplit(uri).netloc.rpartition("@")[2]
    return ImageMissingError(
        f"Image {public_uri(uri)}: {host} cannot be reached ({cause}).", "Check address and network."
    )

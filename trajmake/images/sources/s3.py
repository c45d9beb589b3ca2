"""Archives in S3 and what speaks its protocol (``s3://bucket/key``), through boto3.

Checksums: an object put in one request has its MD5 as ETag, unless it is
encrypted with a key of KMS or of the customer's; one put in parts has the MD5 of
its parts' MD5s and the number of parts. What ``x-amz-checksum-*`` gives of a
whole object is taken too ("Checking object integrity", Amazon S3 User Guide).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from trajmake import s3
from trajmake.errors import ConfigError, ImageBrokenError, ImageMissingError, TrajmakeError
from trajmake.settings import ImageSettings

_BLOCK = 1 << 20
_ABSENT = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
_CHANGED = {"412", "PreconditionFailed", "416", "InvalidRange"}


@dataclass(frozen=True)
class S3Object:
    """See :class:`trajmake.images.sources.base.Remote`."""

    uri: str
    size: int
    version: str
    checksums: Mapping[str, str]
    part_size: int
    client: Any
    bucket: str
    key: str
    ranges: bool = True

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """See the protocol."""
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        wanted = {"Range": f"bytes={start}-{start + length - 1}", "IfMatch": self.version}
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=self.key, **wanted)["Body"]
            with body:
                yield from body.iter_chunks(_BLOCK)
        except ClientError as error:
            raise _fault(self.uri, error) from error
        except (BotoCoreError, HTTPError) as error:
            raise ConnectionError(str(error)) from error


def locate(uri: str, options: ImageSettings) -> S3Object:
    """Look the object up.

    Raises:
        ConfigError: no bucket or key in ``uri``, or no such profile.
        ImageMissingError: it is not there, not for us, or nobody answers.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    parts = urlsplit(uri, allow_fragments=False)
    bucket, key = parts.netloc, parts.path.lstrip("/")
    if not bucket or not key:
        raise ConfigError(f"The image {uri} names no object of S3.", "It has the form s3://bucket/key.tar.")
    try:
        client = s3.client(options.s3)
        head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        etag = str(head["ETag"])
        size = int(head["ContentLength"])
        part_size = _part_size(client, bucket, key, etag, size)
    except ClientError as error:
        fault = _fault(uri, error)
        raise fault if isinstance(fault, TrajmakeError) else _unreachable(uri, error) from error
    except (BotoCoreError, ValueError) as error:
        raise _unreachable(uri, error) from error
    return S3Object(uri, size, etag, _checksums(head, etag, part_size), part_size, client, bucket, key)


def _checksums(head: Mapping[str, Any], etag: str, part_size: int) -> dict[str, str]:
    found = {}
    name = etag.strip('"')
    encrypted = str(head.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in head
    if re.fullmatch("[0-9a-f]{32}", name) and not encrypted:
        found["md5"] = name
    elif part_size and not encrypted:
        found["md5-parts"] = name
    if head.get("ChecksumType") != "COMPOSITE":
        for algorithm in ("SHA256", "SHA1", "CRC32"):
            value = str(head.get(f"Checksum{algorithm}") or "")
            if value and "-" not in value:
                found[algorithm.lower()] = base64.b64decode(value).hex()
    return found


def _part_size(client: Any, bucket: str, key: str, etag: str, size: int) -> int:
    """Size of the parts an object was put in; 0 where it was not, or they are not alike, or the server does not say."""
    from botocore.exceptions import BotoCoreError, ClientError

    parts = re.fullmatch("[0-9a-f]{32}-([0-9]+)", etag.strip('"'))
    if not parts:
        return 0
    try:
        first = int(client.head_object(Bucket=bucket, Key=key, PartNumber=1)["ContentLength"])
    except (ClientError, BotoCoreError):
        return 0
    return first if first and -(-size // first) == int(parts[1]) else 0


def _fault(uri: str, error: Any) -> TrajmakeError | ConnectionError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _ABSENT or status == 404:
        return ImageMissingError(f"There is no image {uri} ({code}).", "Check bucket and key, and images.s3.endpoint.")
    if code in s3.DENIED or status in (401, 403):
        return ImageMissingError(
            f"Access to image {uri} is denied ({code}).",
            "Check images.s3.profile and its permission s3:GetObject; public buckets need images.s3.unsigned: true.",
        )
    if code in _CHANGED or status in (412, 416):
        return ImageBrokenError(f"Image {uri} has changed during its download.", "Run the same command again.")
    return ConnectionError(f"S3 answers {code or status}: {error}")


def _unreachable(uri: str, error: Exception) -> ImageMissingError:
    return ImageMissingError(
        f"Image {uri} cannot be looked up: {error}.", "Check images.s3.endpoint, region, profile and the network."
    )

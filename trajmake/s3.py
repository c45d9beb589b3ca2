"""How servers of S3's protocol are spoken to: Amazon's, and others."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from trajmake.errors import ConfigError
from trajmake.settings.sections import S3Settings

CONNECTIONS = 16
DENIED = {"403", "AccessDenied", "Forbidden", "SignatureDoesNotMatch", "InvalidAccessKeyId", "401", "ExpiredToken"}
"""Codes and statuses of answers that say: not for you."""


@lru_cache(maxsize=4)
def client(chosen: S3Settings) -> Any:
    """boto3's client for a server, the same for the same settings.

    Raises:
        ConfigError: there is no such profile.
    """
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import ProfileNotFound

    config = Config(
        signature_version=UNSIGNED if chosen.unsigned else None,
        max_pool_connections=CONNECTIONS,
        connect_timeout=10,
        read_timeout=60,
        retries={"total_max_attempts": 3, "mode": "standard"},
        # Servers other than Amazon's often know neither names of buckets as host names nor the newer checksums.
        s3={"addressing_style": "path"} if chosen.endpoint else {},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = boto3.Session(profile_name=chosen.profile or None, region_name=chosen.region or None)
    except ProfileNotFound as error:
        raise ConfigError(
            f"There is no AWS profile {chosen.profile!r}.", "See `aws configure list-profiles`."
        ) from error
    region = None if session.region_name else "us-east-1"
    return session.client("s3", endpoint_url=chosen.endpoint or None, config=config, region_name=region)

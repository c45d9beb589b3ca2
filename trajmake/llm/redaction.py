"""Text that may be kept: without keys, and encodable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

MASK = "**********"
_SHORTEST = 8  # a shorter value would be found in innocent text, and no provider's key is
_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def secrets(variables: Iterable[str]) -> tuple[str, ...]:
    """The values that these environment variables hold now, longest first; without white space around them.

    A key that a file's last line end came along with is sent, and quoted, without it.
    """
    values = {os.environ.get(name, "").strip() for name in variables}
    return tuple(sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True))


def environment_secrets(variables: Iterable[str] = ()) -> tuple[str, ...]:
    """The values of all variables that are called a key, a token or a secret, and of ``variables``."""
    return secrets([*variables, *filter(_NAME.search, os.environ)])


def clean(value: Any, hidden: Iterable[str] = ()) -> Any:
    """A copy of a JSON value in which every hidden string is masked.

    Half of a surrogate pair (models do end an answer in the middle of one) becomes
    U+FFFD: it can neither be sent back to a provider nor written to a file.
    """
    if isinstance(value, str):
        for secret in hidden:
            value = value.replace(secret, MASK)
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {key: clean(item, hidden) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item, hidden) for item in value]
    return value

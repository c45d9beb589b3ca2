"""SWE-bench's own parsers, for its rows in other languages than Python: names ``swebench/parse_log_…``.

They come from the package ``swebench`` (extra ``swebench``, 4.1 to 5) and are
not rewritten here: ids in those datasets are whatever these parsers print. Python's
have parsers of ours, which give the same statuses (``tests/test_swebench.py``).
"""

from __future__ import annotations

import importlib.util
import pkgutil
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import ParseError

from trajmake.errors import ConfigError
from trajmake.grading.parsers.reading import Reading

PREFIX = "swebench/"

# swebench.harness.grading.SUITE_RAN of 5.0.2, for versions before it.
_RAN = re.compile(
    r"Executed [1-9]\d* of \d+|TOTAL: [1-9]\d* (?:SUCCESS|FAILED)|[1-9]\d* passing|Tests:\s+[1-9]\d*"
    r"|Test Suites:\s+(?:\d+ \w+, )*[1-9]\d* total|^# tests [1-9]\d*|[1-9]\d* specs?, \d+ failures?|': ok$",
    re.M,
)


def installed() -> bool:
    """Whether the package is there; it is not imported for that."""
    return importlib.util.find_spec("swebench") is not None


def read(name: str, log: str, row: Mapping[str, Any]) -> Reading:
    """Read a cleaned log as SWE-bench's harness would.

    Args:
        name: ``swebench/parse_log_…``.
        log: The log.
        row: The instance's row; some parsers depend on ``version`` or ``instance_id``.

    Raises:
        ConfigError: the package is missing, or has no such parser.
    """
    spec = SimpleNamespace(
        instance_id=str(row.get("instance_id", "")),
        version=str(row.get("version", "")),
        repo=str(row.get("repo", "")),
    )
    try:
        statuses = dict(_parser(name.removeprefix(PREFIX))(log, spec))
    except ParseError as error:  # doctest's XML, cut off where the program ended
        return Reading({}, True, f"its XML ends in the middle ({error})")
    return Reading(statuses, bool(statuses) or bool(_RAN.search(log)))


@cache
def _parser(name: str) -> Callable[[str, Any], Mapping[str, str]]:
    try:
        package = import_module("swebench.harness.log_parsers")
    except ImportError as error:
        raise ConfigError(
            f"The parser {PREFIX}{name} is in the package swebench, which is missing ({error}).",
            "Install it with `pip install 'trajmake[swebench]'`.",
        ) from error
    modules = [import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]
    parsers = {key: value for module in modules for key, value in vars(module).items() if key.startswith("parse_log_")}
    if name not in parsers:
        raise ConfigError(f"SWE-bench has no parser {name!r}.", f"It has: {', '.join(sorted(parsers))}.")
    parser: Callable[[str, Any], Mapping[str, str]] = parsers[name]
    return parser

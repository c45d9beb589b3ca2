"""What is wrong with a row, field by field."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trajmake.datasets import fields
from trajmake.grading.parsers import known, official
from trajmake.sessions.layout import image_name, safe_name

CELL = 32767
"""Characters that a spreadsheet's cell can hold; a longer field was cut there."""

_REQUIRED = ("instance_id", "problem_statement", "image_storage_uri", "test_command", "test_output_parser")
_LISTS = ("FAIL_TO_PASS", "PASS_TO_PASS")
_MEANT = {*_REQUIRED, *_LISTS, "base_commit", "test_patch", "repo_path"}  # a run would come out wrong without them
_DIFFS = ("patch", "test_patch")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a field.

    Attributes:
        field: The field's canonical name, "" for the row as a whole.
        message: What is wrong with it.
        invalid: The row cannot be run; else it can, with less to say (no gold patch, for example).
    """

    field: str
    message: str
    invalid: bool = True

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def errors(row: Mapping[str, Any]) -> list[Problem]:
    """Why a row (canonical names) cannot be run; empty when it can."""
    found = [Problem(name, "is missing or empty") for name in _REQUIRED if fields.empty(row.get(name))]
    found += [Problem("instance_id", why) for why in [_unsafe(fields.text(row.get("instance_id")))] if why]
    commit = fields.text(row.get("base_commit"))
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        found.append(Problem("base_commit", f"is not 40 hex digits: {commit[:50]!r}"))
    for name in _LISTS:
        try:
            if not fields.test_ids(row.get(name)) and name == "FAIL_TO_PASS":
                found.append(Problem(name, "names no test"))
        except ValueError as error:
            found.append(Problem(name, str(error)))
    found += [Problem(name, _cut(name)) for name in cut_fields(row) if name in _MEANT]
    if defect := _defect(row, "test_patch"):
        found.append(Problem("test_patch", defect))
    found += [Problem("image_storage_uri", why) for why in [_nameless(row)] if why]
    found += [Problem("test_output_parser", why) for why in [_unknown(row)] if why]
    return found


def warnings(row: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with a row (canonical names) that can be run all the same."""
    found = [Problem("repo", "is missing or empty", False)] if fields.empty(row.get("repo")) else []
    found += [Problem(name, _cut(name), False) for name in cut_fields(row) if name not in _MEANT]
    if fields.empty(row.get("patch")):
        found.append(Problem("patch", "is missing or empty; `gold` cannot calibrate the instance", False))
    elif defect := _defect(row, "patch"):
        found.append(Problem("patch", defect, False))
    return found


def cut_fields(row: Mapping[str, Any]) -> list[str]:
    """The fields that are as long as a spreadsheet's cell can be, and those noted as cut before.

    A diff may have been given its final newline since.
    """
    found = set(row.get("cut_fields") or [])
    for name, value in row.items():
        if isinstance(value, str):
            length = len(value) - (name in _DIFFS and len(value) > CELL and value.endswith("\n"))
            if length == CELL:
                found.add(name)
    return sorted(found)


def _cut(name: str) -> str:
    return f"is cut: {CELL} characters, as many as a spreadsheet's cell can hold"


def _unsafe(identity: str) -> str:
    if not identity:
        return ""
    if fields.is_rounded(identity):
        return f"was rounded by a spreadsheet: {identity}"
    if not identity.isprintable():
        return f"holds characters that cannot be printed: {identity[:80]!r}"
    if ".." in identity.split("/") or identity.startswith("/"):
        return f"is unsafe, it leads out of its folder: {identity[:80]!r}"
    try:
        safe_name(identity)
    except ValueError as error:
        return str(error)
    return ""


def _defect(row: Mapping[str, Any], name: str) -> str:
    patch = fields.diff(row.get(name))
    defect = fields.diff_defect(patch) if patch.strip() else ""
    return f"does not parse as a diff: {defect}" if defect else ""


def _nameless(row: Mapping[str, Any]) -> str:
    uri = fields.text(row.get("image_storage_uri"))
    try:
        image_name(uri or "none")
    except ValueError:
        return f"has no last part that could name a tarball: {uri[:80]!r}"
    return ""


def _unknown(row: Mapping[str, Any]) -> str:
    parser = fields.text(row.get("test_output_parser"))
    if not parser or parser in known():
        return ""
    if parser.startswith(official.PREFIX):
        return "" if official.installed() else f"{parser} is in the package swebench: pip install 'trajmake[swebench]'"
    near = difflib.get_close_matches(parser, known(), n=1)
    return f"unknown parser {parser!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known())}")

"""Rows → canonical values → :class:`~trajmake.datasets.instance.Instance`.

Field names and traps: ``docs/formats.md``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trajmake.datasets import fields, problems
from trajmake.datasets.instance import Instance
from trajmake.errors import DatasetError
from trajmake.sessions import layout

# What a trajectory and its verdict depend on; anything else in a row may change freely.
_DIGESTED = (
    "instance_id", "repo", "base_commit", "problem_statement", "patch", "test_patch", "FAIL_TO_PASS",
    "PASS_TO_PASS", "language", "test_command", "test_output_parser", "image_storage_uri", "repo_path",
)  # fmt: skip


def canonical(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row (canonical names) with canonical values, the fields of an instance first.

    Newlines restored, lists as lists, one diff each, the language in lower case. A
    value that cannot be read stays as it is; fields that were cut are noted in
    ``cut_fields``, for lengths no longer tell.
    """
    done: dict[str, Any] = {name: row[name] for name in _DIGESTED if name in row} | dict(row)
    if cut := problems.cut_fields(row):
        done["cut_fields"] = cut
    if "problem_statement" in row:
        done["problem_statement"] = fields.restore_newlines(fields.text(row["problem_statement"]))
    for name in ("patch", "test_patch"):
        if name in row:
            done[name] = fields.diff(row[name])
    for name in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        with contextlib.suppress(ValueError):  # said by problems.errors
            done[name] = list(fields.test_ids(row.get(name)))
    if language := language_of(row):
        done["language"] = language
    return done


def digest(row: Mapping[str, Any]) -> str:
    """sha256 over what an instance means, whatever the spelling: order, shape of the file, newlines, lists.

    Of an image in a local file the name counts and not the folder: a subset
    written elsewhere repeats nothing. Nor does a signature renewed in a URI.
    """
    values = canonical(row)
    uri = fields.text(values.get("image_storage_uri"))
    values["image_storage_uri"] = os.path.basename(uri) if is_local(uri) else layout.public_uri(uri)
    plain = json.dumps({name: values.get(name) or None for name in _DIGESTED}, sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()


def to_instance(row: Mapping[str, Any]) -> Instance:
    """Check a row (canonical names) and give it as an instance.

    Raises:
        DatasetError: every problem of the row, with its field.
    """
    identity = fields.text(row.get("instance_id"))
    if found := problems.errors(row):
        raise DatasetError(
            f"Row {identity or '(without instance_id)'} cannot be used: {'; '.join(map(str, found))}.",
            "Mend the row in the dataset, or leave it out with `instances`.",
        )
    values = canonical(row)
    return Instance(
        instance_id=identity,
        repo=fields.text(values.get("repo")),
        base_commit=fields.text(values.get("base_commit")),
        problem_statement=values["problem_statement"],
        patch=values.get("patch", ""),
        test_patch=values.get("test_patch", ""),
        fail_to_pass=tuple(values["FAIL_TO_PASS"]),
        pass_to_pass=tuple(values["PASS_TO_PASS"]),
        language=values.get("language", "python"),
        test_command=fields.text(values.get("test_command")),
        test_output_parser=fields.text(values.get("test_output_parser")),
        image_storage_uri=fields.text(values.get("image_storage_uri")),
        repo_path=fields.text(values.get("repo_path")),
        row=dict(row),
        digest=digest(row),
    )


def language_of(row: Mapping[str, Any]) -> str:
    """The row's language in lower case, else its parser's, else ""."""
    named = fields.text(row.get("language")) or fields.text(row.get("test_output_parser")).partition("/")[0]
    return named.strip().lower()


def is_local(uri: str) -> bool:
    """Whether an image is named as a file of this machine, by its name alone."""
    archive = uri.endswith((".tar", ".tar.gz", ".tgz", ".tar.zst"))
    return uri.startswith(("/", "./", "../", "file://")) or (archive and not urlsplit(uri).scheme)


def beside(uri: str, folder: Path) -> Path | None:
    """The file that a relative URI names in a dataset's folder, if it is there."""
    if not uri or urlsplit(uri).scheme or not (folder / uri).exists():
        return None
    return folder / uri


def moved(row: Mapping[str, Any], source: Path, target: Path) -> dict[str, Any]:
    """A row for a dataset in folder ``target``: an image that lies beside the old one is found from there."""
    uri = fields.text(row.get("image_storage_uri"))
    local = beside(uri, source)
    if local is None or uri.startswith("/"):
        return dict(row)
    return dict(row) | {"image_storage_uri": os.path.relpath(local.resolve(), target.resolve())}

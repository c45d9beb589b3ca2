"""The bugs of the demo, as ``bugs.yaml`` describes them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class Release:
    """One release on the package index: version and sha256 of its ``.tar.gz``."""

    version: str
    sha256: str


@dataclass(frozen=True)
class Bug:
    """A bug that was fixed between two releases.

    Attributes:
        instance_id: ``<owner>__<name>-<release that fixed it>``.
        repo: ``owner/name``.
        package: Name on the package index.
        before: The release that has the bug: the repository's base commit.
        after: The release that fixed it.
        date: Date of the base commit, ISO 8601 in UTC.
        licence: SPDX name of the package's licence.
        summary: What was wrong, in one line.
        fix: File → texts, each in exactly one hunk of the file's difference (none: all hunks).
        tests: The same for the change of the tests.
        test_command: Shell command, run in the repository.
        test_output_parser: ``<language>/<parser>``.
        problem_statement: The issue as a user would have reported it.
    """

    instance_id: str
    repo: str
    package: str
    before: Release
    after: Release
    date: str
    licence: str
    summary: str
    fix: dict[str, list[str]]
    tests: dict[str, list[str]]
    test_command: str
    test_output_parser: str
    problem_statement: str


def load_bugs() -> list[Bug]:
    """Every bug of ``bugs.yaml``, in its order."""
    text = files("trajmake.demo").joinpath("bugs.yaml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = yaml.safe_load(text)
    return [Bug(**{**row, "before": Release(**row["before"]), "after": Release(**row["after"])}) for row in rows]

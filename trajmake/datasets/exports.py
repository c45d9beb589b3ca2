"""Rows under other names: raw client exports and plain SWE-bench rows → canonical field names."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from typing import Any

from trajmake.datasets.fields import empty, identifier, text
from trajmake.errors import DatasetError
from trajmake.grading.parsers import known, official

EXPORTED: dict[str, tuple[str, ...]] = {
    "instance_id": ("issue_fbid",),
    "repo": ("repo_source_uri",),
    "base_commit": ("commit_hash",),
    "problem_statement": ("issue_statement", "pr_description", "pr_title"),
    "patch": ("functional_patch",),
    "test_patch": ("test_patches",),
    "FAIL_TO_PASS": ("fail_to_pass_tests",),
    "PASS_TO_PASS": ("pass_to_pass_tests",),
    "image_storage_uri": ("image", "image_name", "docker_image"),
}
"""Canonical field → the fields that exports have in its place, the best first."""

IDS = ("instance_id", *EXPORTED["instance_id"])
_REPO = re.compile(r"^(?:[a-z+]+://[^/]+/|[\w.-]+@[^:]+:)?(?P<name>[^/]+/[^/]+?)(?:\.git)?/?$")
_END = ">>>>> End Test Output"


def with_canonical_names(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A row under the canonical names; further fields stay, and "not a number" becomes null.

    Values stay as they are but for the id, which becomes text, and the
    repository, which loses its host.
    """
    row = {str(name): None if isinstance(value, float) and empty(value) else value for name, value in raw.items()}
    for name, others in EXPORTED.items():
        for other in others:
            if empty(row.get(name)) and not empty(row.get(other)):
                row[name] = row.pop(other)
    if "instance_id" in row:
        row["instance_id"] = identifier(row["instance_id"])
    if match := _REPO.match(text(row.get("repo"))):
        row["repo"] = match["name"]
    return row


def is_plain(row: Mapping[str, Any]) -> bool:
    """Whether this is a plain SWE-bench row: it does not say how its tests are run and read."""
    return empty(row.get("test_command")) and empty(row.get("test_output_parser")) and not empty(row.get("version"))


def from_swebench(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a plain SWE-bench row leaves out: language, command, parser and, where missing, the image.

    A row of SWE-bench 5 holds it as ``eval_script`` and ``log_parser``; for others it
    comes from the tables of the package ``swebench``, which has them up to version 4.

    Raises:
        DatasetError: the package or its tables are missing, or do not know the row.
    """
    added: dict[str, Any] = {"language": text(row.get("language")) or "python"}
    if empty(row.get("image_storage_uri")):
        name = text(row.get("instance_id")).lower().replace("__", "_1776_")
        added["image_storage_uri"] = f"swebench/sweb.eval.x86_64.{name}:latest"
    script, parser = text(row.get("eval_script")), text(row.get("log_parser"))
    if not script or not parser:
        script, parser = _from_tables(row)
    # What follows the tests would hide their exit code.
    added["test_command"] = script.partition(f"\n: '{_END}'")[0]
    added["test_output_parser"] = parser if "/" in parser else _parser_name(parser)
    return added


def _parser_name(parser: str) -> str:
    """Python's parsers are ours, other languages' SWE-bench's own: its ids are what these print."""
    name = f"python/{parser}"
    return name if name in known() else f"{official.PREFIX}{parser}"


def swebench_version() -> str:
    """Version of the package ``swebench``, "" when it is not there."""
    try:
        return importlib.metadata.version("swebench")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _from_tables(row: Mapping[str, Any]) -> tuple[str, str]:
    try:
        from swebench.harness.constants import MAP_REPO_VERSION_TO_SPECS
        from swebench.harness.log_parsers import MAP_REPO_TO_PARSER
        from swebench.harness.test_spec.python import get_test_directives
    except ImportError as error:
        version = swebench_version()
        raise DatasetError(
            "is a plain SWE-bench row; its command and parser are in the tables of the package swebench, "
            + (f"which version {version} no longer has" if version.startswith("5") else f"which is missing ({error})"),
            "Install it with `pip install 'swebench>=4.1,<5'`, or give the row `eval_script` and `log_parser`.",
        ) from error
    repo, version = text(row.get("repo")), text(row.get("version"))
    specs = MAP_REPO_VERSION_TO_SPECS.get(repo, {}).get(version)
    if specs is None or repo not in MAP_REPO_TO_PARSER:
        raise DatasetError(
            f"SWE-bench's tables do not know {repo} in version {version or '(none)'}",
            "Give the row `test_command` and `test_output_parser`.",
        )
    commands = ["source /opt/miniconda3/bin/activate", "conda activate testbed", *specs.get("eval_commands", [])]
    commands += [specs["install"]] if "install" in specs else []
    commands.append(" ".join([specs["test_cmd"], *get_test_directives(dict(row))]))
    return "\n".join(commands), MAP_REPO_TO_PARSER[repo].__name__

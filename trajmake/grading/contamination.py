"""Signs that a patch was not worked out but found: for a person to look at, no part of a verdict.

Commands are judged by the programs that they run, not by words in them: text that is searched for, written
to a file or printed is no attempt. That a container has no network makes an attempt fail, not honest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trajmake.datasets.instance import Instance
from trajmake.diffs import changed_lines, touched_paths
from trajmake.grading import commands

_KEPT = 3  # pieces of evidence of one kind
_LONGEST = 160  # characters of one
_NOT_PACKAGES = {"test", "tests", "testing", "doc", "docs", "examples", "src", "lib", "setup", "conftest"}


class Kind(StrEnum):
    """What was seen."""

    GOLD_PATCH = "gold_patch"
    NETWORK = "network"
    PACKAGE_INDEX = "package_index"
    UPSTREAM = "upstream"
    ANSWERS = "answers"


@dataclass(frozen=True)
class Flag:
    """One kind of sign.

    Attributes:
        kind: See :class:`Kind`.
        count: How often.
        evidence: The first few.
    """

    kind: Kind
    count: int
    evidence: tuple[str, ...]


def flags(instance: Instance, record: Mapping[str, Any]) -> list[Flag]:
    """The signs in a trajectory (the line of ``output.jsonl``); none of the agent ``gold``, which is told the patch.

    - ``gold_patch``: files whose changed lines are the gold patch's, white space aside. Of a fix of one line an honest
      model finds the same: the evidence says how many lines there are.
    - ``network``, ``package_index``, ``upstream``: commands that reach for another host, for packages or for a
      repository. What names only this machine or files on it does not count.
    - ``answers``: reads of another copy of the project (``site-packages``), of package caches, of the environment of
      processes, of Trajmake's own files.
    """
    if (record.get("metadata") or {}).get("agent_class") == "gold":
        return []
    found: dict[Kind, list[str]] = {}
    for kind, evidence in (*_gold(instance, record["test_result"]["git_patch"]), *_acts(instance, record)):
        found.setdefault(kind, []).append(" ".join(evidence.split())[:_LONGEST])
    return [Flag(kind, len(found[kind]), tuple(found[kind][:_KEPT])) for kind in Kind if kind in found]


def _gold(instance: Instance, patch: str) -> Iterator[tuple[Kind, str]]:
    gold, mine = changed_lines(instance.patch), changed_lines(patch)
    for path, lines in gold.items():
        if lines and mine.get(path) == lines:
            yield Kind.GOLD_PATCH, f"{path}: the same {len(lines)} changed lines, 1 of {len(gold)} files"


def _acts(instance: Instance, record: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    packages = _packages(instance)
    for event in record.get("history") or ():
        arguments = event.get("args") or {}
        command, path = arguments.get("command"), arguments.get("path")
        if event.get("action") == "run" and isinstance(command, str):
            for kind, what in commands.reaching(command):
                yield Kind(kind), f"event {event.get('id')}: {what}"
            read = commands.without_data(command)
        else:
            read = path if isinstance(path, str) else ""
        if what := commands.answer_place(read, packages):
            yield Kind.ANSWERS, f"event {event.get('id')}: {what}"


def _packages(instance: Instance) -> set[str]:
    """Names under which the project may be installed."""
    name = instance.repo.rpartition("/")[2].lower()
    found = {name, name.replace("-", "_"), name.removeprefix("python-"), name.removesuffix(".py")}
    for path in touched_paths(instance.patch):
        parts = [part for part in path.split("/") if part not in ("src", "lib")]
        found.add(parts[0].removesuffix(".py") if parts else "")
    return {package for package in found if package and not package.startswith(".")} - _NOT_PACKAGES

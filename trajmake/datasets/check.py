"""What is in a dataset and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trajmake.datasets import fields, problems, reading, rows
from trajmake.datasets.index import prepared
from trajmake.datasets.problems import Problem


@dataclass(frozen=True)
class Checked:
    """One row and its problems.

    Attributes:
        file: The file that was named (the folder, of one-row files).
        place: Where in it.
        row: Under canonical names, with what SWE-bench's tables add; None when there is none.
        problems: Empty when all is well.
        twin: Where the same id stood before, "" when it did not.
    """

    file: Path
    place: str
    row: dict[str, Any] | None
    problems: list[Problem]
    twin: str = ""

    @property
    def where(self) -> str:
        """File and place."""
        return f"{self.file} {self.place}"

    @property
    def instance_id(self) -> str:
        """The row's id, "" when it has none."""
        return fields.text(self.row.get("instance_id")) if self.row else ""

    @property
    def invalid(self) -> bool:
        """Whether it cannot be run."""
        return any(problem.invalid for problem in self.problems)


@dataclass
class Report:
    """A summary of checked rows.

    Attributes:
        shapes: Shape → files.
        rows: Number of rows.
        languages, repos, parsers: How many rows of each.
        problems: (file and place, instance id, problem), in the order found.
    """

    shapes: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    repos: Counter[str] = field(default_factory=Counter)
    parsers: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str, Problem]] = field(default_factory=list)
    _invalid: set[str] = field(default_factory=set, repr=False)

    @property
    def invalid(self) -> int:
        """How many cannot be run; of rows with one id, none can."""
        return len(self._invalid)

    def add(self, checked: Checked) -> None:
        """Count one row."""
        self.rows += 1
        self.problems += [(checked.where, checked.instance_id, problem) for problem in checked.problems]
        if checked.invalid:
            self._invalid |= {checked.where, checked.twin} - {""}
        if checked.row:
            self.languages[rows.language_of(checked.row) or "python"] += 1
            self.repos[fields.text(checked.row.get("repo"))] += 1
            self.parsers[fields.text(checked.row.get("test_output_parser"))] += 1

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {
            "shapes": dict(self.shapes),
            "rows": self.rows,
            "valid": self.rows - self.invalid,
            "invalid": self.invalid,
            "languages": dict(self.languages),
            "repos": dict(self.repos),
            "parsers": dict(self.parsers),
            "problems": [
                {
                    "place": place,
                    "instance_id": identity,
                    "field": problem.field,
                    "message": problem.message,
                    "invalid": problem.invalid,
                }
                for place, identity, problem in self.problems
            ],
        }


def check(paths: Iterable[Path]) -> Report:
    """Check every row of some datasets taken together.

    Raises:
        DatasetError: one is missing, unreadable or of no known shape.
    """
    report = Report()
    paths = list(paths)
    for path in paths:
        report.shapes.update(reading.shapes_of(path))
    for checked in rows_of(paths):
        report.add(checked)
    return report


def rows_of(paths: Iterable[Path]) -> Iterator[Checked]:
    """The rows of some datasets one after another, each with its problems; an id stands once in all of them.

    Raises:
        DatasetError: see :func:`check`.
    """
    places: dict[str, str] = {}
    for path in paths:
        for found in reading.read(path):
            if found.row is None:
                yield Checked(path, found.place, None, [Problem("", found.problem)])
                continue
            row, added, errors = prepared(found.row)
            identity = fields.text(row.get("instance_id"))
            where = f"{path} {found.place}"
            twin = places.setdefault(identity, where) if identity else where
            if twin != where:
                errors = [Problem("instance_id", f"stands twice: {twin} and {where}"), *errors]
            complete = row | added
            found_here = errors + problems.warnings(complete)
            yield Checked(path, found.place, complete, found_here, "" if twin == where else twin)

"""One instance of a benchmark, whatever shape its row had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Instance:
    """A validated row.

    Attributes:
        instance_id: As the dataset gives it.
        repo: ``owner/name``.
        base_commit: 40 hex digits.
        problem_statement: Newlines restored.
        patch: The gold patch, one diff with a final newline ("" when unknown).
        test_patch: The tests' change, likewise.
        fail_to_pass: Ids of tests that the fix must make pass; never empty.
        pass_to_pass: Ids of tests that must go on passing.
        language: Lower case.
        test_command: One shell command line, run in the repository.
        test_output_parser: ``<language>/<parser>``.
        image_storage_uri: Where the image comes from.
        repo_path: The repository's folder inside the image, when the row names it.
        row: The row as read, for ``output.jsonl``.
        digest: sha256 of the canonical row; what ``generate`` depends on.
    """

    instance_id: str
    repo: str
    base_commit: str
    problem_statement: str
    patch: str
    test_patch: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    language: str
    test_command: str
    test_output_parser: str
    image_storage_uri: str
    repo_path: str = ""
    row: dict[str, Any] = field(default_factory=dict, repr=False)
    digest: str = ""

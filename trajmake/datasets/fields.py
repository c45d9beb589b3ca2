"""Values of fields as exports spell them → what they mean. The traps: ``docs/formats.md``."""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import math
import re
from decimal import Decimal
from typing import Any

_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_LIST = re.compile(r"\s*(?:array\()?\s*[\[(](?P<items>.*?)[\])]\s*(?:,\s*dtype=\w+\s*)?\)?\s*", re.DOTALL)
_WHOLE_FLOAT = re.compile(r"(\d{5,})\.0+")
SCIENTIFIC = re.compile(r"(?P<mantissa>\d(?:\.\d+)?)[eE]\+?(?P<exponent>\d+)")


def empty(value: Any) -> bool:
    """Whether a field holds nothing: absent, null, not a number, blank text, an empty list."""
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | tuple) and not value)


def text(value: Any) -> str:
    """A field as text; "" when it holds nothing."""
    return "" if empty(value) else str(value)


def identifier(value: Any) -> str:
    """An instance's id as text; spreadsheets turn ids of digits into floats, which is undone.

    ``1319603449576684.0`` and ``1.319603449576684E+15`` are ``1319603449576684``. A
    number that was rounded stays as it is (see :func:`is_rounded`).
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    found = text(value)
    if whole := _WHOLE_FLOAT.fullmatch(found):
        return whole.group(1)
    if SCIENTIFIC.fullmatch(found) and not is_rounded(found):
        return str(int(Decimal(found)))
    return found


def is_rounded(identity: str) -> bool:
    """Whether an id is a number whose last digits a spreadsheet has dropped, as in ``1.3196E+15``."""
    match = SCIENTIFIC.fullmatch(identity)
    return match is not None and len(match["mantissa"].replace(".", "")) <= int(match["exponent"])


def test_ids(value: Any) -> tuple[str, ...]:
    """A list of test ids from a list, a JSON string, a Python literal or numpy's print of an array.

    numpy separates by blanks, not by commas: Python itself would read
    ``['a' 'b']`` as one id ``ab``.

    Raises:
        ValueError: it is none of these, or not all of it is there.
    """
    if empty(value):
        return ()
    if isinstance(value, str):
        value = _list(value)
    if not isinstance(value, list | tuple) or set(map(type, value)) - {str}:
        raise ValueError(f"is not a list of test ids: {str(value)[:60]!r}")
    return tuple(value)


@functools.lru_cache(maxsize=4)  # a row's lists are looked at to check it and again to use it
def _list(spelled: str) -> Any:
    try:
        found = json.loads(spelled)
        return tuple(found) if isinstance(found, list) else found
    except ValueError:
        pass
    match = _LIST.fullmatch(spelled)
    if not match:
        cut = spelled.lstrip().startswith("[")
        raise ValueError(f"is {'a list without its end' if cut else 'not a list of test ids'}: {spelled[:60]!r}")
    between = _STRING.sub(" ", match["items"]).replace(",", " ").split()
    if between == ["..."]:
        raise ValueError("was abbreviated with `...` when it was printed: ids are missing")
    if between:
        raise ValueError(f"is not a list of test ids: {spelled[:60]!r}")
    try:
        return tuple(ast.literal_eval(item) for item in _STRING.findall(match["items"]))
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"is not a list of test ids: {error}") from error


def restore_newlines(statement: str) -> str:
    r"""Exports hold a literal ``\n`` for each newline; text with real newlines stays as it is."""
    if "\n" in statement:
        return statement
    return statement.replace("\\r\\n", "\n").replace("\\n", "\n").replace("\\t", "\t")


def diff(value: Any) -> str:
    """One diff from a diff, a list of diffs or a JSON list in a string; each gets its final newline.

    Without it ``git apply`` calls the last one corrupt. Nothing else is touched:
    carriage returns and form feeds belong to the files.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # a diff may start with a bracket too
            value = json.loads(value)
    parts = value if isinstance(value, list | tuple) else [value]
    return "".join(part if part.endswith("\n") else part + "\n" for part in map(text, parts) if part)


def diff_defect(patch: str) -> str:
    """Why a diff does not parse, "" when it does.

    Hunks are counted off; up to three blank context lines may be missing at the
    end, where exports strip them and ``patch`` puts them back.
    """
    old = new = 0
    headers = 0
    for number, line in enumerate(patch.split("\n"), 1):
        if old > 0 or new > 0:
            mark = line[:1]
            if mark not in (" ", "+", "-", "\\", "", "\r"):
                return f"line {number} stands in a hunk and is no line of a diff: {line[:40]!r}"
            old -= mark not in ("+", "\\")
            new -= mark not in ("-", "\\")
        elif line.startswith("@@ ") and (counts := _HUNK.match(line)):
            if not headers:
                return f"line {number} begins a hunk of no file"
            old, new = (1 if count is None else int(count) for count in counts.groups())
        elif line.startswith(_CHANGES):
            headers += 1
    if not headers:
        return "holds no change"
    return "" if old == new and old <= _CHOPPED else "ends in the middle of a hunk"


_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_CHANGES = ("+++ ", "GIT binary patch", "rename to ", "copy to ", "new mode ", "new file mode ", "deleted file mode ")
_CHOPPED = 2  # the empty text after the last newline has been counted as one more

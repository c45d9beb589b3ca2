"""Reading unified diffs: which paths they touch, and making them whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_ESCAPE = re.compile(rb'\\([abtnvfr"\\]|[0-7]{3})')
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
_QUOTED = r'"(?:[^"\\]|\\.)*"'


def with_final_newline(patch: str) -> str:
    """``patch`` as ``git apply`` wants it: without its last newline it is "corrupt"."""
    return patch if not patch or patch.endswith("\n") else patch + "\n"


def touched_paths(patch: str) -> tuple[str, ...]:
    """Every path a diff reads or writes, old names and new, in order of appearance.

    Lines inside hunks are counted off, so that a removed line ``-- a/x`` is not
    taken for a file header.
    """
    paths: dict[str, None] = {}
    for line in _header_lines(patch):
        for path in _paths_of(line):
            paths[path] = None
    return tuple(paths)


def added_lines(patch: str) -> dict[str, list[str]]:
    """Path → the lines that a diff adds to it."""
    added: dict[str, list[str]] = {}
    path = ""
    for line, in_hunk in _lines(patch):
        if in_hunk:
            if line.startswith("+"):
                added.setdefault(path, []).append(line[1:])
        elif line.startswith(("--- ", "+++ ")):
            path = (_paths_of(line) or [path])[0]
    return added


def changed_lines(patch: str) -> dict[str, list[str]]:
    """Path → the lines that a diff takes away and adds, each with its sign, without white space; no empty ones.

    Removed lines stand before added ones, in their order, so that hunks may be cut differently.
    """
    changed: dict[str, tuple[list[str], list[str]]] = {}
    path = ""
    for line, in_hunk in _lines(patch):
        if not in_hunk:
            if line.startswith(("diff --git ", "--- ", "+++ ")):
                path = (_paths_of(line) or [path])[-1]
        elif line[:1] in ("-", "+") and (text := "".join(line[1:].split())):
            changed.setdefault(path, ([], []))[line[0] == "+"].append(line[0] + text)
    return {path: removed + added for path, (removed, added) in changed.items()}


def _header_lines(patch: str) -> Iterator[str]:
    return (line for line, in_hunk in _lines(patch) if not in_hunk)


def _lines(patch: str) -> Iterator[tuple[str, bool]]:
    """Every line but the hunks' headers, and whether it stands in a hunk."""
    old = new = 0
    for line in patch.split("\n"):
        if old > 0 or new > 0:
            mark = line[:1]
            # An empty line inside a hunk is a context line whose blank an editor has stripped.
            old -= mark in (" ", "-", "")
            new -= mark in (" ", "+", "")
            yield line, True
            continue
        hunk = _HUNK.match(line)
        if hunk:
            old, new = (1 if count is None else int(count) for count in hunk.groups())
            continue
        yield line.removesuffix("\r"), False


def _paths_of(line: str) -> list[str]:
    if line.startswith("diff --git "):
        return _paths_of_git_line(line[len("diff --git ") :])
    for prefix in ("rename from ", "rename to ", "copy from ", "copy to "):
        if line.startswith(prefix):
            return [_unquoted(line[len(prefix) :])]
    if line.startswith(("--- ", "+++ ")):
        name = _unquoted(line[4:].split("\t")[0])
        return [] if name == "/dev/null" else [_without_prefix(name)]
    return []


def _paths_of_git_line(names: str) -> list[str]:
    # Only needed for what has no other header: empty files and changes of mode, whose names are equal.
    half = len(names) // 2
    if names[:half] and names[half : half + 1] == " " and names[:half][2:] == names[half + 1 :][2:]:
        return [_without_prefix(_unquoted(names[:half]))]
    quoted = re.fullmatch(rf"({_QUOTED}|\S+) ({_QUOTED}|\S+)", names)
    return [_without_prefix(_unquoted(name)) for name in quoted.groups()] if quoted else []


def _without_prefix(name: str) -> str:
    return name[2:] if name[:2] in ("a/", "b/") else name


def _unquoted(name: str) -> str:
    """Undo git's C-style quoting (``core.quotePath``)."""
    if not (len(name) > 1 and name.startswith('"') and name.endswith('"')):
        return name

    def plain(match: re.Match[bytes]) -> bytes:
        code = match.group(1)
        return bytes([int(code, 8) & 0xFF]) if code.isdigit() else _ESCAPED.get(code, code)

    raw = name[1:-1].encode("utf-8", errors="surrogateescape")
    return _ESCAPE.sub(plain, raw).decode("utf-8", errors="surrogateescape")

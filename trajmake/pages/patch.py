"""A patch for the page: by file, with line numbers, signs and the colours of the file's language."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

from markupsafe import Markup
from pygments import lexers
from pygments.lexer import Lexer
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound

from trajmake import diffs
from trajmake.pages import text

MOST_LINES = 4_000
"""Lines of a patch that are shown; and of a file, so many as are left."""
_COLOURED = 100_000  # characters of a patch that is worth colours: lexers may be slow with what is made to be
_LINE = 500  # characters of a line, likewise
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_KINDS = {"+": "add", "-": "del", " ": "same", "": "same", "\\": "meta"}


@dataclass
class Line:
    """One line: ``kind`` is ``add``, ``del``, ``same``, ``hunk`` or ``meta``; numbers are 0 where there are none."""

    kind: str
    html: Markup
    old: int = 0
    new: int = 0


@dataclass
class File:
    """One file's part of a patch."""

    path: str
    lines: list[Line] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    left_out: int = 0
    note: str = ""


def files_of(patch: str) -> list[File]:
    """A patch by file, in its order. What stands before the first file is a file without a name."""
    found: list[File] = []
    left = MOST_LINES
    for part in re.split(r"(?m)^(?=diff --git )", patch):
        if part.strip():
            found.append(_file(part, left, len(patch) <= _COLOURED))
            left -= len(found[-1].lines)
    return found


def _file(part: str, most: int, coloured: bool) -> File:
    lines = part.removesuffix("\n").split("\n")
    start = next((number for number, line in enumerate(lines) if _HUNK.match(line)), len(lines))
    paths = diffs.touched_paths("\n".join(lines[:start]))
    made = File(" → ".join(dict.fromkeys(paths)))
    made.note = _note(lines[:start])
    if not paths or start == len(lines):
        made.lines = [Line("meta", text.marked(line[: text.LONGEST])) for line in lines[:start]]
    lexer = _lexer(paths[-1]) if paths and coloured else None
    for hunk in _hunks(lines[start:]):
        made.added += sum(line.startswith("+") for line in hunk[1:])
        made.removed += sum(line.startswith("-") for line in hunk[1:])
        room = max(0, most - len(made.lines))
        made.lines += _hunk(hunk[:room], lexer)
        made.left_out += len(hunk[room:])
    return made


def _note(head: list[str]) -> str:
    """What the header says beside names: new, deleted, renamed, binary."""
    said = [line for line in head if line.startswith(("new file", "deleted file", "rename ", "Binary", "old mode"))]
    return ", ".join(said)[:300]


def _hunks(lines: list[str]) -> list[list[str]]:
    """Lines by hunk, each with its header first. A header counts off its lines: a removed ``-- x`` is no header."""
    hunks: list[list[str]] = []
    old = new = 0
    for line in lines:
        head = _HUNK.match(line) if old <= 0 and new <= 0 else None
        if head:
            old, new = (int(head[number]) if head[number] is not None else 1 for number in (2, 4))
            hunks.append([line])
            continue
        old -= line[:1] in (" ", "-", "")
        new -= line[:1] in (" ", "+", "")
        hunks[-1].append(line)
    return hunks


def _hunk(lines: list[str], lexer: Lexer | None) -> list[Line]:
    if not lines:
        return []
    head = _HUNK.match(lines[0])
    old, new = (int(head[1]), int(head[3])) if head else (0, 0)
    made = [Line("hunk", text.marked(lines[0][: text.LONGEST]))]
    body = lines[1:]
    before = _coloured([line[1:] for line in body if line[:1] != "+"], lexer)
    after = _coloured([line[1:] for line in body if line[:1] != "-"], lexer)
    for line in body:
        kind = _KINDS.get(line[:1], "meta")
        html = after.pop(0) if kind != "del" else Markup("")
        if kind != "add":
            html = before.pop(0) if kind == "del" else (before.pop(0), html)[1]
        made.append(Line(kind, html, old * (kind in ("del", "same")), new * (kind in ("add", "same"))))
        old += kind in ("del", "same")
        new += kind in ("add", "same")
    return made


@functools.lru_cache(256)
def _lexer(path: str) -> Lexer | None:
    try:
        return lexers.get_lexer_for_filename(path, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _coloured(lines: list[str], lexer: Lexer | None) -> list[Markup]:
    """Lines of code as HTML, with classes for what a lexer finds; plain where it would be slow or says another text."""
    code = "\n".join(lines)
    if lexer is None or "\r" in code or any(len(line) > _LINE for line in lines):
        return [_plain(line) for line in lines]
    made: list[list[tuple[str, str]]] = [[]]  # of each line, classes and words
    for kind, value in lexer.get_tokens(code):
        name = _class(kind)
        for number, words in enumerate(value.split("\n")):
            if number:
                made.append([])
            if words and made[-1] and made[-1][-1][0] == name:
                made[-1][-1] = (name, made[-1][-1][1] + words)
            elif words:
                made[-1].append((name, words))
    if ["".join(words for _, words in line) for line in made] != lines:
        return [_plain(line) for line in lines]
    return [Markup("").join(_span(*part) for part in line) for line in made]


def _span(name: str, words: str) -> Markup:
    html = text.marked(words)
    return Markup('<span class="{}">{}</span>').format(name, html) if name else html


def _plain(line: str) -> Markup:
    """One line; not as for a terminal, where a return and an escape mean something."""
    if len(line) <= text.LONGEST:
        return text.marked(line)
    return text.marked(line[: text.LONGEST]) + text.cut(len(line) - text.LONGEST)


@functools.cache
def _class(kind: _TokenType) -> str:
    """The class of a token: of its family, since a page needs few colours."""
    for family, name in _FAMILIES.items():
        if kind in family:
            return name
    return ""


_FAMILIES = {
    Token.Comment: "tc",
    Token.Literal.String: "ts",
    Token.Literal.Number: "tn",
    Token.Keyword: "tk",
    Token.Operator.Word: "tk",
    Token.Name.Function: "tf",
    Token.Name.Class: "tf",
    Token.Name.Decorator: "td",
    Token.Name.Builtin: "tb",
    Token.Name.Tag: "tk",
    Token.Name.Attribute: "td",
}

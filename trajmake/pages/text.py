"""Text that nobody vouches for, as HTML: escaped, what cannot be seen written out, terminal colours as classes.

Nothing is left out in silence. Long lines and long texts lose their middle, and say how much.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape

MOST = 120_000
"""Characters of one text that are shown."""
LONGEST = 4_000
"""Characters of one line that are shown."""

# Printable by their category, and yet nothing is seen: fillers, joiners, selectors of variants.
_IGNORABLE = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0d\U000e0100-\U000e01ef"
_UNSEEN = re.compile(f"[{_IGNORABLE}]")
_ODD = re.compile(r"[^\x20-\x7e\n\t]+")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-~])")
_NOTHING = {"\x1b[K", "\x1b[0K", "\x1b(B"}  # `grep --color` and `tput sgr0`: they change nothing that is seen here
_CUBE = (0, 95, 135, 175, 215, 255)
_SIXTEEN = [
    *((0, 0, 0), (187, 0, 0), (0, 187, 0), (187, 187, 0), (0, 0, 187), (187, 0, 187), (0, 187, 187), (187, 187, 187)),
    *((85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85), (85, 85, 255), (255, 85, 255), (85, 255, 255)),
    (255, 255, 255),
]
_WORDS = {1: "bold", 2: "dim", 3: "italic", 4: "under", 7: "inverse", 9: "struck"}  # 8 would hide
_CONTROLS = """NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI
DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US""".split()
_ENDS = {22: ("bold", "dim"), 23: ("italic",), 24: ("under",), 27: ("inverse",), 29: ("struck",)}


def plain(value: Any) -> Any:
    """A text with what cannot be seen written out, line ends and tabs aside; anything else as it is."""
    if not isinstance(value, str) or isinstance(value, Markup) or not _odd(value):
        return value
    return _ODD.sub(lambda run: "".join(_sign(char) if _hides(char) else char for char in run.group()), value)


def marked(text: str) -> Markup:
    """A text as HTML; what cannot be seen is a mark that says what it is."""
    if not _odd(text):
        return escape(text)
    parts: list[str] = []
    end = 0
    for run in _ODD.finditer(text):
        parts.append(escape(text[end : run.start()]))
        parts += [_mark(char) if _hides(char) else escape(char) for char in run.group()]
        end = run.end()
    return Markup("".join([*parts, escape(text[end:])]))


def terminal(text: str, most: int = MOST) -> Markup:
    """What a terminal was told, as HTML: colours as classes, other sequences written out."""
    text = re.sub(r"\r+\n", "\n", text)
    parts: list[str] = []
    style: dict[str, str] = {}
    for piece, left_out in _pieces(text, most):
        end = 0
        for sequence in _ESCAPE.finditer(piece):
            parts.append(_styled(piece[end : sequence.start()], style))
            end = sequence.end()
            if sequence.group().startswith("\x1b[") and sequence.group().endswith("m"):
                style = _select(sequence.group()[2:-1], style)
            elif sequence.group() not in _NOTHING:
                parts.append(f'<span class="unseen" title="escape sequence">{_shown(sequence.group())}</span>')
        parts.append(_styled(piece[end:], style))
        if left_out:
            parts.append(cut(left_out))
    return Markup("".join(parts))


def uncoloured(text: str) -> str:
    """A text without terminals' sequences, for a title."""
    return _ESCAPE.sub("", text)


def cut(left_out: int) -> Markup:
    """What stands where characters are left out."""
    return Markup('<span class="cut">[… {} characters left out …]</span>').format(f"{left_out:,}")


def _pieces(text: str, most: int) -> Iterator[tuple[str, int]]:
    """Parts of a text that are shown, and how many characters are left out after each."""
    if len(text) > most:
        half = most // 2
        yield from _lines(text[:half], len(text) - 2 * half)
        yield from _lines(text[-half:], 0)
    else:
        yield from _lines(text, 0)


def _lines(text: str, left_out: int) -> Iterator[tuple[str, int]]:
    start = 0
    for line in re.finditer(rf"[^\n]{{{LONGEST + 1},}}", text):
        head, tail = line.start() + LONGEST * 2 // 3, line.end() - LONGEST // 3
        yield text[start:head], tail - head
        start = tail
    yield text[start:], left_out


def _styled(text: str, style: dict[str, str]) -> str:
    if not text:
        return ""
    html = marked(text.replace("\r", "\r\n")) if "\r" in text else marked(text)
    classes = dict(style)
    if "fore" in classes and classes["fore"][1:] == classes.get("back", "")[1:]:
        del classes["back"]  # the same colour for both would hide it
    return f'<span class="{" ".join(classes.values())}">{html}</span>' if classes else html


def _select(parameters: str, style: dict[str, str]) -> dict[str, str]:
    """The style after ``ESC [ parameters m``."""
    chosen = dict(style)
    codes = [int(code) if code.isdigit() else 0 for code in parameters.replace(":", ";").split(";")]
    while codes:
        code = codes.pop(0)
        if code == 0:
            chosen = {}
        elif code in _WORDS:
            chosen[_WORDS[code]] = _WORDS[code]
        elif code in _ENDS or code in (39, 49):
            for name in _ENDS.get(code, ("fore" if code == 39 else "back",)):
                chosen.pop(name, None)
        elif code in (38, 48):
            colour, codes = _wide(codes)
            chosen |= {"fore": f"f{colour}"} if code == 38 else {"back": f"b{colour}"}
        elif 30 <= code <= 37 or 90 <= code <= 97:
            chosen["fore"] = f"f{code - 30 if code < 90 else code - 82}"
        elif 40 <= code <= 47 or 100 <= code <= 107:
            chosen["back"] = f"b{code - 40 if code < 100 else code - 92}"
    return chosen


def _wide(codes: list[int]) -> tuple[int, list[int]]:
    """One of the sixteen colours, the nearest to that of 256 or of 16 million, and the codes after it."""
    if codes[:1] == [5] and len(codes) > 1:
        number = min(codes[1], 255)
        if number < 16:
            return number, codes[2:]
        if number >= 232:
            return _nearest((8 + 10 * (number - 232),) * 3), codes[2:]
        number -= 16
        return _nearest((_CUBE[number // 36], _CUBE[number // 6 % 6], _CUBE[number % 6])), codes[2:]
    if codes[:1] == [2] and len(codes) > 3:
        return _nearest((codes[1], codes[2], codes[3])), codes[4:]
    return 7, []


def _nearest(colour: tuple[int, int, int]) -> int:
    return min(range(16), key=lambda number: sum((a - b) ** 2 for a, b in zip(_SIXTEEN[number], colour, strict=True)))


def _odd(text: str) -> bool:
    return not text.replace("\n", "").replace("\t", "").isprintable() or bool(_UNSEEN.search(text))


def _hides(char: str) -> bool:
    return not char.isprintable() or bool(_UNSEEN.match(char))


def _sign(char: str) -> str:
    """What stands for a character that cannot be seen. (Unicode's own pictures of controls are in few fonts.)"""
    code = ord(char)
    if unicodedata.category(char) == "Zs":
        return "\u00b7"
    return f"\u2039{_CONTROLS[code] if code < 32 else 'DEL' if code == 127 else f'U+{code:04X}'}\u203a"


def _mark(char: str) -> str:
    name = unicodedata.name(char, "half a surrogate pair" if 0xD800 <= ord(char) < 0xE000 else "control")
    return f'<span class="unseen" title="U+{ord(char):04X} {name}">{_sign(char)}</span>'


def _shown(sequence: str) -> Markup:
    return escape("".join(_sign(char) if _hides(char) else char for char in sequence))

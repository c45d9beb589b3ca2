"""JSON values of a text stream, one at a time: memory holds one row, not the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

_CHUNK = 1 << 16
_TOKEN = 16  # an error this near to the end of what was read may be a token that goes on


def values(stream: IO[str]) -> Iterator[Any]:
    """The values of ``stream`` one after another; of a top-level array, its items.

    Raises:
        ValueError: what follows is not JSON; the values before it were given.
    """
    reader = _Reader(stream)
    if reader.peek() != "[":
        while reader.peek():
            yield reader.value()
        return
    reader.skip("[")
    if reader.peek() != "]":
        yield reader.value()
    while reader.peek() == ",":
        reader.skip(",")
        yield reader.value()
    reader.skip("]")
    if reader.peek():
        raise ValueError("something follows the array's end")


class _Reader:
    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._decode = json.JSONDecoder().raw_decode
        self._buffer = ""
        self._position = 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            while self._position < len(self._buffer):
                if not self._buffer[self._position].isspace():
                    return self._buffer[self._position]
                self._position += 1
            if self._ended:
                return ""
            self._read()

    def skip(self, wanted: str) -> None:
        found = self.peek()
        if found != wanted:
            raise ValueError(f"expected {wanted!r}, found {found!r}" if found else f"ends where {wanted!r} is due")
        self._position += 1

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, self._position = self._decode(self._buffer, self._position)
                return value
            except RecursionError as error:
                raise ValueError("nested too deeply") from error
            except json.JSONDecodeError as error:
                goes_on = error.pos >= len(self._buffer) - _TOKEN or error.msg.startswith("Unterminated string")
                if self._ended or not goes_on:
                    raise ValueError(error.msg) from error
                self._read()

    def _read(self) -> None:
        # Twice as much each time, so that a long row is not decoded again for each chunk.
        rest = self._buffer[self._position :]
        more = self._stream.read(max(_CHUNK, len(rest)))
        self._buffer, self._position, self._ended = rest + more, 0, not more

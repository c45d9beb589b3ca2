"""What commands share in showing things: where the sessions lie, tables, text that nobody vouches for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from trajmake.sessions.found import Outputs

DEFAULT = Path("config/config.yaml")
Config = Annotated[Path, typer.Option("--configfile", help="The configuration: its `output_dir` is read.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def outputs(configfile: Path) -> Outputs:
    """The configuration and its ``output_dir``; the default one where nobody named a configuration and there is none.

    Raises:
        ConfigError: the configuration is missing or wrong.
    """
    from trajmake.sessions.found import Outputs

    if configfile == DEFAULT and not configfile.exists():
        return Outputs(Path("outputs"))
    from trajmake import settings

    options = settings.from_file(configfile)
    return Outputs(Path(options.output_dir), options)


def show(*what: Table | Text) -> None:
    """Print tables and texts; no terminal is as wide as a wide one, and lines of texts stay whole."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    for one in what:
        console.print(one, soft_wrap=isinstance(one, Text))


def table(*columns: str, title: str = "", right: Sequence[int] = ()) -> Table:
    """An empty table; the columns numbered in ``right`` hold numbers."""
    from rich.table import Table

    made = Table(title=text(title) if title else None, title_justify="left")
    for number, column in enumerate(columns):
        made.add_column(text(column), justify="right" if number in right else "left", overflow="fold")
    return made


def text(words: object, style: str = "", *, lines: bool = False) -> Text:
    """Words to be shown as they are: no markup, nothing invisible."""
    from rich.text import Text

    return Text(visible(str(words), lines=lines), style)


def visible(text: str, *, lines: bool = False) -> str:
    """A text with what cannot be seen written out: an agent's output must not speak to the terminal.

    Args:
        text: What somebody else wrote.
        lines: Let line ends and tabs be.
    """
    kept = "\n\t" if lines else ""
    return "".join(char if char.isprintable() or char in kept else repr(char)[1:-1] for char in text)

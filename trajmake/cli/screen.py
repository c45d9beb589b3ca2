"""What commands share in showing things: where the sessions lie, tables, text that nobody vouches for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

DEFAULT = Path("config/config.yaml")
Config = Annotated[Path, typer.Option("--configfile", help="The configuration; its `output_dir` is read.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def output_dir(configfile: Path) -> Path:
    """The configuration's ``output_dir``; its default where nobody named a configuration and there is none.

    Raises:
        ConfigError: the configuration is missing or wrong.
    """
    if configfile == DEFAULT and not configfile.exists():
        return Path("outputs")
    from trajmake import settings

    return Path(settings.from_file(configfile).output_dir)


def show(*what: RenderableType) -> None:
    """Print tables and texts; no terminal is as wide as a wide one, and lines of texts stay whole."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    for one in what:
        console.print(one, soft_wrap=isinstance(one, Text))


def visible(text: str, *, lines: bool = False) -> str:
    """A text with what cannot be seen written out: an agent's output must not speak to the terminal.

    Args:
        text: What somebody else wrote.
        lines: Let line ends and tabs be.
    """
    kept = "\n\t" if lines else ""
    return "".join(char if char.isprintable() or char in kept else repr(char)[1:-1] for char in text)

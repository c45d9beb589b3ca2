"""Pages for the browser: each one self-contained HTML file that asks no host for anything.

Whatever a template prints is escaped, and what cannot be seen in it is written out. A page's Content-Security-Policy
lets run only the scripts that it was made with, by their digests, so that text which gets out of its place stays text.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajmake.pages import text

if TYPE_CHECKING:
    import jinja2

_SOURCES = {".py", ".j2", ".css", ".js"}
_READERS = "analysis.py chance.py comparison.py log_parts.py one_run.py reasons.py session.py steps.py".split()
_POLICY = {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}


def page(
    template: str,
    *,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    policy: Mapping[str, str] | None = None,
    also: Mapping[str, str] | None = None,
    **values: Any,
) -> str:
    """A page as HTML.

    Args:
        template: Name of a template that extends ``base.html.j2``.
        styles: Sources of style sheets after the house's own.
        scripts: Sources of scripts, run in this order when the document is there. They must not hold ``</script``.
        policy: Directives of the Content-Security-Policy beside or in the place of the usual ones.
        also: Sources to be added to directives.
        values: What the template prints.

    Raises:
        jinja2.UndefinedError: the template prints a value that was not given.
    """
    sheets, programs = [asset("page.css"), *styles], [asset("theme.js"), *scripts]
    directives = {**_POLICY, "style-src": _digests(sheets), "script-src": _digests(programs), **(policy or {})}
    directives |= {name: f"{directives.get(name, '')} {more}".strip() for name, more in (also or {}).items()}
    said = "; ".join(f"{name} {sources}" for name, sources in directives.items())
    made = environment().get_template(template)
    return made.render(policy=said, styles=sheets, scripts=programs, **values)


def asset(name: str) -> str:
    """The text of a style sheet or a script of ``assets/``."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def code_digest() -> str:
    """sha256 over what pages are made by: when it changes, they are made again."""
    room = Path(__file__).parent
    readers = [room.parent / "diffs.py", *(room.parent / "reports" / name for name in _READERS)]
    digest = hashlib.sha256()
    for path in [*sorted(path for path in room.rglob("*") if path.suffix in _SOURCES), *readers]:
        digest.update(path.relative_to(room.parent).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def environment() -> jinja2.Environment:
    """Templates of this room. Everything they print passes :func:`trajmake.pages.text.plain` and is escaped."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=text.plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"marked": text.marked, "terminal": text.terminal}
    return made


def _digests(sources: Sequence[str]) -> str:
    digests = (hashlib.sha256(source.encode()).digest() for source in sources)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

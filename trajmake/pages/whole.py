"""Many pages within one: compressed, unpacked by the browser when they are asked for.

A report that is one HTML file cannot link to other files, and a session that is sent to somebody should be one.
"""

from __future__ import annotations

import base64
import gzip
import html
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOM = 30_000_000
"""Characters of folded pages in one page: so ``snakemake --report report.html``, where all of it stands in Base64,
is below 60 MB, and browsers open it."""

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
_DIGEST = re.compile(r"'sha256-[A-Za-z0-9+/=]+'")


def fold(pages: Mapping[str, Path], room: int = ROOM) -> tuple[dict[str, str], dict[str, str]]:
    """Pages as gzip in Base64, and what the page that holds them must allow.

    The smallest come first, so that most runs have theirs where not all have room.

    Args:
        pages: Name → file.
        room: Characters that they may take together.

    Returns:
        The folded pages by name; sources for the Content-Security-Policy by directive, since a frame has its own
        page's policy and that of the page around it.

    Raises:
        OSError: a page cannot be read.
    """
    folded: dict[str, str] = {}
    policies: set[str] = set()
    for name, path in sorted(pages.items(), key=lambda one: (one[1].stat().st_size, one[0])):
        source = path.read_bytes()
        packed = base64.b64encode(gzip.compress(source, mtime=0)).decode()
        if len(packed) > room:
            break
        room -= len(packed)
        folded[name] = packed
        if policy := _POLICY.search(source[:20_000].decode(errors="replace")):
            policies.add(html.unescape(policy[1]))
    return {name: folded[name] for name in pages if name in folded}, _sources(policies)


def _sources(policies: Iterable[str]) -> dict[str, str]:
    found: dict[str, set[str]] = {"script-src": set(), "style-src": set()}
    for policy in policies:
        for directive in policy.split(";"):
            name, _, sources = directive.strip().partition(" ")
            if name in found:
                found[name].update(_DIGEST.findall(sources))
    return {"frame-src": "blob:"} | {name: " ".join(sorted(digests)) for name, digests in found.items()}

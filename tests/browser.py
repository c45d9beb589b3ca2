"""A real browser over our pages: whatever it complains of, and whatever it asks another host for, fails the test."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE = {"width": 390, "height": 844}
LAPTOP = {"width": 1360, "height": 900}
PICTURES = "TRAJMAKE_PICTURES"
"""Variable that names a folder for screenshots; where it is not set, none are taken."""
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_LOCAL = {"localhost", "127.0.0.1", "::1"}


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """The machine's Chromium, without a window; the tests skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if not found:
        pytest.skip(f"no browser here: {' or '.join(_NAMES)}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def page_of(browser: Browser, *, size: dict[str, int] = LAPTOP, **context: Any) -> Iterator[Page]:
    """A page in a context of its own; at its end nothing may have gone wrong in it.

    Args:
        browser: The browser.
        size: Of the window, in pixels.
        context: Further options of Playwright's ``new_context``: ``color_scheme``, ``java_script_enabled``, ...
    """
    troubles: list[str] = []
    made = browser.new_context(viewport=size, **context)
    try:
        page = made.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda said: troubles.append(f"console: {said.text}") if said.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(f"uncaught: {error}"))
        page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: troubles.extend(_strange(request.url)))
        yield page
    finally:
        made.close()
    assert not troubles, "\n".join(troubles)


def _strange(url: str) -> list[str]:
    parts = urlsplit(url)
    local = parts.scheme in ("file", "data", "blob", "about") or parts.hostname in _LOCAL
    return [] if local else [f"request: {url}"]


def picture(page: Page, name: str, *, full_page: bool = False) -> None:
    """Keep what is seen as ``name``.png, where a folder for that is named."""
    if folder := os.environ.get(PICTURES):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=full_page)

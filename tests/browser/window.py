"""A browser window that records errors and warnings on its console, and the hosts of its requests."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Page

TIMEOUT_MS = 30_000


class Window:
    """`page` is the open tab. `expected` are words of complaints that a test causes on purpose."""

    def __init__(self, chromium: Path) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._browser = self._playwright.chromium.launch(executable_path=chromium, args=arguments)
        self._context: Any = None
        self.page: Page
        self.renew()

    def renew(self, **options: Any) -> None:
        """Open another tab, with empty storage."""
        if self._context:
            self._context.close()
        self._complaints: list[str] = []
        self.hosts: set[str] = set()
        self.expected: tuple[str, ...] = ()
        self._context = self._browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
        self._context.set_default_timeout(TIMEOUT_MS)
        self.page = self._context.new_page()
        self.page.on("console", lambda message: self._note(message.type, f"{message.text} ({message.location['url']})"))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self._complaints.append(f"{kind}: {text}")

    @property
    def complaints(self) -> list[str]:
        return [text for text in self._complaints if not any(word in text for word in self.expected)]

    def open(self, url: str) -> Page:
        """Open a page, and wait until it is up to date."""
        self.page.goto(url)
        self.page.wait_for_selector("#link.live")
        return self.page

    def until(self, condition: str, argument: Any = None) -> None:
        """Wait until a JavaScript expression (or function of `argument`) is true. Polled from here, because the content
        security policy of the page forbids to evaluate a text in it."""
        end = time.monotonic() + TIMEOUT_MS / 1000
        while not self.page.evaluate(condition, argument):
            assert time.monotonic() < end, f"not within {TIMEOUT_MS / 1000:g} s: {condition}"
            self.page.wait_for_timeout(50)

    def close(self) -> None:
        self._browser.close()
        self._playwright.stop()

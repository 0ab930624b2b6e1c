"""Starting Chromium for tests, and looking at a page: what it complained of, and what axe finds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        raise FileNotFoundError("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Complaints:
    """What a page says on its console and throws; tests want none."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        #: what it asked the server for, where a test keeps that
        self.asked: list[str] = []
        page.on("pageerror", lambda error: self.said.append(f"thrown: {error}"))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        # the events socket has no server behind it where only the pages are tested
        if message.type in ("error", "warning") and "/ws/" not in message.text:
            self.said.append(f"{message.type}: {message.text}")


def axe_violations(page: Page, *rules: str) -> list[str]:
    """One line a violation: the rule, and the first elements that break it; of all rules if none is named."""
    only = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
    found = Axe().run(page, options={"resultTypes": ["violations"], **only}).response["violations"]
    return [
        f"{rule['id']}: {rule['help']} — {[_where(node) for node in rule['nodes'][:4]]}" for rule in found
    ]


def _where(node: dict[str, Any]) -> str:
    why = " ".join(check["message"] for check in node["any"])
    return f"{node['html'][:120]} {why[:200]}"


SETTLE_SECONDS = 3.0


def scrolls_sideways(page: Page) -> int:
    """How many pixels the page stays wider than its window.

    Chromium answers a resize at once and lays the page out some frames later, on a busy machine many:
    what is too wide for a moment only is the old window's page.
    """
    wider = "() => Math.max(0, document.documentElement.scrollWidth - window.innerWidth)"
    width = (page.viewport_size or {"width": 0})["width"]
    give_up = time.monotonic() + SETTLE_SECONDS
    while True:
        pixels = int(page.evaluate(wider))
        is_settled = page.evaluate("() => window.innerWidth") == width
        if (is_settled and not pixels) or time.monotonic() > give_up:
            return pixels
        page.wait_for_timeout(50)


def sign_in(page: Page, url: str, username: str, password: str) -> None:
    page.goto(f"{url}/accounts/login/")
    page.fill("#id_login", username)
    page.fill("#id_password", password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/")

"""Every screen in a real browser: it breaks no rule of axe, complains of nothing, never scrolls sideways.

WEBXEN_SCREENSHOTS=folder keeps a picture of each, light and dark, on a desk and on a phone.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import Complaints, axe_violations, scrolls_sideways, sign_in
from tests.people import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("at_noon")]
DESK, PHONE, WIDE = (1280, 800), (390, 844), (1920, 1080)
LOOKS = [("light", DESK), ("dark", DESK), ("light", PHONE), ("dark", PHONE), ("light", WIDE)]


def screens_of(who: str, world: dict[str, Any]) -> dict[str, str]:
    web1, builder = world["web1"].id, world["builder"].id
    if who == "dana":
        return {
            "home-dana": "/",
            "approvals": "/approvals/",
            "hosts": "/hosts/",
            "host": "/hosts/xen1/",
            "audit": "/audit/",
            "wrong-turn": "/hosts/nowhere/",
        }
    return {
        "home-alice": "/",
        "machines": "/machines/",
        "machine": f"/machines/{web1}/",
        "machine-being-made": f"/machines/{builder}/",
        "machine-failed": f"/machines/{world['failed'].id}/",
        "machine-console": f"/machines/{web1}/console/",
        "machine-jobs": f"/machines/{web1}/jobs/",
        "machine-settings": f"/machines/{web1}/settings/",
        "machine-delete": f"/machines/{web1}/delete/",
        "new-machine": "/machines/new/",
        "requests": "/requests/",
        "request": f"/requests/{world['request'].id}/",
        "jobs": "/jobs/",
        "job-failed": f"/jobs/{world['failed_job'].id}/",
        "images": "/images/",
        "networks": "/networks/",
    }


def look(page: Page, name: str, theme: str, width: int, status: int) -> list[str]:
    complaints = Complaints(page)
    answer = page.reload()
    page.wait_for_timeout(150)
    if folder := os.environ.get("WEBXEN_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}-{theme}-{width}.png", full_page=True)
    wrong = axe_violations(page) + complaints.said
    if sideways := scrolls_sideways(page):
        wrong.append(f"is {sideways} px wider than the window")
    if answer is None or answer.status != status:
        wrong.append(f"answers {answer and answer.status}, not {status}")
    return [f"{name} ({theme}, {width}): {line}" for line in wrong if "404 (Not Found)" not in line]


@pytest.mark.parametrize(("theme", "size"), LOOKS)
@pytest.mark.parametrize("who", ["alice", "dana"])
def test_every_screen_is_fit_to_be_seen(
    live_server: Any, browser: Browser, world: dict[str, Any], who: str, theme: str, size: tuple[int, int]
) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(f"{live_server.url}/accounts/login/")
    wrong = look(page, "sign-in", theme, size[0], 200)
    sign_in(page, live_server.url, who, PASSWORD)
    for name, path in screens_of(who, world).items():
        page.goto(live_server.url + path)
        wrong += look(page, name, theme, size[0], 404 if name == "wrong-turn" else 200)
    context.close()
    assert not wrong, "\n".join(wrong)

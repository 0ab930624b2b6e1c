"""Every screen in a real browser: it breaks no rule of axe, complains of nothing, never scrolls sideways.

WEBXEN_SCREENSHOTS=folder keeps a picture of each, light and dark, on a desk and on a phone;
WEBXEN_SCREENS="host balance" looks at these only, WEBXEN_LANGUAGE=ru in Russian.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import Complaints, axe_violations, scrolls_sideways, sign_in
from tests.people import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("at_noon")]
PICTURES = os.environ.get("WEBXEN_SCREENSHOTS")
#: axe looks at the last one
SIZES = ((390, 844), (1920, 1080), (1280, 800))


def screens_of(who: str, world: dict[str, Any]) -> dict[str, str]:
    web1, builder = world["web1"].id, world["builder"].id
    if who == "dana":
        return {
            "home-dana": "/",
            "approvals": "/approvals/",
            "quota-staff": "/quota/?project=lab",
            "hosts": "/hosts/",
            "host": "/hosts/xen1/",
            "host-waiting": "/hosts/xen7/",
            "host-drain": "/hosts/xen1/drain/",
            "balance": "/balance/",
            "differences": "/differences/",
            "machine-move": f"/machines/{web1}/move/",
            "machine-moving": f"/machines/{world['traveller'].id}/",
            "machine-not-known": f"/machines/{world['lost'].id}/",
            "add-host": "/add-host/",
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
        "quota": "/quota/",
        "request": f"/requests/{world['request'].id}/",
        "jobs": "/jobs/",
        "job-failed": f"/jobs/{world['failed_job'].id}/",
        "images": "/images/",
        "networks": "/networks/",
    }


def keep(page: Page, name: str) -> None:
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def look(page: Page, name: str) -> list[str]:
    """The page as it stands: by day and by night, on a phone, a desk and a wall."""
    wrong = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        # the page hears of it a moment later; half-changed colours are nobody's fault
        expect(page.locator(f'html[data-bs-theme="{theme}"]')).to_have_count(1)
        page.evaluate(
            "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
        )
        # the theme changes colours only: widths, and what axe finds besides colours, are seen by day
        for width, height in SIZES if theme == "light" or PICTURES else SIZES[-1:]:
            page.set_viewport_size({"width": width, "height": height})
            keep(page, f"{name}-{theme}-{width}")
            if sideways := scrolls_sideways(page):
                wrong.append(f"{name} ({width}): is {sideways} px wider than the window")
            if width == SIZES[-1][0]:
                rules = () if theme == "light" else ("color-contrast", "link-in-text-block")
                wrong += [f"{name} ({theme}): {line}" for line in axe_violations(page, *rules)]
    return wrong


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["alice", "dana"])
def test_every_screen_is_fit_to_be_seen(
    live_server: Any, world: dict[str, Any], browser: Browser, who: str
) -> None:
    page = browser.new_context(reduced_motion="reduce").new_page()
    page.set_default_timeout(60_000)
    complaints = Complaints(page)
    page.goto(f"{live_server.url}/accounts/login/")
    wrong = look(page, "sign-in") if who == "alice" else []
    sign_in(page, live_server.url, who, PASSWORD)
    page.context.add_cookies(
        [
            {
                "name": "django_language",
                "value": os.environ.get("WEBXEN_LANGUAGE", "en"),
                "url": live_server.url,
            }
        ]
    )
    only = os.environ.get("WEBXEN_SCREENS", "").split()
    for name, path in screens_of(who, world).items():
        if only and name not in only:
            continue
        answer = page.goto(live_server.url + path)
        expected = 404 if name == "wrong-turn" else 200
        if answer is None or answer.status != expected:
            wrong.append(f"{name}: answers {answer and answer.status}, not {expected}")
        wrong += look(page, name)
    wrong += [line for line in complaints.said if "404 (Not Found)" not in line]
    assert not wrong, "\n".join(wrong)

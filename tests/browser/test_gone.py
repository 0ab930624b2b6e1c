"""What is gone while somebody looks leads on: a cancelled create, a deleted machine, in a running portal."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import sign_in
from tests.browser.portal_runner import Desk
from tests.browser.test_move import create

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
#: what a step of the bar was ever shown as, kept by the page itself
RECORD = """
    window.states = {};
    new MutationObserver(() => {
        for (const step of document.querySelectorAll('.wx-step')) {
            (window.states[step.dataset.step] ??= []).push(step.dataset.state);
        }
    }).observe(document, {subtree: true, childList: true, attributes: true});
"""
DELETE = """async () => {
    const token = document.querySelector('input[name=csrfmiddlewaretoken]').value;
    const id = location.pathname.split('/')[2];
    await fetch(`/api/v1/machines/${id}/`, {method: 'DELETE', headers: {'X-CSRFToken': token}});
}"""


@pytest.fixture
def portal(running_portal: Desk) -> Desk:
    return running_portal


@pytest.fixture
def alice(portal: Desk, browser: Browser) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(120_000)
    page.on("dialog", lambda dialog: dialog.accept())
    sign_in(page, portal.url, "alice", portal.passwords["alice"])
    return page


def test_a_cancelled_create_leads_to_its_job_and_its_request_says_so(portal: Desk, alice: Page) -> None:
    address = create(alice, portal, "wanderer")
    alice.add_init_script(RECORD)
    alice.goto(address)
    expect(alice.locator('[data-step="KERNEL"][data-state="now"]')).to_be_visible(timeout=120_000)
    alice.get_by_role("button", name="Cancel").click()
    gone = alice.locator("[data-gone]")
    expect(gone).to_contain_text("Creating wanderer was cancelled.", timeout=120_000)
    states = alice.evaluate("() => window.states")
    assert "done" not in states["LOGIN"], states
    assert "CLEANING" not in states
    assert alice.locator("[hx-get*='/live/']").count() == 0
    gone.get_by_role("link", name="View job").click()
    expect(alice.locator('[data-step="KERNEL"]')).to_have_attribute("data-state", "cancelled")
    expect(alice.locator('[data-step="LOGIN"]')).to_have_attribute("data-state", "unheard")
    expect(alice.locator("[data-cleaning]")).to_have_attribute("data-cleaning", "done")
    alice.goto(f"{portal.url}/requests/")
    expect(alice.locator("#requests-table")).to_contain_text("Creating the machine was cancelled.")


def test_every_page_of_a_machine_that_is_deleted_leads_on(portal: Desk, alice: Page) -> None:
    address = create(alice, portal, "wanderer")
    alice.goto(address)
    expect(alice.locator("[data-power=RUNNING][data-state=READY]")).to_be_visible(timeout=180_000)
    watching = {}
    for part in ("", "console/", "jobs/"):
        watching[part] = alice.context.new_page()
        watching[part].goto(f"{address}{part}")
    expect(watching["console/"].locator("[data-console]")).to_have_attribute("data-pen", "mine")
    alice.evaluate(DELETE)
    for part, page in watching.items():
        expect(page.locator("[data-gone]"), part or "overview").to_contain_text(
            "wanderer is deleted.", timeout=120_000
        )
        expect(page.locator("[data-gone] a").first).to_have_text("View machines")
        assert page.locator("[hx-get*='/live/']").count() == 0
    # the console stays, with what it showed last, and says that the machine is gone
    words = watching["console/"].locator(".wxc-foot [role=status]")
    expect(words).to_contain_text("no longer there", timeout=120_000)
    badge = watching[""].locator("#badge-jobs")
    expect(badge).to_have_text("")

"""The whole story in one browser: alice asks, dana approves, the bar moves, the console answers.

Against the stand-in xl, and with --lab against real Xen: the same steps, the same words.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as PageTimeout

from tests.browser.chromium import Complaints, sign_in
from tests.browser.portal_runner import ROOT, Desk, desk

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1500)]
ROOT_PASSWORD = "plain-xen-77"
STEPS = ["TEMPLATE", "DISK", "SEED", "CONFIG", "DOMAIN", "KERNEL", "INIT", "LOGIN"]


@pytest.fixture(params=["fake", pytest.param("xen", marks=pytest.mark.lab)])
def portal(request: pytest.FixtureRequest) -> Iterator[Desk]:
    if request.param == "xen":
        with desk("xen", Path(os.environ.get("WEBXEN_LAB_DATA", ROOT / ".webxen"))) as running:
            yield running
        return
    yield request.getfixturevalue("running_portal")


def seat(browser: Browser, portal: Desk, who: str) -> tuple[Page, Complaints]:
    """A window of one's own, signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("dialog", lambda dialog: dialog.accept())
    complaints = Complaints(page)
    page.on("request", lambda request: complaints.asked.append(f"{request.method} {request.url}"))
    sign_in(page, portal.url, who, portal.passwords[who])
    return page, complaints


def keep(page: Page, name: str) -> None:
    if folder := os.environ.get("WEBXEN_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/story-{name}.png")


def wait_for_word(page: Page, word: str, complaints: Complaints) -> None:
    try:
        page.get_by_text(word).wait_for()
    except PageTimeout as missed:
        asked = "\n".join(complaints.asked[-20:])
        shown = page.inner_text("main")
        raise AssertionError(f"{page.url} never said {word!r}, but:\n{shown}\nIt asked:\n{asked}") from missed


def ask_for_machine(page: Page, portal: Desk, name: str, complaints: Complaints) -> None:
    """A custom size needs approval, so that dana has something to do."""
    page.goto(f"{portal.url}/machines/new/")
    page.fill("#id_name", name)
    page.get_by_text("Minimal", exact=False).first.click()
    page.get_by_text("Custom size").click()
    page.fill("#id_memory_mib", "192")
    page.fill("#id_password", ROOT_PASSWORD)
    page.fill("#id_reason", "The story needs a machine.")
    ask = page.get_by_role("button", name="Request approval")
    ask.wait_for()
    keep(page, "1-asks")
    ask.click()
    wait_for_word(page, "Administrators have been notified", complaints)
    # what follows must come by itself, over the events socket
    expect(page.locator("html")).to_have_attribute("data-live-state", "live", timeout=30_000)


def approve(page: Page, portal: Desk, name: str, complaints: Complaints) -> None:
    page.goto(f"{portal.url}/approvals/")
    case = page.get_by_role("region", name=name)
    case.get_by_text("The story needs a machine.").wait_for()
    keep(page, "2-approvals")
    case.get_by_role("button", name="Approve").click()
    wait_for_word(page, "was approved", complaints)


def watch_the_bar(page: Page, seconds: int) -> list[tuple[str, int]]:
    """What the bar showed, without one reload, until the job ended: (status, percent)."""
    shown: list[tuple[str, int]] = []
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        now = page.evaluate(
            """() => [document.querySelector('[data-job]')?.dataset.status ?? '',
                      Number(document.querySelector('.wx-job progress')?.value ?? 100)]"""
        )
        if not shown or shown[-1] != tuple(now):
            shown.append((now[0], int(now[1])))
            keep(page, f"3-bar-{len(shown):02}")
        if now[0] not in ("", "PENDING", "QUEUED", "RUNNING"):
            return shown
        page.wait_for_timeout(100)
    raise AssertionError(f"the job did not end in {seconds} s: {shown}")


def console_text(page: Page) -> str:
    """All that the console remembers, as the download button gives it."""
    with page.expect_download() as waiting:
        page.locator('[data-press="download"]').click()
    return waiting.value.path().read_text(errors="replace")


def wait_for_console(page: Page, is_there: Callable[[str], bool], seconds: int) -> str:
    give_up = time.monotonic() + seconds
    text = ""
    while time.monotonic() < give_up:
        text = console_text(page)
        if is_there(text):
            return text
        page.wait_for_timeout(500)
    raise AssertionError(f"the console never showed it; its end is:\n{text[-2000:]}")


def type_line(page: Page, line: str) -> None:
    page.locator("[data-console] textarea.xterm-helper-textarea").focus()
    page.keyboard.type(line, delay=20)
    page.keyboard.press("Enter")


def log_in_and_look(page: Page, seconds: int, *, is_stand_in: bool) -> None:
    wait_for_console(page, lambda text: "login:" in text, seconds)
    expect(page.locator("[data-console]")).to_have_attribute("data-pen", "mine")
    type_line(page, "root")
    said = wait_for_console(page, lambda text: asks_password(text) or at_shell(text), seconds)
    if asks_password(said):
        type_line(page, ROOT_PASSWORD)
    else:
        # the stand-in's guest has no /etc/shadow of its own; a real one must ask
        assert is_stand_in, f"nobody asked for the password:\n{said[-500:]}"
    wait_for_console(page, at_shell, seconds)
    type_line(page, "cat /sys/hypervisor/type")
    wait_for_console(page, answered_xen, seconds)


def asks_password(text: str) -> bool:
    return "assword" in text.rsplit("login:", 1)[-1]


def at_shell(text: str) -> bool:
    return text.rstrip().endswith("#")


def answered_xen(text: str) -> bool:
    return "xen" in text.rsplit("cat /sys/hypervisor/type", 1)[-1].split() and "hypervisor/type" in text


def delete(page: Page, portal: Desk, name: str, address: str) -> None:
    page.goto(f"{address}delete/")
    page.fill("#name", name)
    page.get_by_role("button", name="Delete permanently").click()
    page.wait_for_url(f"{portal.url}/machines/")
    expect(page.locator("#machines-table").get_by_role("link", name=name, exact=True)).to_have_count(
        0, timeout=portal.boot_seconds * 1000
    )


def test_from_a_wish_to_a_shell_on_xen(portal: Desk, browser: Browser) -> None:
    name = f"story-{secrets.token_hex(3)}"
    alice, alice_complains = seat(browser, portal, "alice")
    dana, dana_complains = seat(browser, portal, "dana")

    ask_for_machine(alice, portal, name, alice_complains)
    approve(dana, portal, name, dana_complains)
    # alice's page changes by itself
    alice.get_by_role("link", name="View machine").click()
    address = alice.url
    shown = watch_the_bar(alice, portal.boot_seconds)
    assert shown[-1][0] == "SUCCEEDED", f"{shown}\n{alice.locator('.wx-job').inner_text()}"
    assert len({percent for _, percent in shown}) > 2, f"the bar did not move: {shown}"
    steps = alice.locator(".wx-step")
    assert [step.get_attribute("data-step") for step in steps.all()] == STEPS
    assert {step.get_attribute("data-state") for step in steps.all()} == {"done"}
    expect(alice.locator("#machine-head [data-power]")).to_have_attribute("data-power", "RUNNING")
    keep(alice, "4-ready")

    alice.get_by_role("link", name="Console", exact=True).click()
    boot = wait_for_console(alice, lambda text: "login:" in text, portal.boot_seconds)
    assert "Linux version" in boot, "the boot log is there from its first line"
    log_in_and_look(alice, portal.boot_seconds, is_stand_in=portal.is_stand_in)
    keep(alice, "5-console")

    alice.reload()
    again = wait_for_console(alice, answered_xen, portal.boot_seconds)
    assert "Linux version" in again, "the scrollback is there after a reload"
    keep(alice, "6-after-reload")

    delete(alice, portal, name, address)
    assert alice_complains.said == []
    assert dana_complains.said == []

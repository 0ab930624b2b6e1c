"""Pages in use: where errors take the reader, what a button may do, where evidence opens, what fits."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import axe_violations, scrolls_sideways, sign_in
from tests.fixtures import NOW, PASSWORD, report
from tests.moves import domain, listens, show, tell
from webxen.inventory.models import Size
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.migration import operations as migration

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
CAUSE = "[ TIME ] Timed out waiting for device dev-hvc0.device."
#: a job's steps that two hosts report side by side
REPORTED = (
    ("SOURCE", "CONNECT"),
    ("TARGET", "STREAM"),
    ("SOURCE", "SHUTDOWN"),
    ("SOURCE", "GONE"),
)
CLIPPED = """() => [...document.querySelectorAll('.wx-step-word, .wx-step-time')]
    .filter((word) => word.scrollWidth > word.clientWidth + 1
        || word.getBoundingClientRect().right > innerWidth)
    .map((word) => word.textContent)"""
IN_VIEW = """(one) => {
    const box = one.getBoundingClientRect();
    return box.top >= 0 && box.bottom <= innerHeight;
}"""
#: how far the end of what is in a box stands below its lower edge
BELOW = "(box) => box.lastElementChild.getBoundingClientRect().bottom - box.getBoundingClientRect().bottom"


@pytest.fixture
def places(
    transactional_db: None, at_noon: None, order_machine: Callable[..., Job], pair: Any, dana: Any, alice: Any
) -> dict[str, Any]:
    """web1 is on its way, switched off; a create has failed with long evidence."""
    Size.objects.create(slug="large", name="Large", vcpus=8, memory_mib=8192, disk_gib=80)
    failed = order_machine("broken", host_name="xen1")
    report(failed, "STARTED")
    for number in range(30):
        report(failed, "STEP", step=("DISK", "SEED")[number % 2], progress=number, now=NOW)
    report(failed, "STEP", step="INIT", progress=80)
    spinner = "".join(f"[ ***  ] Job ssh.service/start running ({n}s / no limit)\n" for n in range(60))
    boot = "".join(f"[    {n}.204311] a line of the kernel number {n}\n" for n in range(40))
    report(
        failed,
        "FAILED",
        step="INIT",
        error_code="NO_LOGIN_PROMPT",
        error_message="No login prompt after 10 minutes.",
        console_tail=f"{boot}{CAUSE}\n{spinner}",
        now=NOW + timedelta(seconds=70),
    )
    web1 = Machine.objects.get(name="web1")
    config = "\n".join(f"# line {n} " + "x" * 4 * n for n in range(80))
    Machine.objects.filter(id=web1.id).update(config=config)
    for host, domains in zip(pair, ([domain(web1)], []), strict=True):
        show(host, *domains, shared="")
    move = migration.migrate_machine(user=dana, machine_id=web1.id, host_name="xen2", method="COLD", now=NOW)
    listens(move)
    for seconds, (side, step) in enumerate(REPORTED, 1):
        tell(move, side, "STEP", step=step, progress=10 * seconds, now=NOW + timedelta(seconds=seconds))
    return {"failed": failed, "broken": failed.machine, "web1": web1, "move": move}


@pytest.fixture
def page(live_server: Any, places: dict[str, Any], browser: Browser) -> Page:
    return seat(browser, live_server.url, "alice")


def seat(browser: Browser, url: str, who: str) -> Page:
    opened = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    opened.set_default_timeout(60_000)
    sign_in(opened, url, who, PASSWORD)
    return opened


def is_in_view(page: Page, selector: str) -> bool:
    """Whether it comes into view: a busy machine scrolls some frames after the focus has moved."""
    for _ in range(40):
        if page.locator(selector).evaluate(IN_VIEW):
            return True
        page.wait_for_timeout(50)
    return False


def test_a_wrong_field_is_where_the_page_opens(live_server: Any, page: Page) -> None:
    page.goto(f"{live_server.url}/machines/new/")
    page.fill("#id_ssh_keys", "no key")
    page.fill("#id_password", "root-password-1")
    page.locator("#ask").click()
    expect(page.locator("#id_ssh_keys")).to_be_focused()
    assert is_in_view(page, "#id_ssh_keys")
    expect(page.locator("#id_ssh_keys_error")).to_contain_text("An SSH key starts with its type")
    # the password is wrong nowhere and is kept
    expect(page.locator("#id_password")).to_have_value("root-password-1")
    page.locator("[data-errors] a").first.click()
    expect(page.locator("#id_ssh_keys")).to_be_in_viewport()
    assert axe_violations(page) == []


def test_nothing_is_created_that_nobody_can_sign_in_to(live_server: Any, page: Page) -> None:
    page.goto(f"{live_server.url}/machines/new/")
    page.fill("#id_ssh_keys", "")
    expect(page.locator("[data-no-access]")).to_be_visible()
    page.locator("#ask").click()
    box = page.locator("#id_is_closed_fine")
    expect(box).to_be_focused()
    assert is_in_view(page, "#id_is_closed_fine")
    assert axe_violations(page) == []
    box.check()
    page.locator("#ask").click()
    page.wait_for_url("**/machines/*-*-*/")


def test_what_is_refused_cannot_be_pressed_and_a_reason_is_asked_where_needed(
    live_server: Any, page: Page
) -> None:
    page.goto(f"{live_server.url}/machines/new/")
    ask, reason = page.locator("#ask"), page.locator("#id_reason")
    expect(ask).to_be_enabled()
    expect(reason).to_be_hidden()
    page.get_by_text("Custom size").click()
    expect(page.locator("#verdict")).to_have_text("Custom sizes need approval.", use_inner_text=True)
    expect(ask).to_have_text("Request approval")
    expect(reason).to_be_visible()
    page.fill("#id_vcpus", "0")
    expect(page.locator("#verdict")).to_contain_text("vCPUs: from 1 to 64")
    expect(ask).to_be_disabled()
    page.fill("#id_vcpus", "2")
    expect(ask).to_be_enabled()
    page.fill("#id_memory_mib", "")
    expect(ask).to_be_disabled()
    page.fill("#id_memory_mib", "512")
    expect(ask).to_be_enabled()


def test_a_taken_name_is_said_where_one_types(live_server: Any, page: Page, places: dict[str, Any]) -> None:
    page.goto(f"{live_server.url}/machines/{places['broken'].id}/settings/")
    page.fill("#id_name", "web1")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#id_name")).to_be_focused()
    expect(page.locator("#id_name_error")).to_contain_text("already has a machine named web1")
    expect(page.locator("#id_name")).to_have_value("web1")


def test_evidence_opens_at_its_end(live_server: Any, page: Page, places: dict[str, Any]) -> None:
    page.goto(f"{live_server.url}/jobs/{places['failed'].id}/")
    tails = page.locator(".wx-tail")
    assert tails.count() == 2
    for tail in tails.all():
        assert tail.evaluate("(box) => box.scrollHeight > box.clientHeight"), "it is long enough to tell"
        below = tail.evaluate(BELOW)
        assert below <= 1, f"the last line is {below} px below its box"
        tail.focus()
        expect(tail).to_be_focused()
    lines = page.locator(".wx-tail pre").inner_text().splitlines()
    assert lines[-2:] == [CAUSE, "[ ***  ] Job ssh.service/start running (59s / no limit)"]
    assert axe_violations(page) == []


def test_a_long_configuration_is_reached_by_keyboard(
    live_server: Any, page: Page, places: dict[str, Any]
) -> None:
    page.goto(f"{live_server.url}/machines/{places['web1'].id}/settings/")
    assert axe_violations(page) == []
    box = page.get_by_role("region", name="xl configuration")
    box.focus()
    page.keyboard.press("End")
    page.wait_for_function("(box) => box.scrollTop > 0", arg=box.element_handle())


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_step_fits_its_place(
    live_server: Any, page: Page, places: dict[str, Any], language: str
) -> None:
    page.context.add_cookies([{"name": "django_language", "value": language, "url": live_server.url}])
    for job in (places["move"], places["failed"]):
        page.goto(f"{live_server.url}/jobs/{job.id}/")
        for width in (390, 768, 1024, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert scrolls_sideways(page) == 0, width
            assert page.evaluate(CLIPPED) == [], width


def test_a_cold_move_shows_where_it_is(live_server: Any, page: Page, places: dict[str, Any]) -> None:
    page.goto(f"{live_server.url}/jobs/{places['move'].id}/")
    shown = {
        one.get_attribute("data-step"): one.get_attribute("data-state")
        for one in page.locator(".wx-step").all()
    }
    assert list(shown)[-6:] == ["SHUTDOWN", "GONE", "DOMAIN", "KERNEL", "INIT", "LOGIN"]
    assert shown["GONE"] == "now"
    assert {shown[code] for code in ("DOMAIN", "KERNEL", "INIT", "LOGIN")} == {"todo"}


def test_a_failed_create_is_red_where_it_failed(live_server: Any, page: Page, places: dict[str, Any]) -> None:
    page.goto(f"{live_server.url}/machines/{places['broken'].id}/")
    red = page.locator('.wx-step[data-state="failed"]')
    expect(red).to_have_attribute("data-step", "INIT")
    expect(page.locator('.wx-step[data-step="LOGIN"]')).to_have_attribute("data-state", "unheard")
    page.get_by_role("link", name="Create again").first.click()
    expect(page.locator("#id_name")).to_have_value("broken-2")


def test_reasons_are_read_on_a_phone(live_server: Any, page: Page, places: dict[str, Any]) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{live_server.url}/machines/{places['web1'].id}/")
    why = page.locator("#why-not")
    expect(why).to_be_visible()
    expect(why).to_contain_text("Start, Shut down, Reboot, Power off: A job is in progress")
    assert scrolls_sideways(page) == 0

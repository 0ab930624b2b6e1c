"""One click, and a machine is on the other host: two stand-in hosts that see one folder of disks.

The browser asks and watches the bar; what ran when and where is the stand-ins' own record.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from devtools.fakexl import overlaps
from tests.browser.chromium import Complaints, sign_in
from tests.browser.portal_runner import HOSTS, Desk

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
#: what the stand-in sends, and for how long: a person sees the bar move
STREAM = {"migrate_bytes": 96 << 20, "migrate_seconds": 9}
#: writes down whatever the bar of a job shows, and how the job stands: all that is seen without a reload
RECORD = """
    window.percents = [];
    window.statuses = [];
    const keep = (list, value) => { if (list.at(-1) !== value) list.push(value); };
    new MutationObserver(() => {
        const job = document.querySelector('[data-job]');
        const bar = job?.querySelector('progress.wx-progress');
        if (bar) keep(window.percents, bar.value);
        if (job) keep(window.statuses, job.dataset.status);
    }).observe(document, {subtree: true, childList: true, attributes: true});
"""


def create(page: Page, portal: Desk, name: str) -> str:
    """A machine of dana's project; its page."""
    wish = {
        "name": name,
        "image": "minimal",
        "size": "tiny",
        "password": "moves-well-77",
        "reason": "x",
    }
    answer = page.evaluate(
        """async (wish) => {
            const token = document.querySelector('meta[name=csrf-token]')?.content
                ?? document.querySelector('input[name=csrfmiddlewaretoken]').value;
            const answer = await fetch('/api/v1/requests/', {method: 'POST', body: JSON.stringify(wish),
                headers: {'Content-Type': 'application/json', 'X-CSRFToken': token}});
            return answer.json();
        }""",
        wish,
    )
    return f"{portal.url}/machines/{answer['machine']}/"


def of_job(page: Page, job_id: str) -> Any:
    return page.evaluate("async (id) => (await fetch(`/api/v1/jobs/${id}/`)).json()", job_id)


def test_a_machine_moves_by_one_click_and_never_runs_twice(
    folder: Path, running_portal: Desk, browser: Browser
) -> None:
    portal = running_portal
    alice = browser.new_page()
    sign_in(alice, portal.url, "alice", portal.passwords["alice"])
    address = create(alice, portal, "migrating")
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(60_000)
    page.add_init_script(RECORD)
    complaints = Complaints(page)
    sign_in(page, portal.url, "dana", portal.passwords["dana"])
    page.goto(address)
    expect(page.locator("[data-power=RUNNING][data-state=READY]")).to_be_visible(timeout=120_000)
    source = page.locator("#machine-head a[href*='/hosts/']").inner_text()
    page.get_by_role("link", name="Move…").click()
    (target,) = set(HOSTS) - {source}
    expect(page.locator(f"[data-host={target}]")).to_have_attribute("data-fits", "yes")
    for name in HOSTS:
        settings = folder / "hosts" / name / "xl" / "settings.json"
        known = json.loads(settings.read_text()) if settings.exists() else {}
        settings.write_text(json.dumps(known | STREAM))
    page.get_by_role("button", name="Move", exact=True).click()
    # the bar shows both hosts, and then the machine its new one: without one reload
    expect(page.locator(".wx-move")).to_contain_text(target)
    expect(page.locator("[data-job]")).to_have_attribute("data-status", "SUCCEEDED", timeout=120_000)
    expect(page.locator("#machine-head a[href*='/hosts/']")).to_have_text(target)
    percents, statuses = page.evaluate("() => [window.percents, window.statuses]")
    assert percents == sorted(percents), f"the bar went back: {percents}"
    assert len(set(percents)) > 3, f"the bar hardly moved: {percents}"
    assert statuses[-1] == "SUCCEEDED", statuses
    job_id = page.locator("[data-job]").get_attribute("data-job") or ""
    move = of_job(page, job_id)["migration"]
    assert (move["verdict"], move["source"], move["target"]) == ("MOVED", source, target)
    assert move["blackout_ms"] >= 0
    assert not overlaps([folder / "hosts" / name / "xl" / "running.jsonl" for name in HOSTS])
    seen = json.loads((folder / "hosts" / target / "xl" / "state.json").read_text())
    assert len([one for one in seen["domains"].values() if one["uuid"] in address]) == 1
    assert not complaints.said

"""The console's page in a real browser, with a server's side of the socket that says what a test wants."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.browser.chromium import sign_in
from tests.fixtures import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
#: by how many pixels the last row stands below the lower edge of its box
BELOW = """() => document.querySelector('.xterm-rows > div:last-child').getBoundingClientRect().bottom
    - document.querySelector('.wxc-screen').getBoundingClientRect().bottom"""


class Server:
    """What the portal would say on the console's socket, and what the page sent to it."""

    def __init__(self) -> None:
        self.socket: WebSocketRoute | None = None
        self.typed = b""
        self.writer, self.is_mine, self.end = "alice", True, 0

    def answer(self, socket: WebSocketRoute) -> None:
        self.socket = socket
        socket.on_message(self._hear)
        self._say(type="hello", offset=0, end=self.end, **self._who("writer"))
        self._say(type="state", state="attached", reason="")

    def _hear(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self.typed += data

    def _who(self, name: str) -> dict[str, Any]:
        return {name: self.writer, "mine": self.is_mine, "viewers": 2}

    def says_who_types(self, writer: str, *, is_mine: bool) -> None:
        self.writer, self.is_mine = writer, is_mine
        self._say(type="writer", **self._who("user"))

    def prints(self, data: bytes) -> None:
        assert self.socket is not None
        self.socket.send(data)

    def _say(self, **words: Any) -> None:
        assert self.socket is not None
        self.socket.send(json.dumps(words))


@pytest.fixture
def open_console(
    live_server: Any, web1: Any, charlie: Any, elsewhere: Any, browser: Browser
) -> Callable[..., Page]:
    def open_page(server: Server, *, width: int = 1280, height: int = 800) -> Page:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.route("**/console/", _ticket)
        page.route_web_socket("**/ws/console/**", server.answer)
        sign_in(page, live_server.url, "alice", PASSWORD)
        page.goto(f"{live_server.url}/machines/{web1.id}/console/")
        expect(page.locator(".xterm-rows")).to_be_visible()
        return page

    return open_page


def _ticket(route: Any) -> None:
    if route.request.method == "POST":
        route.fulfill(status=201, json={"ticket": "t"})
    else:
        route.continue_()


def test_an_underscore_is_drawn(open_console: Callable[..., Page]) -> None:
    server = Server()
    page = open_console(server)
    row = page.locator(".xterm-rows > div").nth(2)
    server.prints(b"\x1b[?25l\r\n\r\n\x1b[0m                              ")
    page.wait_for_timeout(500)
    blank = row.screenshot()
    server.prints(b"\r______________________________")
    expect(row).to_contain_text("____")
    page.wait_for_timeout(500)
    assert row.screenshot() != blank


@pytest.mark.parametrize(
    ("width", "height"), [(1920, 1080), (1280, 800), (1000, 613), (390, 844), (320, 640)]
)
def test_the_last_line_is_whole_at_every_size(
    open_console: Callable[..., Page], width: int, height: int
) -> None:
    page = open_console(Server(), width=width, height=height)
    page.wait_for_timeout(300)
    assert page.evaluate(BELOW) <= 0


def test_keys_typed_while_earlier_output_comes_are_sent_afterwards(open_console: Callable[..., Page]) -> None:
    server = Server()
    server.end = 2000
    page = open_console(server)
    # the terminal answers this question by itself, and must not: it was asked before we came
    server.prints(b"\x1b[6n" + b"x" * 996)
    expect(page.locator(".wxc-words")).to_contain_text("Replaying earlier output… 50 %")
    page.locator(".xterm-helper-textarea").press_sequentially("ls")
    page.wait_for_timeout(300)
    assert server.typed == b""
    server.prints(b"y" * 1000)
    expect(page.locator(".wxc-words")).to_have_text("Connected.")
    page.locator(".xterm-helper-textarea").press("Enter")
    page.wait_for_timeout(300)
    assert server.typed == b"ls\r"


def test_who_types_is_said_and_keys_of_others_are_answered(open_console: Callable[..., Page]) -> None:
    server = Server()
    page = open_console(server)
    status, label = page.locator(".wxc-words"), page.locator(".wxc-pen")
    expect(label).to_have_text("You are typing")
    server.says_who_types("dana", is_mine=False)
    expect(status).to_have_text("dana has taken over the keyboard.")
    expect(label).to_have_text("dana is typing")
    page.locator(".xterm-helper-textarea").press("x")
    expect(status).to_have_text("dana is typing. Take over to type yourself.")
    assert server.typed == b""
    server.says_who_types("alice", is_mine=False)
    expect(label).to_have_text("Another window of yours is typing")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_console_keeps_its_place_and_height_while_a_job_runs(
    open_console: Callable[..., Page], width: int, height: int
) -> None:
    page = open_console(Server(), width=width, height=height)
    page.on("dialog", lambda dialog: dialog.accept())
    before = _box(page)
    page.get_by_role("button", name="Reboot").click()
    # the head asks again while a job is open
    expect(page.locator("#machine-poll")).to_have_count(1)
    expect(page.locator(".xterm-rows")).to_be_visible()
    assert page.locator("[data-step]").count() == 0
    after = _box(page)
    assert after["height"] == pytest.approx(before["height"], abs=1)
    assert after["height"] >= height / 2
    page.wait_for_timeout(2500)
    assert _box(page) == after


def _box(page: Page) -> dict[str, float]:
    box = page.locator(".wxc-screen").bounding_box()
    assert box is not None
    return dict(box)

"""A socket is opened by our own pages, or by a program that names no origin."""

import pytest

from webxen.core import origin


def is_own(host: str, *origins: str, is_secure: bool = False, trusted: tuple[str, ...] = ()) -> bool:
    headers = [(b"host", host.encode()), *((b"origin", value.encode()) for value in origins)]
    return not origin.find_fault(
        headers, is_secure=is_secure, allowed_hosts=["webxen.test", ".lab.test"], trusted=trusted
    )


@pytest.mark.parametrize(
    ("host", "from_page", "is_secure"),
    [
        ("webxen.test", "http://webxen.test", False),
        ("webxen.test:8000", "http://webxen.test:8000", False),
        ("WebXen.test", "http://webxen.test", False),
        ("a.lab.test", "https://a.lab.test", True),
    ],
)
def test_our_own_page_may(host: str, from_page: str, is_secure: bool) -> None:
    assert is_own(host, from_page, is_secure=is_secure)


@pytest.mark.parametrize(
    "from_page",
    [
        "http://evil.test",
        "null",
        "",
        "http://webxen.test.evil.test",
        "http://evilwebxen.test",
        "http://webxen.test:8001",
        "http://webxen.test:80",
        "https://webxen.test",
        "ws://webxen.test",
        "http://a.lab.test",
        "http://user@webxen.test",
        "http://webxen.test/",
        "webxen.test",
    ],
)
def test_nobody_elses_may(from_page: str) -> None:
    assert not is_own("webxen.test", from_page)


def test_two_origins_are_none() -> None:
    assert not is_own("webxen.test", "http://webxen.test", "http://webxen.test")


def test_a_host_we_do_not_serve_is_refused_with_and_without_an_origin() -> None:
    assert not is_own("evil.test", "http://evil.test")
    assert not is_own("evil.test")
    assert not is_own("")


def test_a_program_names_no_origin() -> None:
    assert is_own("webxen.test")


def test_a_trusted_origin_may() -> None:
    assert is_own("webxen.test", "https://front.test", trusted=("https://front.test",))


class TestFindFault:
    def test_names_the_origin_and_the_setting_that_would_let_it_in(self) -> None:
        headers = [(b"host", b"webxen.test"), (b"origin", b"http://portal.test\x1b[31m")]
        fault = origin.find_fault(headers, is_secure=True, allowed_hosts=["webxen.test"], trusted=())
        assert "portal.test\\x1b" in fault
        assert "https://webxen.test" in fault
        assert "WEBXEN_TRUSTED_ORIGINS" in fault

    def test_names_the_host_and_the_setting_that_would_let_it_in(self) -> None:
        fault = origin.find_fault([(b"host", b"evil.test")], is_secure=True, allowed_hosts=["a"], trusted=())
        assert fault == "the host 'evil.test' is not in WEBXEN_ALLOWED_HOSTS"

"""Fixtures of page tests without JavaScript: Django's test client, signed in."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from django.test import Client

from tests.fixtures import NOW
from webxen.accounts.models import User


@pytest.fixture
def as_(db: None) -> Callable[[User], Client]:
    """A test client in which this user is signed in, with CSRF checks enabled."""

    def sign_in(user: User) -> Client:
        client = Client(raise_request_exception=True)
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def wish(minimal: Any, small: Any, lan: Any, xen1: Any) -> dict[str, str]:
    """The data that the new-machine form sends for a small machine."""
    return {
        "name": "web1",
        "project": "lab",
        "image": "minimal",
        "size": "small",
        "network": "lan",
        "vcpus": "1",
        "memory_mib": "256",
        "disk_gib": "1",
        "ssh_keys": "",
        "password": "root-password-1",
        "user_data": "",
        "reason": "",
    }


@pytest.fixture(autouse=True)
def at_noon() -> Iterator[None]:
    """Make the pages' clock return the fixtures' time."""
    with time_machine.travel(NOW):
        yield

"""Staff sees on a host's page, and on the list, when some of what the host says was dropped as too much."""

from datetime import timedelta

import pytest

from tests.fixtures import NOW
from webxen.inventory import floods

WHAT = {"reports": "sends more messages than are read", "console": "writes more into its consoles"}


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("path", ["/hosts/xen1/", "/hosts/"])
def test_staff_is_told_with_the_time(xen1, as_, dana, what, path):
    assert WHAT[what] not in as_(dana).get(path).content.decode()
    floods.note(name="xen1", what=what, now=NOW - timedelta(minutes=5))
    page = as_(dana).get(path).content.decode()
    assert WHAT[what] in page
    assert "the last time 5\xa0minutes ago" in page
    russian = as_(dana).get(path, headers={"accept-language": "ru"}).content.decode()
    assert "5\xa0минут назад" in russian
    assert WHAT[what] not in russian

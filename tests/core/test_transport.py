"""What the portal's queue may hold: anything else is dropped before Kombu trips over it."""

import pytest

from webxen.core import transport


def item(**changed):
    good = {
        "body": "W10=",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "webxen.report", "id": "1"},
        "properties": {
            "delivery_tag": "t",
            "delivery_info": {"exchange": "", "routing_key": "reports"},
            "body_encoding": "base64",
        },
    }
    return {**good, **changed}


class TestFindFault:
    def test_passes_what_celery_writes(self):
        assert transport.find_fault(item()) == ""

    @pytest.mark.parametrize(
        "untrusted",
        [
            None,
            [],
            "text",
            7,
            {},
            item(properties=None),
            item(properties={"delivery_tag": "t"}),
            item(headers=[]),
            item(headers={"task": 1, "id": "1"}),
            item(headers={"task": "x", "id": "1", "compression": "zlib"}),
            item(body=b"x".hex() * transport.MAX_ITEM_BYTES),
            item(body=None),
            item(**{"content-type": "application/x-python-serialize"}),
            item(**{"content-encoding": "no-such-code"}),
        ],
    )
    def test_names_what_is_wrong(self, untrusted):
        assert transport.find_fault(untrusted) != ""

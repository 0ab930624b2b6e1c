"""How the transport is told which items to drop."""

from webxen.core import transport


class TestInstall:
    def test_an_item_with_a_fault_is_dropped_with_one_line(self, caplog):
        before = transport.Transport.find_fault
        transport.install(find_fault=lambda _: "it is none of ours")
        try:
            # nothing is asked of the connection
            transport.Transport._deliver(object.__new__(transport.Transport), {}, "clock")
        finally:
            transport.install(find_fault=before)
        assert caplog.messages == ["dropped an item from the queue clock: it is none of ours"]

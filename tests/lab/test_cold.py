"""A machine whose disk lies on one real host alone moves to another: copied while it runs and writes."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.portal_runner import ROOT, desk
from tests.lab.portal import Portal

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(1200)]

#: numbers into a file, each on the disk before the next
WRITES = "(n=0; while :; do n=$((n+1)); echo $n >> /root/numbers; sync; done) &"
#: is each line's number its own, and which was the last
READS = """awk '$1 != NR {print "WR" "ONG", NR} END {print "LAST", NR}' /root/numbers"""


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    data = Path(os.environ.get("WEBXEN_LAB_DATA", ROOT / ".webxen"))
    with desk("xen", data, hosts=2, own={"WEBXEN_NEW_DISKS": "LOCAL"}):
        yield Portal(data)


def number_after(word: bytes, text: bytes) -> int:
    found = re.search(rb"\n" + word + rb"(\d+)\r", text)
    assert found, text
    return int(found[1])


def test_what_it_writes_while_it_is_copied_is_there_when_it_has_moved(portal: Portal) -> None:
    made = portal.create(size="tiny")
    try:
        (source,) = portal.xen.where(made)
        (target,) = set(portal.xen.hosts) - {source}
        with portal.alice.console(made) as console:
            console.log_in()
            console.types(WRITES)
            begins = console.types("sleep 2; echo UP TO $(wc -l < /root/numbers)")
            console.until(b"\nUP TO ", after=begins)
            console.read(1)
            written = number_after(b"UP TO ", console.text[begins:])
            moved = portal.move(made, target, meanwhile=lambda: console.read(0.1), method="cold")
            assert (moved["verdict"], moved["method"]) == ("MOVED", "COLD")
            assert list(portal.xen.where(made)) == [target]
        portal.agree(made, "RUNNING")
        with portal.alice.console(made) as console:
            console.until(b"login:", after=0)
            console.log_in()
            begins = console.types(READS)
            console.until(b"\nLAST ", after=begins)
            console.read(2)
            found = console.text[begins:]
        print(f"written before the move {written}, there after it {number_after(b'LAST ', found)}")
        assert b"WRONG" not in found
        assert number_after(b"LAST ", found) > written
    finally:
        portal.act("poweroff", made)
        portal.delete(made)

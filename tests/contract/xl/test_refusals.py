"""xl says no in the same words, with the same exit codes, in the stand-in as in real Xen."""

import json
import re
from pathlib import Path

import pytest

from tests.contract.xl.place import Place, StandInPlace, listed, write_cfg
from worker.xen import libxlutil

CAPTURED = Path(__file__).parents[2] / "worker/captured"
CASES = json.loads((CAPTURED / "xl-cases-4.20.json").read_text())
#: the lab may have to be booted first
pytestmark = pytest.mark.timeout(1200)
UUID = "c7000000-0000-4000-8000-000000000001"


def plain(text: str) -> list[str]:
    """Lines without what differs from run to run: numbers of domains and processes, paths."""
    text = re.sub(r"Domain '?\d+'?:?|domid=\d+|/libxl/\d+|/bin/\S+:|\[\d+\]|domain \d+", "N", text)
    text = re.sub(r"/[\w./-]+\.cfg", "CFG", text)
    return re.sub(r"/(?!etc)[\w./-]*nosuch[\w.]*", "PATH", text).splitlines()


def by_domid(verb: str) -> tuple[int, str]:
    """What the real xl said of a domid that is not there."""
    transcript = (CAPTURED / "xl-errors-4.20.txt").read_text()
    part = transcript.split(f"+ xl {verb} 77\n")[1].split("\n+ ")[0]
    lines = part.splitlines()
    return int(lines[-1].removeprefix("rc=")), "\n".join(line[2:] for line in lines[:-1])


@pytest.mark.parametrize(
    "case",
    [
        *("list-missing", "list-l-missing", "domid-missing", "domname-missing", "destroy-missing"),
        *("shutdown-missing", "reboot-missing", "pause-missing", "unpause-missing", "mem-set-missing"),
        *("console-missing", "create-no-file", "unknown-verb", "destroy-dom0"),
    ],
)
def test_a_command_that_cannot_work(place: Place, case: str) -> None:
    told = CASES[case]
    result = place.xl(*told["argv"][1:])
    assert (result.rc, plain(result.error_text), result.text) == (
        *(told["rc"], plain(told["stderr"]), told["stdout"]),
    )


@pytest.mark.parametrize("verb", ["destroy", "shutdown", "reboot", "pause", "unpause"])
def test_a_domid_that_is_not_there(place: Place, verb: str) -> None:
    rc, words = by_domid(verb)
    result = place.xl(verb, "31999")
    assert (result.rc, plain(result.error_text)) == (rc, plain(words))


@pytest.mark.parametrize(
    ("case", "values"),
    [
        ("create-no-name", {"name": ""}),
        ("create-bad-type", {"type": "'xyz'"}),
        ("create-no-kernel", {"kernel": "'/srv/domu/nosuch'"}),
        ("create-no-disk", {"disk": "['format=raw,vdev=xvda,access=rw,target=/srv/nosuch.img']"}),
        ("create-no-memory", {"memory": "8192", "maxmem": "8192"}),
    ],
)
def test_a_domain_that_cannot_be_made(place: Place, case: str, values: dict[str, str]) -> None:
    told = CASES[case]
    result = place.xl("create", write_cfg(place, "ct-none", UUID, **values))
    assert (result.rc, plain(result.error_text)) == (told["rc"], plain(told["stderr"]))
    assert "ct-none" not in listed(place)


def test_a_bridge_that_is_not_there(place: Place) -> None:
    disk = place.disk("ct-nobridge")
    cfg = write_cfg(
        place,
        "ct-nobridge",
        UUID,
        disk=f"['format=raw,vdev=xvda,access=rw,target={disk}']",
        vif="['mac=00:16:3e:00:77:01,bridge=nosuchbr']",
    )
    result = place.xl("create", cfg)
    assert result.rc == CASES["create-no-bridge"]["rc"]
    assert "script: Could not find bridge device nosuchbr\n" in result.error_text
    assert "unable to add vif devices\n" in result.error_text
    assert "ct-nobridge" not in listed(place)


def test_a_configuration_that_cannot_be_read(place: Place) -> None:
    if isinstance(place, StandInPlace) and not libxlutil.library_path():
        pytest.skip("the stand-in asks xl's own parser, and libxlutil is not installed")
    cfg = place.put("ct-bad.cfg", b"name = 'a' 'b'\n")
    result = place.xl("create", cfg)
    first, error, last = result.error_text.splitlines()
    assert (result.rc, first, last) == (
        *(1, f"Parsing config from {cfg}", "Failed to parse config: Invalid argument"),
    )
    assert re.fullmatch(r"/\S+ct-bad\.cfg:1: config parsing error near `'b''.*", error)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("read", "xenstore-read: couldn't read path /local/domain/31999/vm\n"),
        ("list", "xenstore-list: could not list path /local/domain/31999/vm\n"),
        ("ls", "xenstore-ls: xs_directory (/local/domain/31999/vm): No such file or directory\n"),
    ],
)
def test_a_xenstore_path_that_is_not_there(place: Place, verb: str, words: str) -> None:
    result = place.xenstore(verb, "/local/domain/31999/vm")
    assert (result.rc, result.error_text, result.text) == (1, words, "")

"""What `verify` finds and how it is cured is Russian on a Russian page, to the last word."""

import dataclasses
import re

import pytest
from django.utils import translation

from tests.differences import GONE, PLANTED, change, clean, domain, drifts, plant, volume
from webxen.core.messages import Message, tell_all, translate
from webxen.diagnostics.compare import compare
from webxen.diagnostics.findings import CATALOGUE, Finding
from webxen.diagnostics.snapshot import Picture
from webxen.diagnostics.verify import Verdict

#: English words that would have been left over; names and commands are none
ENGLISH = re.compile(r"\b(the|is|are|of|on|and|has|runs|no|to|it|its|machine|host|disk|MiB|GiB|vCPUs)\b")


def in_russian(text: str) -> str:
    with translation.override("ru"):
        russian = translate(text)
    assert russian != text, f"no Russian for: {text}"
    assert not ENGLISH.search(russian), russian
    return russian


def also() -> list[Picture]:
    """The same findings where their sentences have other words."""
    picture = clean()
    homeless = dataclasses.replace(
        plant(picture, "VOLUME_ELSEWHERE"),
        machines=tuple(dataclasses.replace(machine, host="") for machine in picture.machines),
    )
    draft = {"volumes": (volume(GONE, "d8", is_draft=True), volume(), volume(disk_id="d9"))}
    nobody = domain("4" * 36, power="PAUSED")
    twice = change(change(picture, host="xen1", domains=(domain(), nobody)), host="xen2", domains=(nobody,))
    powers = [
        change(picture, host="xen2", domains=(domain(GONE, power=power),))
        for power in ("RUNNING", "PAUSED", "SUSPENDED", "OFF", "CRASHED", "UNKNOWN")
    ]
    sharing = plant(picture, "ADDRESS_TWICE")
    copies = change(change(sharing, host="xen2", images={"minimal": "b" * 64}), images={})
    silent = change(picture, host="xen1", is_silent=True, seen_seconds_ago=75)
    return [
        *powers,
        twice,
        copies,
        silent,
        change(picture, host="xen1", holdings=draft),
        homeless,
        plant(homeless, "MACHINE_RUNS_TWICE"),
        change(picture, host="xen2", holdings={"machines": ("my folder",)}),
        change(picture, machine="web", power="UNKNOWN"),
    ]


class TestDifferences:
    @pytest.mark.parametrize("code", CATALOGUE)
    def test_are_told_and_cured_in_russian(self, code: str) -> None:
        (found,) = compare(plant(clean(), code))
        in_russian(found.said)
        in_russian(CATALOGUE[code].cure)

    def test_are_told_in_russian_in_all_their_words(self) -> None:
        found = [finding for picture in also() for finding in compare(picture)]
        assert len(found) > len(also())
        for finding in found:
            in_russian(finding.said)

    def test_of_the_ledger_are_too(self) -> None:
        assert len({drift.what for drift in drifts()}) == len(type(drifts()[0].what))
        for drift in drifts():
            in_russian(drift.sentence)

    def test_are_summed_up_in_russian(self) -> None:
        found = tuple(Finding(code, Message.plain("")) for code in PLANTED)
        for findings in ((), found):
            in_russian(Verdict(clean(), findings).summary)

    @pytest.mark.parametrize(
        "mended",
        [
            Message("MENDED_POWER", name="web", state="OFF"),
            Message("MENDED_FENCE", name="web", number=3),
            Message("MENDED_MEMORY", held_mib=512, host="xen1"),
            Message("MENDED_ADDRESS"),
            Message("MENDED_LEDGER", n=2),
        ],
    )
    def test_that_were_mended_are_russian_in_the_audit(self, mended: Message) -> None:
        (found,) = compare(plant(clean(), "POWER_WRONG"))
        in_russian(tell_all([found.said, mended]))

    def test_that_have_no_russian_are_seen(self) -> None:
        with pytest.raises(AssertionError, match="no Russian"):
            in_russian("web is in a tree.")

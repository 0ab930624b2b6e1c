"""What a move is made of: suspend, resume, rename, save and restore, and a transport that fails."""

import pytest

from tests.contract.xl.place import Place, listed, wait_until_gone
from tests.contract.xl.test_lives import look, start
from worker.relay import xl_stream
from worker.xen import xl

UUID = "c7000000-0000-4000-8000-00000000000c"
pytestmark = pytest.mark.timeout(1200)


class TestMoving:
    def test_a_guest_that_stands_still_and_goes_on(self, place: Place) -> None:
        domain = start(place, "ct-move", UUID, "pvh")
        number = str(domain.domid)
        assert place.xl("rename", number, "ct-move--migratedaway").rc == 0
        assert place.xl("suspend", number).rc == 0
        assert look(place, UUID).power == "SUSPENDED"
        assert place.xl("resume", number).rc == 0
        assert place.xl("rename", number, "ct-move").rc == 0
        assert (look(place, UUID).name, look(place, UUID).power) == ("ct-move", "RUNNING")
        self.a_transport_that_fails(place, number)
        self.saved_and_restored(place, number)

    def a_transport_that_fails(self, place: Place, number: str) -> None:
        failed = place.xl("migrate", "-s", "", number, "exec false")
        assert failed.rc != 0
        assert look(place, UUID).power == "RUNNING"
        # a lab that is used by hand has machines of its own
        assert [name for name in listed(place) if name.startswith("ct-")] == ["ct-move"]

    def saved_and_restored(self, place: Place, number: str) -> None:
        target = f"{place.folder}/ct-move.save"
        saved = place.xl("save", "-p", number, target)
        assert saved.rc == 0, saved.error_text
        # it stands where it stood, and the file holds what the relay reads
        assert look(place, UUID).power == "PAUSED"
        stream = xl_stream.DomainStream()
        data = place.run(["head", "-c", "65536", target]).out
        stream.feed(data)
        assert (stream.kind, stream.passes) == ("HVM", 1)
        assert place.xl("destroy", number).rc == 0
        wait_until_gone(place, "ct-move")
        restored = place.xl("restore", "-p", target)
        assert restored.rc == 0, restored.error_text
        domain = look(place, UUID)
        assert (domain.name, domain.power) == ("ct-move", "PAUSED")
        assert place.xl("unpause", str(domain.domid)).rc == 0
        assert look(place, UUID).power == "RUNNING"
        assert place.xl("destroy", str(domain.domid)).rc == 0
        wait_until_gone(place, "ct-move")

    @pytest.mark.parametrize("verb", ["suspend", "resume", "save", "migrate"])
    def test_no_such_domain(self, place: Place, verb: str) -> None:
        more = {"save": ["/nowhere"], "migrate": ["true"]}.get(verb, [])
        before = ["-s", ""] if verb == "migrate" else []
        refused = place.xl(verb, *before, "ct-nobody", *more)
        assert refused.rc != 0
        assert isinstance(xl.failure(verb, refused.rc, refused.error_text), xl.NoSuchDomain)

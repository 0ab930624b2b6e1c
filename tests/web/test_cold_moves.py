"""The pages of cold moves: what is said beforehand, and the button for what is kept."""

import pytest

from tests.moves import domain, listens, show, tell
from webxen.jobs.models import Job, Move
from webxen.machines.models import Machine


@pytest.fixture
def apart(pair, web1):
    """Each host has its own pool; web1 runs on xen1."""
    show(pair[0], domain(web1), shared="")
    show(pair[1], shared="")
    return web1


class TestMovePage:
    def test_says_beforehand_that_it_will_be_off_and_asks_for_the_word(self, apart, as_, dana):
        page = as_(dana).get(f"/machines/{apart.id}/move/").content.decode()
        assert "Is copied while it runs, then shut down and started there: it is off for about" in page
        assert '<option value="cold" selected>' in page
        as_(dana).post(f"/machines/{apart.id}/move/", {"host": "xen2", "method": "auto"})
        assert not Job.objects.filter(kind="MIGRATE").exists()
        as_(dana).post(f"/machines/{apart.id}/move/", {"host": "xen2", "method": "cold"})
        assert Move.objects.get().restarts

    def test_alice_and_charlie_have_none(self, apart, as_, alice, charlie, elsewhere):
        assert as_(charlie).get(f"/machines/{apart.id}/move/").status_code == 404
        assert as_(alice).post(f"/machines/{apart.id}/move/", {"method": "cold"}).status_code in (
            403,
            404,
        )


class TestDrainPage:
    def test_shuts_nothing_down_unless_it_is_ticked(self, apart, as_, dana):
        page = as_(dana).get("/hosts/xen1/drain/").content.decode()
        assert 'data-stuck="web1"' in page
        page = as_(dana).get("/hosts/xen1/drain/?shut_down=1").content.decode()
        assert 'data-planned="web1"' in page
        as_(dana).post("/hosts/xen1/drain/", {"shut_down": "1"})
        assert Move.objects.get().method == "COLD"


class TestLetGo:
    def test_staff_lets_the_old_disks_go(self, apart, start_move, as_, dana, alice):
        Machine.objects.filter(id=apart.id).update(power="OFF")
        job = start_move()
        listens(job)
        over = {"go_passed": True, "closed": True, "phase": "REPORTED", "domains": ()}
        for side in ("TARGET", "SOURCE"):
            tell(job, side, "SUCCEEDED", facts=over)
        page = as_(alice).get(f"/jobs/{job.id}/").content.decode()
        assert "xen1 keeps the disks that were copied" in page
        assert "let-go" not in page
        assert "let-go" in as_(dana).get(f"/jobs/{job.id}/").content.decode()
        as_(dana).post(f"/jobs/{job.id}/let-go/")
        assert Move.objects.get().discard_asked_at is not None

"""The pages of cold moves: what is said beforehand, and the button for what is kept."""

import re
from datetime import timedelta

import pytest

from tests.fixtures import NOW
from tests.moves import domain, listens, show, tell
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.migration import kept_disks
from webxen.migration.models import Move, MoveSide


@pytest.fixture
def apart(pair, web1):
    """Each host has its own pool; web1 runs on xen1."""
    show(pair[0], domain(web1), shared="")
    show(pair[1], shared="")
    return web1


class TestMovePage:
    def test_says_beforehand_that_it_will_be_off_and_asks_for_the_word(self, apart, as_, dana):
        page = as_(dana).get(f"/machines/{apart.id}/move/").content.decode()
        assert "Copied while it runs, then shut down and started there, with about" in page
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
        assert "xen1 keeps the old disks" in page
        assert "discard-source-disks" not in page
        assert "discard-source-disks" in as_(dana).get(f"/jobs/{job.id}/").content.decode()
        as_(dana).post(f"/jobs/{job.id}/discard-source-disks/")
        assert Move.objects.get().discard_asked_at is not None


class TestNumbersAtTheEnd:
    SENT = {"bytes_sent": 10 << 20, "total_mib": 11, "passes": 2, "rate_mib_s": 5.0}

    @pytest.fixture
    def over(self, apart, start_move):
        """web1 was shut down and started on xen2; xen1 then let its disks go and counted from nothing."""
        job = start_move(method="COLD")
        listens(job)
        for seconds, side, step in (
            (3, "SOURCE", "SHUTDOWN"),
            (5, "SOURCE", "GONE"),
            (15, "TARGET", "DOMAIN"),
        ):
            tell(job, side, "STEP", step=step, now=NOW + timedelta(seconds=seconds))
        end = {"go_passed": True, "closed": True, "phase": "REPORTED", "domains": ()}
        at = NOW + timedelta(seconds=20)
        tell(job, "TARGET", "SUCCEEDED", facts=end | {"booted": True}, power="RUNNING", now=at)
        tell(job, "SOURCE", "SUCCEEDED", facts=end | self.SENT, now=at)
        kept_disks.let_go_what_booted(now=at)
        side = MoveSide.objects.get(move__job=job, side="SOURCE")
        tell(
            job, "SOURCE", "SUCCEEDED", facts=end | {"total_mib": 256}, job_id=str(side.cleaning_job), now=at
        )
        assert Move.objects.get().discarded_at is not None
        return job

    def test_what_was_sent_stays_what_it_was(self, over, as_, dana):
        answer = as_(dana).get(f"/jobs/{over.id}/")
        move = answer.context["move"]
        assert (move.sent_mib, move.total_mib, move.passes) == (10, 11, 2)
        assert "10 MiB</div>" in answer.content.decode()

    def test_every_event_is_said_in_words(self, over, as_, dana):
        text = as_(dana).get(f"/jobs/{over.id}/").content.decode()
        assert ">Cleaned up</span>" in text
        assert ">Deleting old disks</span>" in text

    def test_a_cold_move_tells_how_long_the_machine_was_off(self, over, as_, dana):
        text = as_(dana).get(f"/jobs/{over.id}/").content.decode()
        assert "about 12 s" in text
        assert "Downtime" in text

    def test_the_host_of_its_creation_is_still_the_one_that_was_chosen(self, over, apart, as_, dana):
        verdicts = [{"host": name, "code": "FITS", "numbers": {}} for name in ("xen1", "xen2")]
        Machine.objects.filter(id=apart.id).update(placement=verdicts)
        text = as_(dana).get(f"/machines/{apart.id}/").content.decode()
        assert re.search(r"<dt>xen1</dt><dd>fits <span[^>]*>\(chosen\)", text)
        assert "<dt>xen2</dt><dd>fits</dd>" in text
        assert "It is on xen2 now." in text

    def test_what_was_ordered_stays_true_once_it_is_done(self, apart, as_, dana):
        path = f"/machines/{apart.id}/move/"
        text = as_(dana).post(path, {"host": "xen2", "method": "cold"}, follow=True).content.decode()
        assert "Moving web1 was ordered." in text
        assert "is being moved" not in text

"""What a machine is given at its boot is told to its host, and known of it for its moves."""

import pytest

from tests.moves import HW_CAPS, domain, listens, show, tell
from webxen.jobs import dispatch
from webxen.jobs.placing import NoRoomError
from webxen.machines.models import Machine
from webxen.migration import candidates
from worker.contract import cpuid_lines, read_features

FEWER = HW_CAPS.replace("219c07a9", "21900789")  # word 5 without ADX, RDSEED and AVX2
HIDDEN = read_features(":".join(["00000000"] * 5 + ["000c0020"] + ["00000000"] * 2))
LINE = f"cpuid = [ '{cpuid_lines(HIDDEN)[0]}' ]\n"
OVER = {"go_passed": True, "closed": True, "phase": "REPORTED", "domains": ()}


@pytest.fixture
def unlike(pair, web1):
    """xen2's processor has fewer features; web1 runs on xen1, booted before xen2 came."""
    show(pair[0], domain(web1))
    show(pair[1], facts={"hw_caps": FEWER})
    return pair


def judged(machine, now):
    (fit,) = candidates.fits(machine=machine, now=now)
    return fit


def test_one_that_ran_before_must_be_started_anew(unlike, web1, start_move, now):
    with pytest.raises(NoRoomError, match="Shut the machine down and start it"):
        start_move()
    assert judged(web1, now).reasons[0].startswith("Its processor lacks 3 features of xen1")


def test_its_host_is_told_what_to_hide_and_then_it_may_go(unlike, web1, order_machine, mailbox, now):
    job = order_machine("web2")
    mailbox.take(job.host.name)
    dispatch.send(job_id=job.id, now=now)
    (order,) = mailbox.orders(job.host.name)
    assert read_features(order.machine.cpu_hidden) == HIDDEN
    Machine.objects.filter(id=web1.id).update(config="type = 'pvh'\n" + LINE)
    web1.refresh_from_db()
    fit = judged(web1, now)
    assert (fit.fits, fit.is_one_way) == (True, False)


def test_where_all_are_alike_nothing_is_hidden(pair, order_machine, mailbox, now):
    job = order_machine("web2")
    mailbox.take(job.host.name)
    dispatch.send(job_id=job.id, now=now)
    assert mailbox.orders(job.host.name)[0].machine.cpu_hidden == ""


@pytest.mark.parametrize(("event", "is_kept"), [("SUCCEEDED", True), ("FAILED", False)])
def test_booted_elsewhere_it_has_what_was_written_there(unlike, web1, start_move, event, is_kept):
    Machine.objects.filter(id=web1.id).update(power="OFF")
    job = start_move(method="COLD")
    listens(job)
    tell(job, "TARGET", event, config="type = 'pvh'\n" + LINE, facts=OVER)
    web1.refresh_from_db()
    assert (LINE in web1.config) is is_kept

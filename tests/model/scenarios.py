"""Scenarios with one fault each that random histories rarely produce, with exact expectations.

`test_scenarios` runs them on a `History`, `test_mutants` with a bug in the product.
"""

from collections.abc import Callable

from tests.model.history import History
from tests.model.hypervisor import Fault
from webxen.jobs.models import Job
from webxen.machines.models import Machine


def _machine() -> Machine:
    return Machine.objects.select_related("host").get()


def _make_one(history: History) -> str:
    history.begin(machines=1)
    machine = _machine()
    assert machine.state == "READY"
    return str(machine.id)


def a_lost_order_is_sent_again(history: History) -> None:
    """The order is taken off the queue before its host saw it: the job still succeeds."""
    history.begin(machines=0)
    history.create(host=None, dies=False)
    for site in history.sites.values():
        site.orders.clear()
    history.come_to_rest()
    assert [job.status for job in Job.objects.all()] == ["SUCCEEDED"]


def a_begun_job_is_finished_without_the_portal(history: History) -> None:
    """The worker dies in a create, and no portal is there to ask it again: it goes on by itself."""
    history.begin(machines=0)
    for site in history.sites.values():
        site.breath.hold(after=8, action=site.die)
    history.create(host=None, dies=False)
    history.go_on()
    site = history.sites[str(_machine().host.name)]  # type: ignore[union-attr]
    assert not site.breath.is_held, "it did not die"
    assert site.xen.up() == {}
    site.is_portal_away = True
    site.look()
    assert list(site.xen.up()) == [str(_machine().id)]


def one_verb_at_a_time(history: History) -> None:
    """Two verbs for one machine: the second is refused while the first is open."""
    machine_id = _make_one(history)
    assert history.portal.act("REBOOT", machine_id) == ""
    assert history.portal.act("POWEROFF", machine_id) == "JOB_OPEN"
    assert Job.objects.filter(machine=machine_id, status__in=Job.OPEN).count() == 1


def a_failed_start_leaves_the_disk(history: History) -> None:
    """xl says no to a start: the machine is off, and all it had is there."""
    machine_id = _make_one(history)
    history.act_and_go_on(which=0, kind="POWEROFF")
    for site in history.sites.values():
        site.xen.faults["create"] = Fault("before", 1)
    history.act_and_go_on(which=0, kind="START")
    assert Job.objects.get(machine=machine_id, kind="START").status == "FAILED"
    history.let_time_pass(31)
    for site in history.sites.values():
        site.look()
    history.what_must_hold()
    history.act_and_go_on(which=0, kind="START")
    assert machine_id in history.sites[str(_machine().host.name)].xen.up()  # type: ignore[union-attr]


def what_cannot_be_read_is_not_off(history: History) -> None:
    """xl list prints garbage while a machine is to be deleted: it fails, and nothing of the machine goes."""
    machine_id = _make_one(history)
    site = history.sites[str(_machine().host.name)]  # type: ignore[union-attr]
    for how in ("cut", "empty", "before"):
        site.xen.faults["list"] = Fault(how, 50)
        history.act_and_go_on(which=0, kind="DELETE")
        assert machine_id in site.xen.up()
        assert machine_id in site.disks(), how
        site.xen.faults.clear()
        history.come_to_rest()


def what_has_no_name_is_known_by_its_uuid(history: History) -> None:
    """xl list has lost every domain's name: a machine can be deleted all the same."""
    machine_id = _make_one(history)
    site = history.sites[str(_machine().host.name)]  # type: ignore[union-attr]
    site.xen.faults["list"] = Fault("null_name", 50)
    history.act_and_go_on(which=0, kind="DELETE")
    assert _machine().state == "DELETED"
    assert machine_id not in site.xen.up()
    assert machine_id not in site.disks()


SCENES: tuple[Callable[[History], None], ...] = (
    a_lost_order_is_sent_again,
    a_begun_job_is_finished_without_the_portal,
    one_verb_at_a_time,
    a_failed_start_leaves_the_disk,
    what_cannot_be_read_is_not_off,
    what_has_no_name_is_known_by_its_uuid,
)


def play(history: History, scene: Callable[[History], None]) -> None:
    """A scenario, followed by the end of every history."""
    try:
        scene(history)
        history.what_must_hold()
    finally:
        history.teardown()

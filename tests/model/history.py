"""Histories of machines under faults: hypothesis rules, and invariants checked after each step.

I1: no machine runs twice. I2: no disk is deleted except by an accepted delete of its machine or the undoing
of its own creation. I3: reserved ≤ quota, and exactly the sum of the reservations. At the end all faults are
removed and the system settles. I4: every job has ended. I5: the database agrees with the hosts.
"""

import contextlib
import json
from typing import Any, ClassVar

from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.model.hypervisor import Fault
from tests.model.portal import Portal
from tests.model.simulated_hosts import Clock, SimulatedHosts, Site
from webxen.jobs.models import Job
from worker import contract

SITES = st.sampled_from(["xen1", "xen2"])
#: index of one of several objects, modulo their number
WHICH = st.integers(0, 7)
KINDS = ("START", "SHUTDOWN", "POWEROFF", "REBOOT", "DELETE")
FAULTS = st.sampled_from(
    [
        ("create", "before"),
        ("create", "after"),
        ("create", "lie"),
        ("create", "hang"),
        ("destroy", "before"),
        ("destroy", "after"),
        ("destroy", "lie"),
        ("shutdown", "before"),
        ("shutdown", "after"),
        ("list", "null_name"),
        ("list", "cut"),
        ("list", "empty"),
        ("list", "before"),
        ("list", "hang"),
    ]
)
ROUNDS = 40


class History(RuleBasedStateMachine):
    """One history; `tests.model.test_model` provides the database and the hosts."""

    clock: ClassVar[Clock]
    portal: ClassVar[Portal]
    #: private keys
    host_keys: ClassVar[dict[str, bytes]]
    portal_public: ClassVar[bytes]

    def __init__(self) -> None:
        super().__init__()
        self.plant = SimulatedHosts(
            host_keys=self.host_keys, portal_public=self.portal_public, clock=self.clock
        )
        self.sites = self.plant.sites
        self.portal.begin(self.sites)
        self.rows = transaction.atomic()
        self.rows.__enter__()
        self.names = 0

    @initialize(machines=st.sampled_from([2, 1, 0]))
    def begin(self, machines: int) -> None:
        """Both hosts report, and this many machines are created."""
        for site in self.sites.values():
            self.look_around(site.name)
        self.let_all_hear()
        for _ in range(machines):
            self.create(host=None, dies=False)
        self.go_on()

    # --- users -----------------------------------------------------------------------------------

    def pick(self, which: int) -> str | None:
        return self.portal.asked[which % len(self.portal.asked)] if self.portal.asked else None

    @rule(host=st.sampled_from([None, "xen1", "xen2"]), dies=st.sampled_from([False, False, False, True]))
    def create(self, host: str | None, dies: bool) -> None:
        self.names += 1
        self.portal.create(f"web{self.names}", host_name=host, dies=dies)

    @precondition(lambda self: self.portal.asked)
    @rule(which=WHICH, kind=st.sampled_from(KINDS), dies=st.sampled_from([False, False, False, True]))
    def act(self, which: int, kind: str, dies: bool) -> None:
        machine_id = self.pick(which)
        assert machine_id is not None
        self.portal.act(kind, machine_id, dies=dies)

    @precondition(lambda self: self.portal.asked)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        self.portal.cancel(str(self.pick(which)))

    @precondition(lambda self: self.portal.asked)
    @rule(which=WHICH)
    def rename(self, which: int) -> None:
        self.names += 1
        self.portal.rename(str(self.pick(which)), f"new{self.names}")

    # --- without faults --------------------------------------------------------------------------

    @rule()
    def go_on(self) -> None:
        """Deliver all messages."""
        for site in self.sites.values():
            while site.orders:
                site.obey(site.orders.pop(0))
        self.let_all_hear()

    @precondition(lambda self: self.portal.asked)
    @rule(which=WHICH, kind=st.sampled_from(KINDS))
    def act_and_go_on(self, which: int, kind: str) -> None:
        self.act(which=which, kind=kind, dies=False)
        self.go_on()

    @precondition(lambda self: self.portal.asked)
    @rule(which=WHICH, kind=st.sampled_from(KINDS), after=st.integers(1, 40))
    def act_and_be_killed(self, which: int, kind: str, after: int) -> None:
        """The worker dies while it executes a verb, and everything else continues."""
        for site in self.sites.values():
            site.breath.hold(after=after, action=site.die)
        self.act(which=which, kind=kind, dies=False)
        self.go_on()

    @precondition(lambda self: self.portal.asked)
    @rule(which=WHICH, kind=st.sampled_from(KINDS), after=st.integers(1, 40))
    def act_and_cancel_meanwhile(self, which: int, kind: str, after: int) -> None:
        """A cancel arrives while the host executes the job: another process of its worker receives it."""
        self.act(which=which, kind=kind, dies=False)
        for site in self.sites.values():
            site.breath.hold(after=after, action=lambda site=site: self._cancel_at(site, which))
        self.go_on()

    def _cancel_at(self, site: Site, which: int) -> None:
        before = len(site.orders)
        self.portal.cancel(str(self.pick(which)))
        while len(site.orders) > before:
            site.come_between(site.orders.pop())

    @rule(seconds=st.sampled_from([31, 400]))
    def clocks_do_their_work(self, seconds: int) -> None:
        self.let_time_pass(seconds=seconds)
        for site in self.sites.values():
            site.look()
            site.observe()
        self.let_all_hear()
        self.portal.sweep()

    def observe_all(self) -> None:
        for site in self.sites.values():
            site.observe()
        self.let_all_hear()

    def look_around(self, host: str) -> None:
        self.sites[host].observe()

    def let_all_hear(self) -> None:
        for site in self.sites.values():
            while site.reports:
                self.portal.hear(site.reports.pop(0))

    @rule(host=SITES)
    def reconcile(self, host: str) -> None:
        self.sites[host].look()

    @rule(seconds=st.sampled_from([0, 6, 31, 400, 700]))
    def sweep(self, seconds: int) -> None:
        self.let_time_pass(seconds)
        self.portal.sweep()

    # --- message delivery ------------------------------------------------------------------------

    @rule(host=SITES, which=WHICH, how=st.sampled_from(["deliver", "drop", "double"]))
    def handle_order(self, host: str, which: int, how: str) -> None:
        site = self.sites[host]
        if not site.orders:
            return
        envelope = site.orders.pop(which % len(site.orders))
        for _ in range({"deliver": 1, "drop": 0, "double": 2}[how]):
            site.obey(envelope)

    @precondition(lambda self: self.portal.archive)
    @rule(which=WHICH, host=st.sampled_from(["its own", "its own", "its own", "xen1", "xen2"]))
    def deliver_an_old_order(self, which: int, host: str) -> None:
        name, envelope = self.portal.archive[-1 - which % len(self.portal.archive)]
        self.sites[name if host == "its own" else host].obey(envelope)

    @rule(host=SITES, which=WHICH, how=st.sampled_from(["deliver", "drop", "double"]), many=st.booleans())
    def handle_reports(self, host: str, which: int, how: str, many: bool) -> None:
        site = self.sites[host]
        for _ in range(5 if many else 1):
            if site.reports:
                said = site.reports.pop(which % len(site.reports))
                for _ in range({"deliver": 1, "drop": 0, "double": 2}[how]):
                    self.portal.hear(said)

    @precondition(lambda self: self.portal.heard)
    @rule(which=st.integers(0, 40))
    def hear_an_old_report(self, which: int) -> None:
        self.portal.hear(self.portal.heard[-1 - which % len(self.portal.heard)])

    @rule(host=SITES, what=st.sampled_from(["flush", "cut", "join", "broker goes", "broker comes"]))
    def trouble_the_wires(self, host: str, what: str) -> None:
        site = self.sites[host]
        if what == "flush":
            site.orders.clear()
            site.reports.clear()
        elif what in ("cut", "join"):
            site.is_portal_away = what == "cut"
        elif what == "broker goes":
            self.portal.break_broker()
        else:
            self.portal.mend_broker()

    @rule(host=SITES, which=WHICH, event=st.sampled_from(["SUCCEEDED", "FAILED", "STARTED"]))
    def lie_about_a_job_of_the_other_host(self, host: str, which: int, event: Any) -> None:
        site = self.sites[host]
        theirs = [job for job in self.portal.open_jobs() if job.host and job.host.name != host]
        if theirs:
            job = theirs[which % len(theirs)]
            lie = contract.Report(
                job_id=str(job.id), machine_id=str(job.machine_id), event=event, sequence=10**6, power="OFF"
            )
            self.portal.hear(site.seal(lie))
            job.refresh_from_db()
            assert job.status in Job.OPEN, "a lie of another host was believed"

    # --- workers, hosts, guests, administrators --------------------------------------------------

    @rule(host=SITES, after=st.integers(1, 60))
    def kill_the_worker_soon(self, host: str, after: int) -> None:
        site = self.sites[host]
        site.breath.hold(after=after, action=site.die)

    @rule(host=SITES, after=st.integers(1, 40), which=WHICH)
    def let_an_order_come_between_soon(self, host: str, after: int, which: int) -> None:
        site = self.sites[host]
        theirs = [envelope for name, envelope in self.portal.archive if name == host]
        if theirs:
            envelope = theirs[-1 - which % len(theirs)]
            site.breath.hold(after=after, action=lambda: site.come_between(envelope))

    @rule(host=SITES, fault=FAULTS, times=st.integers(1, 4))
    def let_xl_fail(self, host: str, fault: tuple[str, str], times: int) -> None:
        verb, how = fault
        self.sites[host].xen.faults[verb] = Fault(how, times)

    @precondition(lambda self: self.portal.asked)
    @rule(which=WHICH, what=st.sampled_from(["poweroff", "reboot", "destroy", "deaf"]))
    def let_guest_or_admin_act(self, which: int, what: str) -> None:
        uuid = str(self.pick(which))
        for site in self.sites.values():
            if what == "poweroff":
                site.xen.guest_powers_off(uuid)
            elif what == "reboot":
                site.xen.guest_reboots(uuid)
            elif what == "destroy":
                site.xen.destroyed_by_hand(uuid)
            else:
                site.xen.is_deaf.add(uuid)

    @rule(host=SITES)
    def cut_the_power(self, host: str) -> None:
        self.sites[host].power_cut()

    def let_time_pass(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        for site in self.sites.values():
            site.xen.tick()

    @rule(host=SITES, ahead=st.sampled_from([-86400, -7200, 0, 1800]))
    def set_a_hosts_clock_wrong(self, host: str, ahead: int) -> None:
        self.sites[host].clock_ahead = ahead

    # --- invariants ------------------------------------------------------------------------------

    @invariant()
    def what_must_hold(self) -> None:
        self.no_machine_runs_twice()
        self.no_disk_goes_unasked()
        self.the_ledger_adds_up()

    def no_machine_runs_twice(self) -> None:
        assert not self.plant.ran_twice()
        for site in self.sites.values():
            assert not site.wrongs

    def no_disk_goes_unasked(self) -> None:
        for site in self.sites.values():
            found = site.disks()
            for machine_id, inode in site.built.items():
                if found.get(machine_id) != inode:
                    assert machine_id not in found, "a finished disk was made anew"
                    assert self.portal.has_asked_to_delete(machine_id), "a disk went that nobody deleted"

    def the_ledger_adds_up(self) -> None:
        if not self.portal.is_touched:
            return
        limits, reserved, held = self.portal.ledger()
        assert reserved == held
        assert all(reserved[name] <= limits[name] for name in limits)
        self.portal.is_touched = False
        for promised, needed in self.portal.memory().values():
            assert promised == needed

    # --- the end ---------------------------------------------------------------------------------

    def heal(self) -> None:
        self.portal.mend_broker()
        for site in self.sites.values():
            site.breath.let_go()
            site.xen.faults.clear()
            site.xen.is_deaf.clear()
            site.is_portal_away = False
            site.clock_ahead = 0

    def come_to_rest(self) -> None:
        """Run the periodic tasks of portal and hosts until nothing is in progress."""
        for _ in range(ROUNDS):
            for site in self.sites.values():
                site.look()
                site.observe()
            self.let_all_hear()
            self.portal.sweep()
            self.go_on()
            if not self.portal.open_jobs():
                break
            self.let_time_pass(31)
        for job in self.portal.open_jobs():
            raise AssertionError(f"a job never ends: {job} {job.status} sent {job.sent_at} {job.waiting_for}")
        # once more, after the settling time of power, so that the last observation is applied
        self.let_time_pass(6)
        for site in self.sites.values():
            site.look()
            site.observe()
        self.let_all_hear()

    def database_is_what_hosts_have(self) -> None:
        for machine in self.portal.machines():
            site = self.sites.get(machine.host.name) if machine.host else None
            for other in self.sites.values():
                if other is not site:
                    assert other.leftovers(str(machine.id)) == []
                    assert str(machine.id) not in other.xen.up()
            if site is not None:
                self._is_true(machine, site)

    @staticmethod
    def _is_true(machine: Any, site: Site) -> None:
        uuid = str(machine.id)
        is_up = uuid in site.xen.up()
        if machine.state == "READY":
            assert uuid in site.disks(), "READY without a disk"
            assert machine.power == ("RUNNING" if is_up else "OFF")
            return
        assert machine.state in ("FAILED", "DELETED"), machine.state
        left = [name for name in site.leftovers(uuid) if not name.startswith("journal/")]
        needs_staff = machine.jobs.filter(error_code="NO_ANSWER").exists()
        if machine.state == "FAILED" and (needs_staff or machine.jobs.filter(kind="DELETE").exists()):
            return  # what it left is shown, and held; deleting it is tried below
        assert not is_up, f"{machine.state} and runs"
        assert left == [], f"{machine.state} and left things behind"

    def teardown(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.plant.close)
            stack.callback(self.rows.__exit__, None, None, None)
            stack.callback(transaction.set_rollback, True)
            self.heal()
            self.come_to_rest()
            self.database_is_what_hosts_have()
            self._everything_can_be_deleted()

    def _everything_can_be_deleted(self) -> None:
        """After all faults are removed, every machine can be deleted, without SQL by hand."""
        for machine in self.portal.machines():
            if machine.state != "DELETED":
                assert self.portal.act("DELETE", str(machine.id)) == "", f"{machine.state} cannot be deleted"
        self.come_to_rest()
        self.no_machine_runs_twice()
        self.the_ledger_adds_up()
        _, reserved, _ = self.portal.ledger()
        assert not any(reserved.values()), "deleted machines hold quota"
        for machine in self.portal.machines():
            assert machine.state == "DELETED", (machine.state, machine.state_reason)
            for site in self.sites.values():
                assert str(machine.id) not in site.xen.up(), "deleted and runs"
                left = [name for name in site.leftovers(str(machine.id)) if not name.startswith("journal/")]
                assert left == [], "deleted and left things behind"


def describe(envelope: str) -> str:
    """Describe an envelope, for the output of a failing history."""
    message = json.loads(json.loads(envelope)["signed"])["message"]
    return f"{message['kind']} {message.get('event', '')} {message.get('step', '')}".strip()

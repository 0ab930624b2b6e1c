"""Files in the worker's folders that the worker did not write: nothing is done because of them."""

import base64
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.worker.console_bench import wait_for
from tests.worker.test_killed import obey_and_die
from tests.worker.worker_host import HASH, WorkerHost, changed
from worker import contract
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import CancelJob, MachineSpec, Order, PortalKeys, Report
from worker.identity import keys, portal_keys
from worker.job.context import HostContext


def forge(worker_host: WorkerHost, order: Order, envelope: str = "", **values: Any) -> Path:
    """A journal entry as somebody would write it who can write the folder and read no key."""
    path = worker_host.settings.journal_dir / f"{order.job_id}.json"
    entry = {
        "job_id": order.job_id,
        "machine_id": order.machine.id,
        "order": contract.encode(order),
        "envelope": envelope,
        "portal_keys": "",
        "state": "RUNNING",
        "attempts": 0,
        "boot_id": "",
        "marks": {},
        "end": None,
    }
    path.write_text(json.dumps({**entry, **values}))
    return path


def look(dom0: HostContext) -> None:
    """One look over the journal, to its end."""
    reconciler = Reconciler(dom0)
    reconciler.look()
    reconciler._workers.shutdown(wait=True)
    assert dom0.reporter.flush(timeout_seconds=5)


def made(worker_host: WorkerHost) -> MachineSpec:
    machine = worker_host.machine()
    assert worker_host.do(worker_host.dom0(), "create", machine).event == "SUCCEEDED"
    return machine


def is_untouched(worker_host: WorkerHost, machine: MachineSpec) -> bool:
    return worker_host.domains() == [machine.id] and worker_host.disk(machine).exists()


def told_of(worker_host: WorkerHost, order: Order) -> list[Report]:
    return [report for report in worker_host.reports if report.job_id == order.job_id]


def set_fence(worker_host: WorkerHost, machine: MachineSpec, fence: int) -> None:
    worker_host.settings.fence_file(machine.id).write_text(str(fence))


class TestAnEntryThatThisHostDidNotWrite:
    def test_deletes_nothing_without_an_envelope(self, worker_host: WorkerHost) -> None:
        machine = made(worker_host)
        order = worker_host.order("delete", machine, fence=10**9)
        forge(worker_host, order)
        set_fence(worker_host, machine, 10**9)
        look(worker_host.dom0())
        assert is_untouched(worker_host, machine)
        assert told_of(worker_host, order) == []

    def test_deletes_nothing_with_an_envelope_of_a_strangers_key(self, worker_host: WorkerHost) -> None:
        machine = made(worker_host)
        order = worker_host.order("delete", machine)
        stranger, public = keys.generate()
        forge(worker_host, order, worker_host.envelope(order, key=stranger), portal_keys=public.decode())
        set_fence(worker_host, machine, order.fence)
        look(worker_host.dom0())
        assert is_untouched(worker_host, machine)

    def test_deletes_nothing_with_an_old_envelope_of_the_portals(self, worker_host: WorkerHost) -> None:
        machine = made(worker_host)
        old = worker_host.order("delete", machine)
        assert worker_host.do(worker_host.dom0(), "reboot", machine).event == "SUCCEEDED"
        forge(worker_host, old, worker_host.envelope(old))
        look(worker_host.dom0())
        set_fence(worker_host, machine, old.fence)
        look(worker_host.dom0())
        assert is_untouched(worker_host, machine)

    @pytest.mark.parametrize("state", ["RUNNING", "CLEANING"])
    def test_undoes_no_job_that_has_ended(self, worker_host: WorkerHost, state: str) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        order = worker_host.order("create", machine)
        envelope = worker_host.envelope(order)
        assert worker_host.obey(dom0, order).event == "SUCCEEDED"
        marks = {"files": "made", "disk:root": "made", "domain": "made"}
        forge(
            worker_host,
            order,
            envelope,
            state=state,
            marks=marks,
            end=dataclasses.asdict(worker_host.reports[-1]),
        )
        dom0.journal.ask_cancel(order.job_id)
        look(worker_host.dom0())
        assert is_untouched(worker_host, machine)

    def test_changed_by_one_mark_is_believed_no_more(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        order = worker_host.order("create", machine)
        obey_and_die(worker_host, order, "DOMAIN")
        path = worker_host.settings.journal_dir / f"{order.job_id}.json"
        entry = json.loads(path.read_text())
        path.write_text(json.dumps({**entry, "state": "CLEANING"}))
        look(worker_host.dom0())
        assert is_untouched(worker_host, machine)

    def test_is_not_told_as_an_end(self, worker_host: WorkerHost) -> None:
        machine = made(worker_host)
        order = worker_host.order("delete", machine)
        end = contract.encode(Report(order.job_id, machine.id, "SUCCEEDED"))
        forge(worker_host, order, worker_host.envelope(order), state="ENDED", end=end)
        look(worker_host.dom0())
        assert told_of(worker_host, order) == []

    def test_tells_no_other_jobs_end_when_it_is_asked_for(self, worker_host: WorkerHost) -> None:
        machine = made(worker_host)
        order, other = worker_host.order("reboot", machine), worker_host.order("delete", machine)
        end = contract.encode(Report(other.job_id, machine.id, "SUCCEEDED"))
        forge(worker_host, order, worker_host.envelope(order), state="ENDED", end=end)
        dom0 = worker_host.dom0()
        executor.obey(dom0, worker_host.envelope(order), now=int(time.time()))
        assert dom0.reporter.flush(timeout_seconds=5)
        assert told_of(worker_host, order) == told_of(worker_host, other) == []

    def test_makes_no_file_outside_of_the_folders(self, worker_host: WorkerHost) -> None:
        order = worker_host.order("delete", worker_host.machine())
        forge(worker_host, order, worker_host.envelope(order), machine_id="../../outside")
        look(worker_host.dom0())
        assert not list(worker_host.directory.rglob("outside"))

    def test_of_any_size_is_set_aside(self, worker_host: WorkerHost) -> None:
        order = worker_host.order("delete", worker_host.machine())
        path = forge(worker_host, order)
        with path.open("ab") as out:
            out.truncate(64 << 20)
        assert worker_host.dom0().journal.entries() == []
        assert path.with_suffix(".bad").exists()

    def test_of_an_older_worker_is_carried_on_with_when_the_portal_asks_again(
        self, worker_host: WorkerHost
    ) -> None:
        machine = worker_host.machine()
        order = worker_host.order("create", machine)
        obey_and_die(worker_host, order, "DOMAIN")
        path = worker_host.settings.journal_dir / f"{order.job_id}.json"
        known = json.loads(path.read_text())
        for name in ("envelope", "portal_keys", "hmac"):
            del known[name]
        path.write_text(json.dumps({**known, "order": contract.encode(order)}))
        look(worker_host.dom0())
        assert [report for report in worker_host.reports if report.event != "STEP"] == []
        assert worker_host.obey(worker_host.dom0(), order).event == "SUCCEEDED"
        assert len(worker_host.stand_in.runs()) == 1

    def test_brings_no_disks_into_an_order_that_does_not_name_them(self, worker_host: WorkerHost) -> None:
        """A mark of the entry and a disk that lies there: the order speaks of another one."""
        dom0, machine = worker_host.dom0(), worker_host.machine()
        order = worker_host.order("create", changed(machine, memory_mib=10**7))
        disk = worker_host.disk(machine, "data")
        disk.parent.mkdir()
        disk.write_bytes(b"kept")
        forge(worker_host, order, marks={"disk:data": "made", "disk:../other/root": "made"})
        worker_host.obey(dom0, order)
        assert disk.read_bytes() == b"kept"


class TestAnOrderThatWasAccepted:
    def test_is_kept_as_it_was_signed(self, worker_host: WorkerHost) -> None:
        order = worker_host.order("create", worker_host.machine())
        obey_and_die(worker_host, order, "DISK")
        entry = worker_host.dom0().journal.read(order.job_id)
        assert entry is not None
        opened = contract.open_envelope(
            entry.envelope, host=worker_host.name, verify=worker_host.dom0().verify, now=0
        )
        assert opened.message == order

    def test_is_carried_on_with_after_its_envelope_has_expired(self, worker_host: WorkerHost) -> None:
        order = worker_host.order("create", worker_host.machine())
        envelope = worker_host.directory / "envelope"
        envelope.write_text(worker_host.envelope(order, not_after=int(time.time()) + 3))
        obey_and_die(worker_host, order, "DOMAIN", envelope=envelope)
        time.sleep(3.1)
        look(worker_host.dom0())
        assert worker_host.end_of(order.job_id).event == "SUCCEEDED"

    def test_is_carried_on_with_when_the_portal_has_another_key_by_now(self, worker_host: WorkerHost) -> None:
        order = worker_host.order("create", worker_host.machine())
        obey_and_die(worker_host, order, "DOMAIN")
        _, public = keys.generate()
        portal_keys.write(worker_host.settings.portal_key_file, PortalKeys((public.decode(),), 1))
        look(worker_host.dom0())
        assert worker_host.end_of(order.job_id).event == "SUCCEEDED"

    def test_waits_for_the_portal_when_this_host_has_another_key_by_now(
        self, worker_host: WorkerHost
    ) -> None:
        order = worker_host.order("create", worker_host.machine())
        obey_and_die(worker_host, order, "DOMAIN")
        worker_host.settings.host_key_file.write_bytes(keys.generate()[0])
        look(worker_host.dom0())
        assert worker_host.domains() == [order.machine.id]
        assert worker_host.obey(worker_host.dom0(), order).event == "SUCCEEDED"
        assert len(worker_host.stand_in.runs()) == 1

    def test_leaves_no_password_behind_when_it_has_ended(self, worker_host: WorkerHost) -> None:
        order = worker_host.order("create", worker_host.machine())
        assert worker_host.obey(worker_host.dom0(), order).event == "SUCCEEDED"
        texts = [path.read_bytes() for path in worker_host.settings.journal_dir.iterdir()]
        assert not any(HASH.encode() in text or b"ssh-ed25519" in text for text in texts)

    def test_and_one_whose_fence_was_set_back_are_not_carried_on_with(self, worker_host: WorkerHost) -> None:
        """The number is written before the entry: a smaller one was put there by somebody else."""
        machine = made(worker_host)
        order = worker_host.order("poweroff", machine)
        obey_and_die(worker_host, order, "ACCEPT")
        set_fence(worker_host, machine, 1)
        look(worker_host.dom0())
        assert worker_host.domains() == [machine.id]


class TestAMachinesOwnFile:
    def test_names_no_disk_of_another_machine(self, worker_host: WorkerHost) -> None:
        machine, other = made(worker_host), worker_host.machine()
        assert worker_host.do(worker_host.dom0(), "create", other).event == "SUCCEEDED"
        facts = worker_host.settings.machine_facts(machine.id)
        values = json.loads(facts.read_text())
        facts.write_text(json.dumps({**values, "disks": [["local", f"../{other.id}/root"]]}))
        assert worker_host.do(worker_host.dom0(), "delete", machine).event == "SUCCEEDED"
        assert not worker_host.disk(machine).exists()
        assert worker_host.disk(other).exists()

    def test_of_another_job_keeps_the_machine_from_being_undone(self, worker_host: WorkerHost) -> None:
        machine = made(worker_host)
        order = worker_host.order("create", machine)
        forge(worker_host, order, marks={"files": "made", "disk:root": "made", "domain": "made"})
        dom0 = worker_host.dom0()
        dom0.journal.ask_cancel(order.job_id)
        assert worker_host.obey(dom0, order).event == "CANCELLED"
        assert is_untouched(worker_host, machine)


class TestALink:
    """Root writes and reads in these folders; a link in them must not choose what."""

    @pytest.fixture
    def outside(self, worker_host: WorkerHost) -> Path:
        path = worker_host.directory / "outside"
        path.write_text("secret\n")
        return path

    def test_where_an_entry_is_about_to_be_written_is_not_followed(
        self, worker_host: WorkerHost, outside: Path
    ) -> None:
        order = worker_host.order("create", worker_host.machine())
        (worker_host.settings.journal_dir / f".{order.job_id}.json.new").symlink_to(outside)
        assert worker_host.obey(worker_host.dom0(), order).error_code == "JOURNAL_UNWRITABLE"
        assert outside.read_text() == "secret\n"

    def test_where_a_lock_is_taken_is_not_followed(self, worker_host: WorkerHost, outside: Path) -> None:
        target = worker_host.directory / "made-by-a-link"
        machine = worker_host.machine()
        worker_host.settings.lock_file(machine.id).symlink_to(target)
        assert worker_host.do(worker_host.dom0(), "create", machine).error_code == "JOURNAL_UNWRITABLE"
        assert not target.exists()

    def test_where_a_configuration_is_written_is_not_followed(
        self, worker_host: WorkerHost, outside: Path
    ) -> None:
        machine = made(worker_host)
        worker_host.do(worker_host.dom0(), "poweroff", machine)
        path = worker_host.settings.machine_config(machine.id)
        path.unlink()
        path.symlink_to(outside)
        assert worker_host.do(worker_host.dom0(), "start", machine).event == "FAILED"
        assert outside.read_text() == "secret\n"

    def test_where_a_console_log_lies_is_told_to_nobody(self, worker_host: WorkerHost, outside: Path) -> None:
        machine = made(worker_host)
        worker_host.do(worker_host.dom0(), "poweroff", machine)
        log = worker_host.settings.console_log(machine.id)
        log.unlink()
        log.symlink_to(outside)
        worker_host.stand_in.lay_out(guest={"crash_after": 0})
        end = worker_host.do(worker_host.dom0(), "start", machine, deadline_seconds=15)
        assert "secret" not in end.console_tail


class TestAFence:
    @pytest.mark.parametrize("content", ["", "garbage", "-5", "7" * 100, "\x00\x00"])
    def test_that_cannot_be_read_refuses_the_order_and_says_what_to_do(
        self, worker_host: WorkerHost, content: str
    ) -> None:
        machine = made(worker_host)
        worker_host.settings.fence_file(machine.id).write_text(content)
        end = worker_host.do(worker_host.dom0(), "delete", machine)
        assert (end.event, end.error_code) == ("FAILED", "FENCE_UNREADABLE")
        assert str(worker_host.settings.fence_file(machine.id)) in end.error_message
        assert is_untouched(worker_host, machine)

    def test_that_was_repaired_lets_orders_through_again(self, worker_host: WorkerHost) -> None:
        machine = made(worker_host)
        worker_host.settings.fence_file(machine.id).write_text("")
        assert worker_host.do(worker_host.dom0(), "delete", machine).event == "FAILED"
        worker_host.settings.fence_file(machine.id).unlink()
        assert worker_host.do(worker_host.dom0(), "delete", machine).event == "SUCCEEDED"

    def test_that_is_damaged_while_a_job_is_open_ends_in_a_report(self, worker_host: WorkerHost) -> None:
        machine = made(worker_host)
        order = worker_host.order("reboot", machine)
        obey_and_die(worker_host, order, "ACCEPT")
        worker_host.settings.fence_file(machine.id).write_text("")
        dom0 = worker_host.dom0()
        look(dom0)
        worker_host.settings.fence_file(machine.id).write_text(str(order.fence))
        look(dom0)
        end = worker_host.end_of(order.job_id)
        assert end.error_code == "TOO_MANY_ATTEMPTS"
        assert str(worker_host.settings.fence_file(machine.id)) in end.error_message


class TestAnOrderOfANewerPortal:
    def seal(self, worker_host: WorkerHost, **changes: Any) -> tuple[Order, str]:
        """An order as a portal would sign it that knows more than this worker."""
        order = worker_host.order("start", worker_host.machine())
        message = {**contract.encode(order), **changes}
        inner = json.dumps(
            {
                "v": 1,
                "host": worker_host.name,
                "nonce": "0" * 32,
                "not_after": int(time.time()) + 600,
                "message": message,
            }
        )
        signature = base64.b64encode(keys.signer(worker_host.portal_private)(inner.encode())).decode()
        return order, json.dumps({"signed": inner, "signature": signature})

    @pytest.mark.parametrize("changes", [{"kind": "SNAPSHOT"}, {"deadline_seconds": "long"}, {"fence": None}])
    def test_is_answered(self, worker_host: WorkerHost, changes: dict[str, Any]) -> None:
        order, envelope = self.seal(worker_host, **changes)
        executor.obey(worker_host.dom0(), envelope, now=int(time.time()))
        end = worker_host.end_of(order.job_id)
        assert (end.event, end.error_code, end.machine_id) == ("FAILED", "WORKER_TOO_OLD", order.machine.id)
        assert "too old" in end.error_message

    def test_is_not_answered_when_the_signature_is_a_strangers(self, worker_host: WorkerHost) -> None:
        _, envelope = self.seal(worker_host, kind="SNAPSHOT")
        dom0 = worker_host.dom0()
        executor.obey(dom0, envelope.replace("SNAPSHOT", "SNAPSHOX"), now=int(time.time()))
        assert dom0.reporter.flush(timeout_seconds=5)
        assert worker_host.reports == []

    def test_is_not_answered_when_it_names_no_job(self, worker_host: WorkerHost) -> None:
        _, envelope = self.seal(worker_host, kind="SNAPSHOT", job_id="../x")
        dom0 = worker_host.dom0()
        executor.obey(dom0, envelope, now=int(time.time()))
        assert dom0.reporter.flush(timeout_seconds=5)
        assert worker_host.reports == []


def test_a_cancel_of_a_forged_job_undoes_nothing(worker_host: WorkerHost) -> None:
    dom0, machine = worker_host.dom0(), worker_host.machine()
    order = worker_host.order("create", machine)
    assert worker_host.obey(dom0, order).event == "SUCCEEDED"
    forge(
        worker_host,
        order,
        worker_host.envelope(order),
        marks={"files": "made", "disk:root": "made", "domain": "made"},
    )
    cancel = CancelJob(job_id=order.job_id, fence=order.fence, machine=machine)
    executor.obey(worker_host.dom0(), worker_host.envelope(cancel), now=int(time.time()))
    assert is_untouched(worker_host, machine)
    wait_for(lambda: worker_host.domains() == [machine.id], "the machine")

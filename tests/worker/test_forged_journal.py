"""Files in the worker's folders that the worker did not write: nothing is done because of them."""

import base64
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.worker.bed import HASH, Bed, changed
from tests.worker.console_bench import wait_for
from tests.worker.test_killed import obey_and_die
from worker import contract
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import CancelJob, MachineSpec, Order, PortalKeys, Report
from worker.identity import keys, portal_keys
from worker.job.context import Dom0


def forge(bed: Bed, order: Order, envelope: str = "", **values: Any) -> Path:
    """A journal entry as somebody would write it who can write the folder and read no key."""
    path = bed.settings.journal_dir / f"{order.job_id}.json"
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


def look(dom0: Dom0) -> None:
    """One look over the journal, to its end."""
    reconciler = Reconciler(dom0)
    reconciler.look()
    reconciler._workers.shutdown(wait=True)
    assert dom0.reporter.flush(timeout_seconds=5)


def made(bed: Bed) -> MachineSpec:
    machine = bed.machine()
    assert bed.do(bed.dom0(), "create", machine).event == "SUCCEEDED"
    return machine


def is_untouched(bed: Bed, machine: MachineSpec) -> bool:
    return bed.domains() == [machine.id] and bed.disk(machine).exists()


def told_of(bed: Bed, order: Order) -> list[Report]:
    return [report for report in bed.reports if report.job_id == order.job_id]


def set_fence(bed: Bed, machine: MachineSpec, fence: int) -> None:
    bed.settings.fence_file(machine.id).write_text(str(fence))


class TestAnEntryThatThisHostDidNotWrite:
    def test_deletes_nothing_without_an_envelope(self, bed: Bed) -> None:
        machine = made(bed)
        order = bed.order("delete", machine, fence=10**9)
        forge(bed, order)
        set_fence(bed, machine, 10**9)
        look(bed.dom0())
        assert is_untouched(bed, machine)
        assert told_of(bed, order) == []

    def test_deletes_nothing_with_an_envelope_of_a_strangers_key(self, bed: Bed) -> None:
        machine = made(bed)
        order = bed.order("delete", machine)
        stranger, public = keys.generate()
        forge(bed, order, bed.envelope(order, key=stranger), portal_keys=public.decode())
        set_fence(bed, machine, order.fence)
        look(bed.dom0())
        assert is_untouched(bed, machine)

    def test_deletes_nothing_with_an_old_envelope_of_the_portals(self, bed: Bed) -> None:
        machine = made(bed)
        old = bed.order("delete", machine)
        assert bed.do(bed.dom0(), "reboot", machine).event == "SUCCEEDED"
        forge(bed, old, bed.envelope(old))
        look(bed.dom0())
        set_fence(bed, machine, old.fence)
        look(bed.dom0())
        assert is_untouched(bed, machine)

    @pytest.mark.parametrize("state", ["RUNNING", "CLEANING"])
    def test_undoes_no_job_that_has_ended(self, bed: Bed, state: str) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        order = bed.order("create", machine)
        envelope = bed.envelope(order)
        assert bed.obey(dom0, order).event == "SUCCEEDED"
        marks = {"files": "made", "disk:root": "made", "domain": "made"}
        forge(bed, order, envelope, state=state, marks=marks, end=dataclasses.asdict(bed.reports[-1]))
        dom0.journal.ask_cancel(order.job_id)
        look(bed.dom0())
        assert is_untouched(bed, machine)

    def test_changed_by_one_mark_is_believed_no_more(self, bed: Bed) -> None:
        machine = bed.machine()
        order = bed.order("create", machine)
        obey_and_die(bed, order, "DOMAIN")
        path = bed.settings.journal_dir / f"{order.job_id}.json"
        entry = json.loads(path.read_text())
        path.write_text(json.dumps({**entry, "state": "CLEANING"}))
        look(bed.dom0())
        assert is_untouched(bed, machine)

    def test_is_not_told_as_an_end(self, bed: Bed) -> None:
        machine = made(bed)
        order = bed.order("delete", machine)
        end = contract.encode(Report(order.job_id, machine.id, "SUCCEEDED"))
        forge(bed, order, bed.envelope(order), state="ENDED", end=end)
        look(bed.dom0())
        assert told_of(bed, order) == []

    def test_tells_no_other_jobs_end_when_it_is_asked_for(self, bed: Bed) -> None:
        machine = made(bed)
        order, other = bed.order("reboot", machine), bed.order("delete", machine)
        end = contract.encode(Report(other.job_id, machine.id, "SUCCEEDED"))
        forge(bed, order, bed.envelope(order), state="ENDED", end=end)
        dom0 = bed.dom0()
        executor.obey(dom0, bed.envelope(order), now=int(time.time()))
        assert dom0.reporter.flush(timeout_seconds=5)
        assert told_of(bed, order) == told_of(bed, other) == []

    def test_makes_no_file_outside_of_the_folders(self, bed: Bed) -> None:
        order = bed.order("delete", bed.machine())
        forge(bed, order, bed.envelope(order), machine_id="../../outside")
        look(bed.dom0())
        assert not list(bed.directory.rglob("outside"))

    def test_of_any_size_is_set_aside(self, bed: Bed) -> None:
        order = bed.order("delete", bed.machine())
        path = forge(bed, order)
        with path.open("ab") as out:
            out.truncate(64 << 20)
        assert bed.dom0().journal.entries() == []
        assert path.with_suffix(".bad").exists()

    def test_of_an_older_worker_is_carried_on_with_when_the_portal_asks_again(self, bed: Bed) -> None:
        machine = bed.machine()
        order = bed.order("create", machine)
        obey_and_die(bed, order, "DOMAIN")
        path = bed.settings.journal_dir / f"{order.job_id}.json"
        known = json.loads(path.read_text())
        for name in ("envelope", "portal_keys", "hmac"):
            del known[name]
        path.write_text(json.dumps({**known, "order": contract.encode(order)}))
        look(bed.dom0())
        assert [report for report in bed.reports if report.event != "STEP"] == []
        assert bed.obey(bed.dom0(), order).event == "SUCCEEDED"
        assert len(bed.stand_in.runs()) == 1

    def test_brings_no_disks_into_an_order_that_does_not_name_them(self, bed: Bed) -> None:
        """A mark of the entry and a disk that lies there: the order speaks of another one."""
        dom0, machine = bed.dom0(), bed.machine()
        order = bed.order("create", changed(machine, memory_mib=10**7))
        disk = bed.disk(machine, "data")
        disk.parent.mkdir()
        disk.write_bytes(b"kept")
        forge(bed, order, marks={"disk:data": "made", "disk:../other/root": "made"})
        bed.obey(dom0, order)
        assert disk.read_bytes() == b"kept"


class TestAnOrderThatWasAccepted:
    def test_is_kept_as_it_was_signed(self, bed: Bed) -> None:
        order = bed.order("create", bed.machine())
        obey_and_die(bed, order, "DISK")
        entry = bed.dom0().journal.read(order.job_id)
        assert entry is not None
        opened = contract.open_envelope(entry.envelope, host=bed.name, verify=bed.dom0().verify, now=0)
        assert opened.message == order

    def test_is_carried_on_with_after_its_envelope_has_expired(self, bed: Bed) -> None:
        order = bed.order("create", bed.machine())
        envelope = bed.directory / "envelope"
        envelope.write_text(bed.envelope(order, not_after=int(time.time()) + 3))
        obey_and_die(bed, order, "DOMAIN", envelope=envelope)
        time.sleep(3.1)
        look(bed.dom0())
        assert bed.end_of(order.job_id).event == "SUCCEEDED"

    def test_is_carried_on_with_when_the_portal_has_another_key_by_now(self, bed: Bed) -> None:
        order = bed.order("create", bed.machine())
        obey_and_die(bed, order, "DOMAIN")
        _, public = keys.generate()
        portal_keys.write(bed.settings.portal_key_file, PortalKeys((public.decode(),), 1))
        look(bed.dom0())
        assert bed.end_of(order.job_id).event == "SUCCEEDED"

    def test_waits_for_the_portal_when_this_host_has_another_key_by_now(self, bed: Bed) -> None:
        order = bed.order("create", bed.machine())
        obey_and_die(bed, order, "DOMAIN")
        bed.settings.host_key_file.write_bytes(keys.generate()[0])
        look(bed.dom0())
        assert bed.domains() == [order.machine.id]
        assert bed.obey(bed.dom0(), order).event == "SUCCEEDED"
        assert len(bed.stand_in.runs()) == 1

    def test_leaves_no_password_behind_when_it_has_ended(self, bed: Bed) -> None:
        order = bed.order("create", bed.machine())
        assert bed.obey(bed.dom0(), order).event == "SUCCEEDED"
        texts = [path.read_bytes() for path in bed.settings.journal_dir.iterdir()]
        assert not any(HASH.encode() in text or b"ssh-ed25519" in text for text in texts)

    def test_and_one_whose_fence_was_set_back_are_not_carried_on_with(self, bed: Bed) -> None:
        """The number is written before the entry: a smaller one was put there by somebody else."""
        machine = made(bed)
        order = bed.order("poweroff", machine)
        obey_and_die(bed, order, "ACCEPT")
        set_fence(bed, machine, 1)
        look(bed.dom0())
        assert bed.domains() == [machine.id]


class TestAMachinesOwnFile:
    def test_names_no_disk_of_another_machine(self, bed: Bed) -> None:
        machine, other = made(bed), bed.machine()
        assert bed.do(bed.dom0(), "create", other).event == "SUCCEEDED"
        facts = bed.settings.machine_facts(machine.id)
        values = json.loads(facts.read_text())
        facts.write_text(json.dumps({**values, "disks": [["local", f"../{other.id}/root"]]}))
        assert bed.do(bed.dom0(), "delete", machine).event == "SUCCEEDED"
        assert not bed.disk(machine).exists()
        assert bed.disk(other).exists()

    def test_of_another_job_keeps_the_machine_from_being_undone(self, bed: Bed) -> None:
        machine = made(bed)
        order = bed.order("create", machine)
        forge(bed, order, marks={"files": "made", "disk:root": "made", "domain": "made"})
        dom0 = bed.dom0()
        dom0.journal.ask_cancel(order.job_id)
        assert bed.obey(dom0, order).event == "CANCELLED"
        assert is_untouched(bed, machine)


class TestALink:
    """Root writes and reads in these folders; a link in them must not choose what."""

    @pytest.fixture
    def outside(self, bed: Bed) -> Path:
        path = bed.directory / "outside"
        path.write_text("secret\n")
        return path

    def test_where_an_entry_is_about_to_be_written_is_not_followed(self, bed: Bed, outside: Path) -> None:
        order = bed.order("create", bed.machine())
        (bed.settings.journal_dir / f".{order.job_id}.json.new").symlink_to(outside)
        assert bed.obey(bed.dom0(), order).error_code == "JOURNAL_UNWRITABLE"
        assert outside.read_text() == "secret\n"

    def test_where_a_lock_is_taken_is_not_followed(self, bed: Bed, outside: Path) -> None:
        target = bed.directory / "made-by-a-link"
        machine = bed.machine()
        bed.settings.lock_file(machine.id).symlink_to(target)
        assert bed.do(bed.dom0(), "create", machine).error_code == "JOURNAL_UNWRITABLE"
        assert not target.exists()

    def test_where_a_configuration_is_written_is_not_followed(self, bed: Bed, outside: Path) -> None:
        machine = made(bed)
        bed.do(bed.dom0(), "poweroff", machine)
        path = bed.settings.machine_config(machine.id)
        path.unlink()
        path.symlink_to(outside)
        assert bed.do(bed.dom0(), "start", machine).event == "FAILED"
        assert outside.read_text() == "secret\n"

    def test_where_a_console_log_lies_is_told_to_nobody(self, bed: Bed, outside: Path) -> None:
        machine = made(bed)
        bed.do(bed.dom0(), "poweroff", machine)
        log = bed.settings.console_log(machine.id)
        log.unlink()
        log.symlink_to(outside)
        bed.stand_in.lay_out(guest={"crash_after": 0})
        end = bed.do(bed.dom0(), "start", machine, deadline_seconds=15)
        assert "secret" not in end.console_tail


class TestAFence:
    @pytest.mark.parametrize("content", ["", "garbage", "-5", "7" * 100, "\x00\x00"])
    def test_that_cannot_be_read_refuses_the_order_and_says_what_to_do(self, bed: Bed, content: str) -> None:
        machine = made(bed)
        bed.settings.fence_file(machine.id).write_text(content)
        end = bed.do(bed.dom0(), "delete", machine)
        assert (end.event, end.error_code) == ("FAILED", "FENCE_UNREADABLE")
        assert str(bed.settings.fence_file(machine.id)) in end.error_message
        assert is_untouched(bed, machine)

    def test_that_was_repaired_lets_orders_through_again(self, bed: Bed) -> None:
        machine = made(bed)
        bed.settings.fence_file(machine.id).write_text("")
        assert bed.do(bed.dom0(), "delete", machine).event == "FAILED"
        bed.settings.fence_file(machine.id).unlink()
        assert bed.do(bed.dom0(), "delete", machine).event == "SUCCEEDED"

    def test_that_is_damaged_while_a_job_is_open_ends_in_a_report(self, bed: Bed) -> None:
        machine = made(bed)
        order = bed.order("reboot", machine)
        obey_and_die(bed, order, "ACCEPT")
        bed.settings.fence_file(machine.id).write_text("")
        dom0 = bed.dom0()
        look(dom0)
        bed.settings.fence_file(machine.id).write_text(str(order.fence))
        look(dom0)
        end = bed.end_of(order.job_id)
        assert end.error_code == "TOO_MANY_ATTEMPTS"
        assert str(bed.settings.fence_file(machine.id)) in end.error_message


class TestAnOrderOfANewerPortal:
    def seal(self, bed: Bed, **changes: Any) -> tuple[Order, str]:
        """An order as a portal would sign it that knows more than this worker."""
        order = bed.order("start", bed.machine())
        message = {**contract.encode(order), **changes}
        inner = json.dumps(
            {
                "v": 1,
                "host": bed.name,
                "nonce": "0" * 32,
                "not_after": int(time.time()) + 600,
                "message": message,
            }
        )
        signature = base64.b64encode(keys.signer(bed.portal_private)(inner.encode())).decode()
        return order, json.dumps({"signed": inner, "signature": signature})

    @pytest.mark.parametrize("changes", [{"kind": "SNAPSHOT"}, {"deadline_seconds": "long"}, {"fence": None}])
    def test_is_answered(self, bed: Bed, changes: dict[str, Any]) -> None:
        order, envelope = self.seal(bed, **changes)
        executor.obey(bed.dom0(), envelope, now=int(time.time()))
        end = bed.end_of(order.job_id)
        assert (end.event, end.error_code, end.machine_id) == ("FAILED", "WORKER_TOO_OLD", order.machine.id)
        assert "too old" in end.error_message

    def test_is_not_answered_when_the_signature_is_a_strangers(self, bed: Bed) -> None:
        _, envelope = self.seal(bed, kind="SNAPSHOT")
        dom0 = bed.dom0()
        executor.obey(dom0, envelope.replace("SNAPSHOT", "SNAPSHOX"), now=int(time.time()))
        assert dom0.reporter.flush(timeout_seconds=5)
        assert bed.reports == []

    def test_is_not_answered_when_it_names_no_job(self, bed: Bed) -> None:
        _, envelope = self.seal(bed, kind="SNAPSHOT", job_id="../x")
        dom0 = bed.dom0()
        executor.obey(dom0, envelope, now=int(time.time()))
        assert dom0.reporter.flush(timeout_seconds=5)
        assert bed.reports == []


def test_a_cancel_of_a_forged_job_undoes_nothing(bed: Bed) -> None:
    dom0, machine = bed.dom0(), bed.machine()
    order = bed.order("create", machine)
    assert bed.obey(dom0, order).event == "SUCCEEDED"
    forge(bed, order, bed.envelope(order), marks={"files": "made", "disk:root": "made", "domain": "made"})
    cancel = CancelJob(job_id=order.job_id, fence=order.fence, machine=machine)
    executor.obey(bed.dom0(), bed.envelope(cancel), now=int(time.time()))
    assert is_untouched(bed, machine)
    wait_for(lambda: bed.domains() == [machine.id], "the machine")

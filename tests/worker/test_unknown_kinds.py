"""An order that this worker is too old for is answered at once, and one in the journal stops no other."""

import base64
import json
import time

import pytest

from tests.worker.console_bench import wait_for
from tests.worker.test_forged_journal import look
from tests.worker.test_killed import obey_and_die
from tests.worker.worker_host import WorkerHost
from worker.agent import executor
from worker.contract import Order
from worker.identity import keys
from worker.job.journal import Entry


def newer(worker_host: WorkerHost, order: Order) -> str:
    """The envelope of an order as a newer portal signs it."""
    inner = json.loads(json.loads(worker_host.envelope(order))["signed"])
    inner["message"] |= {"kind": "SNAPSHOT", "with_memory": True}
    text = json.dumps(inner)
    signature = base64.b64encode(keys.signer(worker_host.portal_private)(text.encode())).decode()
    return json.dumps({"signed": text, "signature": signature})


def test_a_verb_of_the_table_without_a_function_here_is_answered(
    worker_host: WorkerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = worker_host.machine()
    monkeypatch.delitem(executor.ACTS, "REBOOT")
    end = worker_host.do(worker_host.dom0(), "reboot", machine)
    assert (end.event, end.error_code) == ("FAILED", "WORKER_TOO_OLD")
    assert end.error_message == (
        "The worker on the host is too old for this job (it cannot carry out REBOOT). Nothing was done;"
        " ask an administrator to upgrade it."
    )
    assert worker_host.files_of(machine) == []


def test_an_entry_of_the_journal_stops_no_other(worker_host: WorkerHost) -> None:
    """A newer worker began it and was replaced by this one: it waits, and is answered when it comes again."""
    dom0, order, other = (
        worker_host.dom0(),
        worker_host.order("start", worker_host.machine()),
        worker_host.order("create", worker_host.machine()),
    )
    envelope = newer(worker_host, order)
    dom0.journal.write(Entry(order.job_id, order.machine.id, envelope=envelope, is_ours=True))
    obey_and_die(worker_host, other, "DISK")
    look(dom0)
    assert worker_host.end_of(other.job_id).event == "SUCCEEDED"
    assert [report for report in worker_host.reports if report.job_id == order.job_id] == []
    executor.obey(dom0, envelope, now=int(time.time()))
    end = wait_for(
        lambda: next((report for report in worker_host.reports if report.job_id == order.job_id), None),
        "the answer",
    )
    assert (end.event, end.error_code) == ("FAILED", "WORKER_TOO_OLD")
    entry = dom0.journal.read(order.job_id)
    assert entry is not None
    assert entry.state == "RUNNING"

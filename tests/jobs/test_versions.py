"""A host and a portal that speak different versions of the protocol: told to staff, and no job is lost."""

import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.fixtures import NOW
from tests.jobs.whole_site import register_image, running_site
from webxen.core import clock
from webxen.inbox import tasks
from webxen.inventory.models import Host
from webxen.jobs import operations
from webxen.machines.models import Machine
from worker import contract
from worker.agent import executor

OBSERVATION = contract.Observation(host="xen1", facts={"host": "xen1"}, pools=(), bridges=(), domains=())


def seal(message, key, *, version=contract.PROTOCOL_VERSION, lasts=60, host="xen1"):
    """As a worker or portal of this version would."""

    def sign(inner):
        said.append(json.dumps({**json.loads(inner), "v": version}))
        return key.sign(said[0].encode())

    said = []
    not_after = int(clock.now().timestamp()) + lasts
    sealed = json.loads(contract.seal(message, host=host, sign=sign, not_after=not_after))
    return json.dumps({"signed": said[0], "signature": sealed["signature"]})


class TestHostOfAnotherVersion:
    @pytest.mark.parametrize("version", [0, 2, 7])
    def test_is_not_believed(self, xen1, xen1_key, version, caplog):
        before = xen1.facts
        tasks.receive_observation(seal(OBSERVATION, xen1_key, version=version))
        xen1.refresh_from_db()
        assert (xen1.facts, xen1.other_protocol) == (before, version)
        assert f"xen1: protocol version {version} is not 1" in caplog.text

    @pytest.mark.parametrize(("untrusted", "kept"), [(None, 0), ("2", 0), (-1, 0), (10**9, 32767)])
    def test_may_call_its_version_anything(self, xen1, xen1_key, untrusted, kept):
        tasks.receive_observation(seal(OBSERVATION, xen1_key, version=untrusted))
        xen1.refresh_from_db()
        assert xen1.other_protocol == kept

    def test_is_told_to_staff_until_it_is_understood_again(self, xen1, xen1_key, client, dana):
        client.force_login(dana)
        sentence = "xen1 uses protocol version 2, the portal version 1: they cannot communicate"
        tasks.receive_report(
            seal(contract.Report("j", "m", "STARTED", 1), xen1_key, version=2)
        )  # whatever it says
        for page in ("/hosts/", "/hosts/xen1/"):
            assert sentence in client.get(page).content.decode()
        tasks.receive_observation(seal(OBSERVATION, xen1_key))
        for page in ("/hosts/", "/hosts/xen1/"):
            assert "of the protocol" not in client.get(page).content.decode()

    @pytest.mark.parametrize("changed", [{"lasts": -1}, {"host": "xen2"}])
    def test_is_not_said_of_it_by_an_old_or_foreign_word(self, xen1, xen1_key, changed):
        tasks.receive_observation(seal(OBSERVATION, xen1_key, version=2, **changed))
        assert not Host.objects.filter(other_protocol__isnull=False).exists()


class TestJob:
    @pytest.fixture
    def site(self, db, tmp_path, mailbox, xen1_key):
        with running_site(tmp_path, mailbox, xen1_key) as site:
            yield site

    def test_a_job_is_done_once_and_ends_when_both_speak_the_same(
        self, site, lab, alice, lan, xen1_key, caplog
    ):
        job = operations.create_machine(
            project=lab,
            owner=alice,
            name="web1",
            image=register_image(site.worker_host),
            network=lan,
            vcpus=1,
            memory_mib=128,
            disk_gib=1,
            seed={"ssh_keys": [], "password_hash": "", "user_data": ""},
            host_name="xen1",
            requested_by=alice,
            now=NOW,
        )
        site.send(job)
        (order,) = site.mailbox.orders("xen1")
        # the worker is of another version than the portal: it touches nothing
        portal_key = load_pem_private_key(site.worker_host.portal_private, None)
        executor.obey(site.dom0, seal(order, portal_key, version=2), now=int(clock.now().timestamp()))
        assert "dropped an order: xen1: protocol version 2 is not 1" in caplog.text
        assert not list(site.worker_host.settings.journal_dir.glob("*.json"))
        # it obeys, and what it reports is not understood
        site.send(job)
        site.worker_host.obey(site.dom0, site.mailbox.orders("xen1")[0])
        assert site.dom0.reporter.flush(timeout_seconds=10)
        for report in site.worker_host.reports:
            tasks.receive_report(seal(report, xen1_key, version=2))
        site.worker_host.reports.clear()
        job.refresh_from_db()
        assert (job.status, Host.objects.get().other_protocol) == ("QUEUED", 2)
        # both speak the same again: the host is heard, the sweep rings, and the journal knows the end
        later = NOW + timedelta(minutes=1)
        site.look(now=later)
        operations.sweep(now=later)
        assert site.carry_out(job, now=later).status == "SUCCEEDED"
        assert len(site.worker_host.stand_in.runs()) == 1
        assert Machine.objects.get().power == "RUNNING"

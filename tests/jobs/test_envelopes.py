"""The portal's doors for hosts: only what a known host signed gets in, and a bad envelope moves nothing."""

import dataclasses
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import call_command

from tests.fixtures import PASSWORD, public_pem
from webxen.core import clock, portal_key
from webxen.inbox import tasks
from webxen.machines.models import Machine
from worker import contract


@pytest.fixture
def seal(xen1_key):
    """Seal a message as xen1's worker would."""

    def run(message, key=None, host="xen1", not_after=None):
        until = int(clock.now().timestamp()) + 60 if not_after is None else not_after
        return contract.seal(message, host=host, sign=(key or xen1_key).sign, not_after=until)

    return run


def said(job, event="SUCCEEDED"):
    return contract.Report(job_id=str(job.id), machine_id=str(job.machine_id), event=event, sequence=1)


OBSERVATION = contract.Observation(host="xen1", facts={"host": "changed"}, pools=(), bridges=(), domains=())


class TestReceiveReport:
    def test_takes_a_signed_one(self, order_machine, seal):
        job = order_machine()
        tasks.receive_report(seal(said(job)))
        job.refresh_from_db()
        assert job.status == "SUCCEEDED"

    def test_twice_is_harmless(self, order_machine, seal):
        envelope = seal(said(order_machine()))
        tasks.receive_report(envelope)
        tasks.receive_report(envelope)
        assert Machine.objects.get().moves.count() == 2

    @pytest.mark.parametrize(
        "changed",
        [{"key": Ed25519PrivateKey.generate()}, {"host": "xen2"}, {"not_after": int(time.time()) - 1}],
    )
    def test_drops_what_is_forged_foreign_or_stale(self, order_machine, seal, changed, caplog):
        job = order_machine()
        tasks.receive_report(seal(said(job), **changed))
        job.refresh_from_db()
        assert job.status == "QUEUED"
        assert "envelope dropped" in caplog.text

    @pytest.mark.parametrize("untrusted", [None, "", "x", "{}", "[]", "null", 7, {"a": 1}, "[" * 100_000])
    def test_drops_what_is_no_envelope(self, xen1, untrusted, caplog):
        tasks.receive_report(untrusted)
        tasks.receive_observation(untrusted)
        assert caplog.text.count("envelope dropped") == 2

    def test_a_changed_word_breaks_the_signature(self, order_machine, seal):
        job = order_machine()
        tasks.receive_report(seal(said(job, "FAILED")).replace("FAILED", "SUCCEEDED"))
        job.refresh_from_db()
        assert job.status == "QUEUED"

    def test_an_observation_at_the_wrong_door_is_dropped(self, xen1, order_machine, seal, caplog):
        tasks.receive_report(seal(OBSERVATION))
        tasks.receive_observation(seal(said(order_machine())))
        assert "holds no report" in caplog.text
        assert "holds no observation" in caplog.text


class TestReceiveObservation:
    def test_takes_a_signed_one(self, xen1, seal):
        tasks.receive_observation(seal(OBSERVATION))
        xen1.refresh_from_db()
        assert xen1.facts == {"host": "changed"}

    def counted(self, serial, facts):
        return dataclasses.replace(OBSERVATION, serial=serial, facts={"host": facts})

    def test_drops_one_that_was_heard_already_or_is_older(self, xen1, seal, caplog):
        first, second = (seal(self.counted(serial, f"no. {serial}")) for serial in (7, 8))
        tasks.receive_observation(first)
        tasks.receive_observation(second)
        assert "dropped" not in caplog.text
        for replayed in (first, second, seal(OBSERVATION), seal(self.counted(-1, "below"))):
            tasks.receive_observation(replayed)
            xen1.refresh_from_db()
            assert xen1.facts == {"host": "no. 8"}
        assert caplog.text.count("xen1: observation") == 4
        # numbers may be left out
        tasks.receive_observation(seal(self.counted(1000, "later")))
        xen1.refresh_from_db()
        assert xen1.facts == {"host": "later"}

    def test_drops_a_number_the_database_cannot_hold(self, xen1, seal, caplog):
        tasks.receive_observation(seal(self.counted(2**63, "much later")))
        xen1.refresh_from_db()
        assert "dropped" in caplog.text
        assert xen1.observation_serial == 0

    def test_drops_that_of_an_unknown_host(self, db, seal, caplog):
        tasks.receive_observation(seal(OBSERVATION))
        assert "envelope dropped" in caplog.text


class TestKeys:
    def test_portal_key_is_made_once_and_only_its_owner_reads_it(self, settings, tmp_path, capsys):
        path = tmp_path / "deep" / "portal.key"
        settings.WEBXEN_PORTAL_KEY_FILE = path
        call_command("portal_key", public_out=tmp_path / "portal.pub")
        call_command("portal_key")
        assert path.stat().st_mode & 0o777 == 0o600
        public = (tmp_path / "portal.pub").read_text()
        assert public.startswith("-----BEGIN PUBLIC KEY-----")
        assert capsys.readouterr().out == public * 2

    def test_a_missing_key_is_named(self, tmp_path):
        with pytest.raises(portal_key.KeyUnusable, match="portal_key"):
            portal_key.signer(tmp_path / "none.key")

    def test_a_key_of_another_kind_is_named(self, tmp_path):
        path = tmp_path / "x.key"
        path.write_text("nonsense")
        with pytest.raises(portal_key.KeyUnusable, match=r"x\.key"):
            portal_key.signer(path)

    def test_a_broken_public_key_signs_nothing(self):
        assert not portal_key.is_signed_by("nonsense", b"x", b"y")
        key = Ed25519PrivateKey.generate()
        assert portal_key.is_signed_by(public_pem(key), b"x", key.sign(b"x"))
        assert not portal_key.is_signed_by(public_pem(key), PASSWORD.encode(), key.sign(b"x"))

"""A host comes in: a token, a key it holds, and staff's yes. Its key and the broker's password change."""

import threading
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from tests.fixtures import observe, public_pem
from webxen.core.errors import InvalidError, NotFoundError
from webxen.core.models import AuditEntry
from webxen.enrolment import broker_accounts, joining, trust
from webxen.enrolment import removal as machine_hosts
from webxen.inventory import operations, queries
from webxen.inventory.models import Host, JoinToken
from webxen.jobs import dispatch, observing
from webxen.jobs import operations as jobs
from webxen.jobs.models import Job
from worker import contract
from worker.contract import membership

NO_KEY = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"


@pytest.fixture(autouse=True)
def broker_address(settings):
    settings.WEBXEN_BROKER_PUBLIC_URL = "rediss://broker.example.org:6380/0"


@pytest.fixture
def key():
    return Ed25519PrivateKey.generate()


def token_for(dana, now, name="xen7", *, is_rejoin=False):
    return joining.make_token(staff=dana, name=name, is_rejoin=is_rejoin, now=now)[1]


def join_with(secret, key, now, *, shown=None, signed_by=None):
    shown = shown or public_pem(key)
    proof = (signed_by or key).sign(membership.words_to_join(token=secret, public_key=shown))
    return joining.join(untrusted_token=secret, untrusted_key=shown, untrusted_proof=proof, now=now)


@pytest.fixture
def xen7(dana, key, now):
    """Joined, and waiting for staff's word."""
    return join_with(token_for(dana, now), key, now).host


def accepted(dana, host, now):
    fingerprint = queries.fingerprint_of(host=host)
    return joining.accept(staff=dana, host_id=host.id, fingerprint=fingerprint, now=now)


class TestToken:
    def test_is_kept_as_a_hash_only(self, dana, now):
        secret = token_for(dana, now)
        (kept,) = JoinToken.objects.values_list("secret_hash", flat=True)
        assert secret not in kept
        assert kept == membership.password_hash(secret)

    def test_is_for_staff_to_make(self, alice, charlie, now):
        for person in (alice, charlie):
            with pytest.raises(NotFoundError):
                token_for(person, now)

    @pytest.mark.parametrize(
        "name", ["", ".", "a..b", "a.", ".a", "a*", "-a", "a-.b", "a b", "x" * 64, "a\nb", "a_b", "ä"]
    )
    def test_refuses_a_name_that_could_mean_more_in_a_key_pattern(self, name, dana, now):
        with pytest.raises(InvalidError):
            token_for(dana, now, name)
        with pytest.raises(ValueError, match="Letters, digits"):
            membership.account_rules(name)

    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            ("XEN1", "xen1"),
            (" xen1.Example.org ", "xen1.example.org"),
            ("x" * 63, "x" * 63),
            ("10.0.0.1", "10.0.0.1"),
        ],
    )
    def test_keeps_a_name_of_the_dns_in_lower_case(self, typed, kept, dana, now):
        assert token_for(dana, now, typed)
        assert JoinToken.objects.get().name == kept
        assert membership.account_rules(kept)

    def test_for_a_host_that_is_there_must_be_said_to_be_one(self, dana, xen1, now):
        with pytest.raises(joining.HostKnownError):
            token_for(dana, now, "xen1")
        assert token_for(dana, now, "xen1", is_rejoin=True)


class TestJoin:
    def test_leaves_the_host_waiting(self, xen7, key):
        assert xen7.state == Host.State.NEW
        assert xen7.public_key == public_pem(key)
        assert AuditEntry.objects.get(action="JOIN_HOST").detail == queries.fingerprint_of(host=xen7)

    def test_gives_an_account_of_its_own_whose_password_is_not_kept(self, dana, key, now):
        joined = join_with(token_for(dana, now), key, now)
        url = joined.broker_url
        assert url.startswith("rediss://dom0.xen7:")
        assert url.endswith("@broker.example.org:6380/0")
        password = url.split(":")[2].split("@")[0]
        (kept,) = joined.host.broker_passwords
        assert kept == {"sha256": membership.password_hash(password), "until": None}

    def test_refuses_all_that_is_wrong_in_the_same_words(self, dana, key, xen1, now):
        used, old = token_for(dana, now), token_for(dana, now, "xen8")
        join_with(used, key, now)
        late = now + timedelta(hours=1)
        taken = token_for(dana, now, "xen9")
        operations.accept_host(name="xen9", public_key=public_pem(key), now=now)
        stranger = Ed25519PrivateKey.generate()
        fresh = token_for(dana, now, "xen10")
        answers = []
        for attempt in (
            lambda: join_with(used, key, now),
            lambda: join_with(old, key, late),
            lambda: join_with("wxj_nonsense", key, now),
            lambda: join_with("", key, now),
            lambda: join_with(taken, key, now),
            lambda: join_with(fresh, key, now, signed_by=stranger),
            lambda: join_with(fresh, key, now, shown=public_pem(stranger)),
        ):
            with pytest.raises(joining.JoinRefusedError) as refused:
                attempt()
            answers.append((refused.value.status, refused.value.code, str(refused.value)))
        assert set(answers) == {(403, "JOIN_REFUSED", answers[0][2])}
        # a wrong signature does not use a token up
        assert join_with(fresh, key, now).host.name == "xen10"

    @pytest.mark.parametrize(
        "shown", ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
    )
    def test_refuses_what_is_no_key(self, shown, dana, now):
        with pytest.raises(InvalidError):
            joining.join(
                untrusted_token=token_for(dana, now), untrusted_key=shown, untrusted_proof=b"x", now=now
            )

    def test_says_so_when_nobody_told_where_the_broker_is(self, dana, key, now, settings):
        settings.WEBXEN_BROKER_PUBLIC_URL = ""
        secret = token_for(dana, now)
        with pytest.raises(broker_accounts.NoBrokerAddressError, match="WEBXEN_BROKER_PUBLIC_URL"):
            join_with(secret, key, now)
        settings.WEBXEN_BROKER_PUBLIC_URL = "redis://127.0.0.1:6379"
        assert join_with(secret, key, now).broker_url.endswith("@127.0.0.1:6379/0")

    def test_again_replaces_the_key_and_asks_staff_again(self, dana, xen1, key, now):
        joined = join_with(token_for(dana, now, "xen1", is_rejoin=True), key, now)
        assert joined.host.id == xen1.id
        assert joined.host.state == Host.State.NEW
        assert joining.believed_keys(name="xen1", now=now) == [public_pem(key)]

    @pytest.mark.django_db(transaction=True)
    def test_lets_one_of_many_in_who_hold_the_same_token(self, dana, now):
        secret, outcomes = token_for(dana, now), []

        def attempt():
            try:
                join_with(secret, Ed25519PrivateKey.generate(), now)
                outcomes.append("in")
            except joining.JoinRefusedError:
                outcomes.append("refused")
            finally:
                connection.close()

        threads = [threading.Thread(target=attempt) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["in"] + ["refused"] * 4


class TestWaitingHost:
    def test_is_chosen_for_nothing(self, xen7, xen1, now, order_machine):
        observe(xen7)
        assert [host.name for host in queries.figures(now=now) if host.is_active] == ["xen1"]
        Host.objects.filter(id=xen1.id).update(state=Host.State.DRAINING)
        job = order_machine("web1")
        assert job.host is None
        assert "xen7: does not accept new machines" in job.waiting_for

    def test_gets_no_order_even_for_a_machine_it_has(self, dana, web1, xen1, key, now, mailbox):
        mailbox.take("xen1")
        join_with(token_for(dana, now, "xen1", is_rejoin=True), key, now)
        job = jobs.act(action="poweroff", user=dana, machine_id=web1.id, now=now)
        assert dispatch.send(job_id=job.id, now=now) == dispatch.Outcome.HELD
        assert mailbox.take("xen1") == []
        assert "no administrator has accepted" in Job.objects.get(id=job.id).waiting_for
        accepted(dana, Host.objects.get(name="xen1"), now)
        assert dispatch.send(job_id=job.id, now=now) == dispatch.Outcome.SENT
        assert len(mailbox.take("xen1")) == 1

    def test_is_shown_and_not_believed(self, xen7, now):
        observe(xen7, free_memory="999999")
        assert xen7.facts["host"] == "xen7"
        assert (xen7.memory_mib, xen7.pools.count(), xen7.domains) == (0, 0, [])

    def test_ends_no_job(self, web1, xen1, dana, key, now):
        job = jobs.act(action="poweroff", user=dana, machine_id=web1.id, now=now)
        join_with(token_for(dana, now, "xen1", is_rejoin=True), key, now)
        report = contract.Report(
            job_id=str(job.id), machine_id=str(web1.id), event="SUCCEEDED", sequence=9, power="OFF"
        )
        assert not jobs.apply_report(host=Host.objects.get(name="xen1"), report=report, now=now)
        assert Job.objects.get(id=job.id).status == Job.Status.QUEUED

    def test_becomes_active_in_no_other_way(self, xen7, dana, now):
        for verb in (operations.activate_host, operations.drain_host):
            with pytest.raises(NotFoundError):
                verb(staff=dana, host_id=xen7.id, now=now)


class TestStaff:
    def test_accepts_the_key_whose_fingerprint_was_read(self, xen7, dana, now):
        assert accepted(dana, xen7, now).state == Host.State.ACTIVE
        observe(xen7)
        assert [host.name for host in queries.figures(now=now) if host.is_active] == ["xen7"]
        with pytest.raises(joining.HostStateError):
            accepted(dana, xen7, now)

    def test_does_not_accept_a_key_that_came_meanwhile(self, xen7, dana, now):
        read = queries.fingerprint_of(host=xen7)
        join_with(token_for(dana, now, "xen7", is_rejoin=True), Ed25519PrivateKey.generate(), now)
        with pytest.raises(joining.HostStateError, match="different key"):
            joining.accept(staff=dana, host_id=xen7.id, fingerprint=read, now=now)

    def test_alone_decides(self, xen7, alice, charlie, now):
        for person in (alice, charlie):
            with pytest.raises(NotFoundError):
                accepted(person, xen7, now)
            with pytest.raises(NotFoundError):
                joining.reject(staff=person, host_id=xen7.id, now=now)
            with pytest.raises(NotFoundError):
                machine_hosts.remove_host(staff=person, host_id=xen7.id, now=now)

    def test_turns_one_away(self, xen7, dana, now):
        joining.reject(staff=dana, host_id=xen7.id, now=now)
        assert joining.believed_keys(name="xen7", now=now) == []
        assert not queries.hosts_visible_to(user=dana).exists()
        # and may let it try again
        assert token_for(dana, now)

    def test_takes_out_a_host_without_machines_only(self, web1, xen1, dana, now):
        with pytest.raises(machine_hosts.HostInUseError, match="1 machine is"):
            machine_hosts.remove_host(staff=dana, host_id=xen1.id, now=now)
        web1.state = "DELETED"
        web1.save()
        machine_hosts.remove_host(staff=dana, host_id=xen1.id, now=now)
        assert not queries.hosts_visible_to(user=dana).exists()
        assert queries.figures(now=now) == []


class TestHostKey:
    @pytest.fixture
    def next_key(self):
        return Ed25519PrivateKey.generate()

    def rotate(self, now, signed_by, next_key, *, proof_by=None, at=None):
        at = int(now.timestamp()) if at is None else at
        words = membership.words_to_rotate(host="xen7", public_key=public_pem(next_key), at=at)
        return joining.rotate_key(
            name="xen7",
            untrusted_key=public_pem(next_key),
            at=at,
            untrusted_signature=signed_by.sign(words),
            untrusted_proof=(proof_by or next_key).sign(words),
            now=now,
        )

    def is_believed(self, key, now):
        return trust.is_from_host(name="xen7", signed=b"news", signature=key.sign(b"news"), now=now)

    def test_both_count_until_the_next_one_was_used(self, xen7, key, next_key, now):
        self.rotate(now, key, next_key)
        assert self.is_believed(key, now)
        assert self.is_believed(next_key, now)
        assert Host.objects.get(name="xen7").public_key == public_pem(next_key)
        # what was sealed a moment ago may still be on its way, and does not turn it round
        assert self.is_believed(key, now)
        assert Host.objects.get(name="xen7").public_key == public_pem(next_key)
        assert not self.is_believed(key, now + timedelta(seconds=61))
        assert self.is_believed(next_key, now + timedelta(days=9))

    def test_one_that_is_never_used_is_forgotten(self, xen7, key, next_key, now):
        self.rotate(now, key, next_key)
        assert not self.is_believed(next_key, now + timedelta(hours=24))
        assert self.is_believed(key, now + timedelta(hours=24))

    def test_heard_twice_is_heard_once(self, xen7, key, next_key, now):
        self.rotate(now, key, next_key)
        assert self.is_believed(next_key, now)
        self.rotate(now, next_key, next_key)
        assert self.is_believed(next_key, now)

    def test_is_refused_to_who_does_not_hold_both(self, xen7, key, next_key, now):
        stranger = Ed25519PrivateKey.generate()
        for attempt in (
            lambda: self.rotate(now, stranger, next_key),
            lambda: self.rotate(now, key, next_key, proof_by=stranger),
            lambda: self.rotate(now, key, next_key, at=int(now.timestamp()) - 301),
            lambda: self.rotate(now, key, next_key, at=int(now.timestamp()) + 301),
        ):
            with pytest.raises(joining.JoinRefusedError):
                attempt()
        assert Host.objects.get(name="xen7").other_key == ""

    def test_of_a_host_taken_out_changes_no_more(self, xen7, key, next_key, dana, now):
        joining.reject(staff=dana, host_id=xen7.id, now=now)
        with pytest.raises(joining.JoinRefusedError):
            self.rotate(now, key, next_key)


class TestPassword:
    def refresh(self, key, now, *, wants_password=True):
        at = int(now.timestamp())
        words = membership.words_to_refresh(host="xen7", at=at, wants_password=wants_password)
        return joining.refresh(
            name="xen7", at=at, wants_password=wants_password, untrusted_signature=key.sign(words), now=now
        )

    def test_old_and_new_count_for_a_day(self, xen7, key, now):
        (first,) = xen7.broker_passwords
        _, url = self.refresh(key, now)
        old, new = Host.objects.get(name="xen7").broker_passwords
        assert old["sha256"] == first["sha256"]
        assert membership.password_hash(url.split(":")[2].split("@")[0]) == new["sha256"]
        broker_accounts.ensure_all(now=now + timedelta(hours=24))
        assert Host.objects.get(name="xen7").broker_passwords == [new]

    def test_is_not_changed_by_asking_for_keys(self, xen7, key, now):
        assert self.refresh(key, now, wants_password=False)[1] == ""
        assert Host.objects.get(name="xen7").broker_passwords == xen7.broker_passwords

    def test_is_given_to_the_hosts_key_alone(self, xen7, now):
        with pytest.raises(joining.JoinRefusedError):
            self.refresh(Ed25519PrivateKey.generate(), now)


class TestFirstWords:
    def test_are_heard_once_and_counted_anew_with_a_new_key(self, dana, xen7, now):
        def say(serial, version):
            seen = contract.Observation("xen7", {}, (), (), (), serial=serial, worker_version=version)
            host = Host.objects.get(name="xen7")
            observing.apply_observation(host=host, observation=seen, now=now)
            return Host.objects.get(name="xen7").worker_version

        assert say(5, "one") == "one"
        assert say(5, "two") == "one"
        join_with(token_for(dana, now, "xen7", is_rejoin=True), Ed25519PrivateKey.generate(), now)
        assert say(1, "three") == "three"

    def test_of_another_host_are_dropped(self, xen7, xen1, now):
        seen = contract.Observation(host="xen1", facts={"host": "lies"}, pools=(), bridges=(), domains=())
        observing.apply_observation(host=xen7, observation=seen, now=now)
        assert Host.objects.get(name="xen1").facts["host"] == "xen1"

"""From asking to a yes or a no."""

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.fixtures import observe
from webxen.accounts import tokens
from webxen.accounts.models import ApiToken, User
from webxen.approvals import operations, policy, queries, requested_spec
from webxen.approvals.models import MachineRequest
from webxen.approvals.policy import Verdict
from webxen.core.errors import ForbiddenError, InvalidError, NotFoundError
from webxen.core.models import AuditEntry
from webxen.inventory.models import Image
from webxen.jobs.models import Job
from webxen.jobs.placing import NoRoomError
from webxen.machines import operations as machines
from webxen.machines.models import Machine
from webxen.machines.naming import NameTakenError
from webxen.quotas import queries as quotas
from webxen.quotas.models import Quota
from webxen.quotas.operations import QuotaExceededError
from webxen.quotas.shortage import Figures, Headroom

ROOM = Headroom(limit=Figures(2, 4, 1024, 10), reserved=Figures(0, 0, 0, 0))
OWN = {"vcpus": 1, "memory_mib": 192, "disk_gib": 1}


@pytest.fixture
def ask(alice, lab, xen1, minimal, small, lan, now):
    """alice asks for a machine; with own figures it needs dana."""

    def run(user=alice, **wanted):
        untrusted = {"name": "web1", "image": "minimal", **(wanted or {"size": "small"})}
        return operations.submit(
            user=user, wish=requested_spec.parse(untrusted=untrusted, user=user), now=now
        )

    return run


class TestWishThatMayNotWait:
    def test_is_refused_beyond_quota_before_anything_is_locked_or_written(
        self, ask, lab, django_assert_max_num_queries
    ):
        """A crowd at a full quota must not queue for SQLite's one writer."""
        Quota.objects.update(machines_limit=1, machines_reserved=1)
        # project, image, network, size, is the name free; then the quota. A transaction would be one more
        with django_assert_max_num_queries(6), pytest.raises(QuotaExceededError):
            ask(size="small", if_over_quota="refuse")
        assert not MachineRequest.objects.exists()


class TestManyRequests:
    @pytest.fixture(autouse=True)
    def three_at_most(self, settings):
        settings.WEBXEN_PENDING_REQUESTS = 3

    def test_of_one_person_may_wait_up_to_a_limit(self, ask, alice, bob, now):
        first, *_rest = [ask(name=f"web{n}", **OWN) for n in range(3)]
        with pytest.raises(operations.TooManyPendingError, match="3 of your requests are pending"):
            ask(name="web4", **OWN)
        assert MachineRequest.objects.count() == 3
        assert ask(user=bob, name="web5", **OWN).status == "PENDING"
        operations.withdraw(user=alice, request_id=first.id, now=now)
        assert ask(name="web4", **OWN).status == "PENDING"

    def test_do_not_stop_one_that_needs_no_staff(self, ask):
        for n in range(3):
            ask(name=f"web{n}", **OWN)
        assert ask(name="small", size="small").status == "APPROVED"


class TestPolicy:
    @pytest.mark.parametrize(
        ("figures", "is_listed_size", "room", "verdict", "why"),
        [
            (Figures(1, 1, 256, 1), True, ROOM, Verdict.AUTO, ""),
            (Figures(1, 1, 256, 1), False, ROOM, Verdict.MANUAL, policy.OWN_FIGURES),
            (
                Figures(1, 1, 3072, 1),
                True,
                ROOM,
                Verdict.MANUAL,
                "2 GiB of memory over quota: 0 MiB of 1 GiB used",
            ),
            (
                Figures(1, 1, 1, 1),
                True,
                Headroom(Figures(0, 9, 9, 9), Figures(0, 0, 0, 0)),
                Verdict.REFUSE,
                "This project has no quota. Ask an administrator to set one.",
            ),
        ],
    )
    def test_decides(self, figures, is_listed_size, room, verdict, why):
        decision = policy.decide(figures=figures, is_listed_size=is_listed_size, headroom=room)
        assert (decision.verdict, decision.why) == (verdict, why)


class TestSubmit:
    def test_a_listed_size_in_quota_is_approved_at_once(self, ask, alice):
        request = ask()
        assert (request.status, request.decided_by, request.why_pending) == ("APPROVED", None, "")
        assert request.job.status == "QUEUED"
        assert request.machine.owner == alice
        assert [line.action for line in AuditEntry.objects.filter(actor=alice).order_by("id")] == [
            "REQUEST_MACHINE",
            "CREATE_MACHINE",
        ]

    def test_own_figures_wait_for_staff(self, ask, dana):
        request = ask(**OWN)
        assert (request.status, request.why_pending) == ("PENDING", policy.OWN_FIGURES)
        assert not Machine.objects.exists()
        assert list(queries.waiting(user=dana)) == [request]

    def test_over_quota_waits_with_the_exact_shortage(self, ask, make_machine):
        Quota.objects.update(memory_mib_limit=256)
        make_machine("other")
        request = ask()
        assert request.status == "PENDING"
        assert request.why_pending == "256 MiB of memory over quota: 256 MiB of 256 MiB used"

    def test_without_room_it_is_approved_and_waits(self, ask, xen1):
        observe(xen1, free_memory="100")
        request = ask()
        assert (request.status, request.job.status, request.machine.state) == (
            "APPROVED",
            "PENDING",
            "PENDING",
        )
        assert "xen1: 36 MiB of memory free, 256 MiB needed" in request.machine.state_reason

    def test_without_an_address_it_waits_for_staff(self, ask, lan):
        lan.last = lan.first
        lan.save()
        ask()
        request = ask(name="web2", size="small")
        assert (request.status, Machine.objects.count()) == ("PENDING", 1)
        assert "lan has no free address" in request.why_pending

    def test_a_project_without_quota_is_refused(self, ask):
        Quota.objects.all().delete()
        with pytest.raises(operations.NoQuotaError):
            ask()
        assert not MachineRequest.objects.exists()

    def test_charlie_cannot_send_alices_wish(self, alice, charlie, lab, elsewhere, minimal, small, lan, now):
        wish = requested_spec.parse(
            untrusted={"name": "web1", "image": "minimal", "size": "small"}, user=alice
        )
        with pytest.raises(NotFoundError):
            operations.submit(user=charlie, wish=wish, now=now)

    def test_the_seed_moves_on_and_leaves_nothing_behind(self, ask):
        request = ask(size="small", password="correct horse", user_data="#!/bin/sh")
        assert request.seed == {}
        assert request.machine.seed["password_hash"].startswith("$6$")
        everything = json.dumps([list(AuditEntry.objects.values()), request.reason], default=str)
        assert "correct horse" not in everything
        assert "$6$" not in everything


class TestApprove:
    def test_orders_the_machine(self, ask, dana, alice, now):
        request = operations.approve(staff=dana, request_id=ask(**OWN).id, now=now)
        assert (request.status, request.decided_by, request.decided_at) == ("APPROVED", dana, now)
        assert (request.machine.owner, request.job.status) == (alice, "QUEUED")
        assert AuditEntry.objects.get(action="APPROVED_REQUEST").actor == dana

    def test_on_the_host_dana_chose(self, ask, dana, xen1, now):
        request = operations.approve(staff=dana, request_id=ask(**OWN).id, host_name="xen1", now=now)
        assert request.machine.host == xen1

    def test_on_a_host_without_room_is_refused(self, ask, dana, xen1, now):
        request = ask(**OWN)
        observe(xen1, free_memory="100")
        with pytest.raises(NoRoomError):
            operations.approve(staff=dana, request_id=request.id, host_name="xen1", now=now)
        request.refresh_from_db()
        assert request.status == "PENDING"
        assert not Machine.objects.exists()

    def test_beyond_quota_is_refused_with_the_shortage(self, ask, dana, lab, now):
        request = ask(vcpus=17, memory_mib=256, disk_gib=1)
        with pytest.raises(QuotaExceededError, match="1 vCPU over quota: 0 of 16 used"):
            operations.approve(staff=dana, request_id=request.id, now=now)
        request.refresh_from_db()
        assert request.status == "PENDING"

    def test_beyond_quota_dana_may_raise_it(self, ask, dana, lab, now):
        request = ask(vcpus=17, memory_mib=256, disk_gib=1)
        operations.approve(staff=dana, request_id=request.id, raise_quota=True, now=now)
        assert quotas.headroom(project=lab).limit == Figures(10, 17, 4096, 100)

    def test_twice_is_refused(self, ask, dana, now):
        request = ask(**OWN)
        operations.approve(staff=dana, request_id=request.id, now=now)
        with pytest.raises(operations.RequestDecidedError, match="already approved"):
            operations.approve(staff=dana, request_id=request.id, now=now)
        assert Job.objects.count() == 1

    def test_a_name_taken_meanwhile_is_told(self, ask, web1, dana, now):
        request = ask(name="web2", **OWN)
        machines.rename(user=dana, machine_id=web1.id, name="web2", now=now)
        with pytest.raises(NameTakenError):
            operations.approve(staff=dana, request_id=request.id, now=now)

    def test_alice_and_charlie_cannot(self, ask, alice, charlie, elsewhere, now):
        request = ask(**OWN)
        with pytest.raises(ForbiddenError):
            operations.approve(staff=alice, request_id=request.id, now=now)
        with pytest.raises(NotFoundError):
            operations.approve(staff=charlie, request_id=request.id, now=now)
        assert not Machine.objects.exists()


class TestReject:
    def test_tells_the_requester_why_and_drops_the_seed(self, ask, dana, now):
        asked = ask(**OWN, password="correct horse")
        assert asked.seed["password_hash"]
        request = operations.reject(staff=dana, request_id=asked.id, reason=" Too big. ", now=now)
        assert (request.status, request.decision_reason, request.seed) == ("REJECTED", "Too big.", {})

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 2001, "a\0b"])
    def test_without_a_reason_is_refused(self, ask, dana, now, reason):
        request = ask(**OWN)
        with pytest.raises(InvalidError):
            operations.reject(staff=dana, request_id=request.id, reason=reason, now=now)

    def test_alice_and_charlie_cannot(self, ask, alice, charlie, elsewhere, now):
        request = ask(**OWN)
        with pytest.raises(ForbiddenError):
            operations.reject(staff=alice, request_id=request.id, reason="x", now=now)
        with pytest.raises(NotFoundError):
            operations.reject(staff=charlie, request_id=request.id, reason="x", now=now)


class TestWithdraw:
    def test_takes_it_back(self, ask, alice, now):
        request = operations.withdraw(user=alice, request_id=ask(**OWN).id, now=now)
        assert (request.status, request.seed) == ("WITHDRAWN", {})

    def test_once_approved_it_is_too_late(self, ask, alice, now):
        with pytest.raises(operations.RequestDecidedError):
            operations.withdraw(user=alice, request_id=ask().id, now=now)

    def test_bob_dana_and_charlie_cannot(self, ask, bob, charlie, dana, elsewhere, now):
        request = ask(**OWN)
        for person in (bob, dana):
            with pytest.raises(ForbiddenError):
                operations.withdraw(user=person, request_id=request.id, now=now)
        with pytest.raises(NotFoundError):
            operations.withdraw(user=charlie, request_id=request.id, now=now)


class TestVisibleRequests:
    def test_members_and_staff_see_them_and_charlie_does_not(self, ask, alice, bob, charlie, dana, elsewhere):
        request = ask(**OWN)
        for person in (alice, bob, dana):
            assert queries.get_visible(user=person, id=request.id) == request
        with pytest.raises(NotFoundError):
            queries.get_visible(user=charlie, id=request.id)


class TestPreview:
    def test_says_what_would_be_decided(self, lab):
        asked = {"project": lab, "vcpus": 1, "disk_gib": 1, "is_listed_size": True}
        assert queries.preview(memory_mib=256, **asked).verdict == Verdict.AUTO
        assert queries.preview(memory_mib=5120, **asked).why == (
            "1 GiB of memory over quota: 0 MiB of 4 GiB used"
        )


class TestSeedDemo:
    def test_makes_people_and_things_and_a_second_run_keeps_them(self, db, tmp_path, now):
        images = tmp_path / "images.json"
        image = {"slug": "minimal", "name": "Minimal", "file": "m.ext4", "sha256": "ab"}
        image |= {"format": "FILESYSTEM", "min_disk_mib": 24, "unknown": 1}
        images.write_text(json.dumps([image]))
        out = tmp_path / "demo.json"
        call_command("seed_demo", images=images, out=out)
        first = out.read_text()
        images.write_text(json.dumps([{**image, "sha256": "cd"}]))
        call_command("seed_demo", images=images, out=out)
        assert out.read_text() == first
        assert out.stat().st_mode & 0o777 == 0o600
        accounts = {entry["username"]: entry for entry in json.loads(first)["accounts"]}
        assert {name: entry["staff"] for name, entry in accounts.items()} == {
            "alice": False,
            "bob": False,
            "dana": True,
        }
        for name, entry in accounts.items():
            user = User.objects.get(username=name)
            assert user.check_password(entry["password"])
            assert tokens.user_for(secret=entry["token"], now=now)[0] == user
        assert Image.objects.get().sha256 == "cd"
        assert set(queries.visible_to(user=User.objects.get(username="alice"))) == set()
        assert Quota.objects.get().memory_mib_limit == 4096

    def test_what_people_changed_stays_changed(self, db, tmp_path):
        out = tmp_path / "demo.json"
        call_command("seed_demo", out=out)
        dana = User.objects.get(username="dana")
        dana.set_password("chosen by dana")
        dana.save()
        ApiToken.objects.filter(user=dana).delete()
        for _ in range(2):
            call_command("seed_demo", out=out)
            entries = {entry["username"]: entry for entry in json.loads(out.read_text())["accounts"]}
            assert (entries["dana"]["password"], entries["dana"]["token"]) == ("", "")
            assert entries["alice"]["password"]
        out.unlink()
        call_command("seed_demo", out=out)
        dana.refresh_from_db()
        assert dana.check_password("chosen by dana")
        assert not ApiToken.objects.filter(user=dana).exists()

    @pytest.mark.parametrize("name", ["dana", "root"])
    def test_a_database_with_people_of_its_own_is_left_alone(self, db, tmp_path, name):
        User.objects.create_user(name, f"{name}@company.test", "secret")
        with pytest.raises(CommandError, match="people of its own"):
            call_command("seed_demo", out=tmp_path / "demo.json")
        assert [user.username for user in User.objects.all()] == [name]
        assert User.objects.get().check_password("secret")

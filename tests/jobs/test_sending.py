"""An order that could not be sent: the request has its answer, and the job goes out later."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.core import checks
from django.core.management import call_command
from django.db import connection, transaction

from webxen.core import after_commit, portal_key
from webxen.jobs import dispatch, operations
from webxen.jobs.models import Job


class TestAfterCommit:
    @pytest.mark.parametrize("error", [RuntimeError("x"), KeyError("x"), ValueError(), ArithmeticError()])
    @pytest.mark.django_db(transaction=True)
    def test_whatever_a_sender_raises_the_transaction_stays_committed(self, error, caplog):
        def fail():
            raise error

        def note():
            noted.append(1)

        noted = []
        with transaction.atomic():
            after_commit.run(fail, about="job 7")
            after_commit.run(note, about="job 8")
        assert noted == [1]
        assert "job 7" in caplog.text
        after_commit.run(fail, about="job 9")
        assert "job 9" in caplog.text
        assert connection.run_on_commit == []

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(
        "broken",
        [
            {"WEBXEN_PORTAL_KEY_FILE": None},
            {"WEBXEN_PORTAL_KEY_FILE": Path("/proc/self/mem")},
            {"WEBXEN_ORDER_TTL_SECONDS": "five"},
        ],
        ids=["AttributeError", "KeyUnusable", "TypeError"],
    )
    def test_a_verb_is_accepted_although_sending_it_fails(
        self, client, settings, web1, alice, mailbox, broken
    ):
        good = {name: getattr(settings, name) for name in broken}
        for name, value in broken.items():
            setattr(settings, name, value)
        client.force_login(alice)
        url = f"/api/v1/machines/{web1.id}/reboot/"
        answer = client.post(url, content_type="application/json")
        assert answer.status_code == 202, answer.content
        job = Job.objects.get(id=answer.json()["id"])
        assert (job.status, job.sent_at) == ("QUEUED", None)
        for name, value in good.items():
            setattr(settings, name, value)
        assert operations.sweep(now=job.created_at + timedelta(seconds=10))["sent"] == 1
        assert [order.job_id for order in mailbox.orders("xen1")] == [str(job.id)]


class TestPortalKey:
    @pytest.fixture
    def no_key(self, settings, tmp_path):
        settings.WEBXEN_PORTAL_KEY_FILE = tmp_path / "portal.key"
        return settings.WEBXEN_PORTAL_KEY_FILE

    @pytest.fixture
    def unreadable(self, no_key):
        no_key.write_text("-----BEGIN PRIVATE KEY-----\nnonsense\n")
        return no_key

    @pytest.mark.parametrize("which", ["no_key", "unreadable"])
    def test_a_job_waits_for_it_and_says_so(
        self, request, order_machine, mailbox, now, which, settings, django_capture_on_commit_callbacks
    ):
        good = settings.WEBXEN_PORTAL_KEY_FILE
        request.getfixturevalue(which)
        with django_capture_on_commit_callbacks(execute=True):
            job = order_machine()
        job.refresh_from_db()
        assert (job.status, job.waiting_for) == ("QUEUED", dispatch.NO_KEY)
        settings.WEBXEN_PORTAL_KEY_FILE = good
        assert operations.sweep(now=now + timedelta(seconds=10))["sent"] == 1
        job.refresh_from_db()
        assert job.waiting_for == ""

    @pytest.mark.parametrize("which", ["no_key", "unreadable"])
    def test_is_named_by_check_deploy_with_its_cure(self, request, which):
        path = request.getfixturevalue(which)
        found = [one for one in checks.run_checks(include_deployment_checks=True) if one.id == "webxen.E002"]
        assert len(found) == 1
        assert str(path) in found[0].msg
        assert "manage.py portal_key" in found[0].msg

    def test_a_good_one_is_not_mentioned(self):
        assert "webxen.E002" not in {one.id for one in checks.run_checks(include_deployment_checks=True)}

    def test_staff_alone_sees_a_banner_on_every_page(self, client, alice, dana, unreadable):
        client.force_login(dana)
        assert "The portal's signing key" in client.get("/").content.decode()
        client.force_login(alice)
        assert "signing key" not in client.get("/").content.decode()

    @pytest.mark.skipif(
        os.geteuid() != 0, reason="only root could leave another owner's folder with its own file"
    )
    @pytest.mark.parametrize("options", [{}, {"rotate": True}])
    def test_made_by_root_it_belongs_to_whom_the_folder_belongs(self, settings, tmp_path, options, capsys):
        folder = tmp_path / "data"
        folder.mkdir()
        os.chown(folder, 12345, 23456)
        settings.WEBXEN_PORTAL_KEY_FILE = folder / "portal.key"
        call_command("portal_key", public_out=folder / "portal.pub", **options)
        for name in ("portal.key", "portal.pub", *(["portal.key.old"] if options else [])):
            seen = (folder / name).stat()
            assert (name, seen.st_uid, seen.st_gid) == (name, 12345, 23456)
        assert (folder / "portal.key").stat().st_mode & 0o777 == 0o600

    def test_writes_through_no_link_that_lies_in_its_folder(self, tmp_path):
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (tmp_path / f"portal.key.{os.getpid()}").symlink_to(victim)
        portal_key.make_portal_key(tmp_path / "portal.key")
        assert victim.read_text() == "precious"
        assert portal_key.public_pem(tmp_path / "portal.key").startswith("-----BEGIN")

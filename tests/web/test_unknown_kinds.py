"""A job of a kind that this portal does not know is shown by its own name; nothing around it breaks."""

import pytest
from django.urls import reverse

from webxen.jobs.models import Job, JobEvent
from webxen.machines.models import Machine


@pytest.fixture
def snooze(order_machine):
    job = order_machine("web1")
    Machine.objects.filter(id=job.machine_id).update(state="READY", power="RUNNING")
    Job.objects.filter(id=job.id).update(kind="SNOOZE", step="FREEZE", status="RUNNING")
    JobEvent.objects.create(job=job, at=job.created_at, event="THAWED", step="FREEZE")
    job.refresh_from_db()
    return job


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("who", ["alice", "dana"])
def test_every_page_with_it_is_shown(snooze, as_, who, language, request):
    client = as_(request.getfixturevalue(who))
    pages = [
        reverse("machines"),
        reverse("jobs"),
        reverse("job", args=[snooze.id]),
        *(
            reverse(name, args=[snooze.machine_id])
            for name in ("machine", "machine_jobs", "machine_settings")
        ),
    ]
    for address in pages:
        answer = client.get(address, headers={"accept-language": language})
        assert answer.status_code == 200, address
    assert "SNOOZE" in client.get(reverse("job", args=[snooze.id])).content.decode()


def test_a_click_for_an_unknown_action_is_answered_with_404(snooze, as_, alice):
    answer = as_(alice).post(reverse("machine_act", args=[snooze.machine_id, "snooze"]))
    assert answer.status_code == 404

"""The page of a dead host: its fence, what the agent said, and who may press the button."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from tests.fixtures import NOW
from tests.moves import fall_silent_with_a_fence
from webxen.fleet import fencing
from webxen.fleet.models import Fencing
from webxen.jobs.models import Job

PAGE = "/hosts/xen1/restart-elsewhere/"
LATER = NOW + timedelta(seconds=60)


@pytest.fixture
def dead(pair: Any, web1: Any, settings: Any, tmp_path: Path) -> Any:
    """xen1 is not responding and has a fence; the agent is not installed."""
    fall_silent_with_a_fence(pair, web1, settings, tmp_path, now=LATER)
    with time_machine.travel(LATER):
        yield tmp_path


def work(now: Any = LATER) -> None:
    """What the reports process does."""
    for claimed in fencing.claim(now=now):
        fencing.conclude(fencing_id=claimed.id, evidence=fencing.use_agent(fencing=claimed), now=now)


def write_agent(folder: Path, status: str) -> None:
    path = folder / "fence_test"
    path.write_text(f'#!/bin/sh\ncase "$(cat)" in *action=off*) exit 0;; *) {status};; esac\n')
    path.chmod(0o755)


class TestTheButton:
    def test_is_there_only_where_a_fence_is(self, dead, as_, dana, settings):
        assert b"Switch it off with its fence agent" in as_(dana).get(PAGE).content
        settings.WEBXEN_FENCES = {}
        assert b"Switch it off with its fence agent" not in as_(dana).get(PAGE).content

    def test_leads_back_to_the_page_which_says_that_it_is_at_work(self, dead, as_, dana):
        answer = as_(dana).post("/hosts/xen1/fence/")
        assert (answer.status_code, answer["Location"]) == (302, PAGE)
        text = as_(dana).get(PAGE).content.decode()
        assert "The fence agent is running" in text
        assert "Switch it off with its fence agent" not in text
        assert "hidden-words" not in text
        part = as_(dana).get(PAGE, headers={"HX-Request": "true"}).content.decode()
        assert 'data-fencing="ASKED"' in part
        assert "<html" not in part

    def test_is_not_for_charlie_or_alice(self, dead, as_, charlie, alice, elsewhere):
        for person in (charlie, alice):
            assert as_(person).post("/hosts/xen1/fence/").status_code == 404
        assert not Fencing.objects.exists()


class TestThePage:
    def test_says_what_the_agent_said_and_that_nothing_was_started(self, dead, as_, dana):
        write_agent(dead, "echo Status: ON; exit 0")
        as_(dana).post("/hosts/xen1/fence/")
        work()
        text = as_(dana).get(PAGE).content.decode()
        for words in (
            "fence_test reports that the host is still on.",
            "Nothing was started on other hosts.",
            "Status: ON",
            "Switch it off with its fence agent",
        ):
            assert words in text
        assert not Job.objects.filter(kind="START").exists()

    def test_says_what_started_and_on_which_evidence(self, dead, as_, dana):
        write_agent(dead, "echo Status: OFF; exit 2")
        as_(dana).post("/hosts/xen1/fence/")
        work()
        text = as_(dana).get(PAGE).content.decode()
        assert 'data-fencing="OFF"' in text
        assert "<strong>1</strong>" in text
        assert "Status: OFF" in text

    def test_in_russian_holds_no_english(self, dead, as_, dana):
        as_(dana).post("/hosts/xen1/fence/")
        work()
        text = as_(dana).get(PAGE, headers={"accept-language": "ru"}).content.decode()
        assert "fence_test не установлен на машине портала. На других узлах ничего не запущено." in " ".join(
            text.split()
        )
        audit = as_(dana).get("/audit/", headers={"accept-language": "ru"}).content.decode()
        assert "Агент не отключил питание узла" in audit


class TestTheWords:
    def test_are_shown_and_taken_in_the_readers_language(self, dead, as_, dana):
        russian = {"accept-language": "ru"}
        text = as_(dana).get(PAGE, headers=russian).content.decode()
        assert "узел xen1 выключен" in text
        assert "xen1 is off" not in text
        wrong = as_(dana).post(PAGE, {"words": "xen1"}, headers=russian)
        assert wrong.status_code == 400
        assert "Введите в точности: узел xen1 выключен" in wrong.content.decode()
        assert not Job.objects.filter(kind="START").exists()
        right = as_(dana).post(PAGE, {"words": "узел xen1 выключен"}, headers=russian)
        assert right.status_code == 302
        assert Job.objects.filter(kind="START").count() == 1

    def test_in_english_are_taken_from_everybody(self, dead, as_, dana):
        as_(dana).post(PAGE, {"words": "xen1 is off"}, headers={"accept-language": "ru"})
        assert Job.objects.filter(kind="START").count() == 1

    def test_of_another_language_than_the_readers_are_not(self, dead, as_, dana):
        assert as_(dana).post(PAGE, {"words": "узел xen1 выключен"}).status_code == 400


class TestTheTask:
    @pytest.mark.django_db(transaction=True)
    def test_lets_the_agent_work_beside_the_reports(self, dead, as_, dana):
        """In a thread of its own: what this process hears of other hosts does not wait for an agent."""
        import threading

        from webxen.inbox import tasks

        write_agent(dead, "echo Status: OFF; exit 2")
        as_(dana).post("/hosts/xen1/fence/")
        before = set(threading.enumerate())
        tasks.fence()
        for thread in set(threading.enumerate()) - before:
            thread.join(30)
        done = Fencing.objects.get()
        assert (done.phase, done.machines_started) == ("OFF", 1)

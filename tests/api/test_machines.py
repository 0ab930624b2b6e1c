"""Machines by API."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.conftest import Caller
from tests.fixtures import report
from webxen.core.waiting_together import ARRIVED
from webxen.jobs.models import Job
from webxen.machines.models import Machine

LIMITS = itertools.count(20)


class TestShow:
    def test_says_everything_about_one(self, as_alice, web1):
        answer = as_alice.get(f"machines/{web1.id}/")
        assert answer.status_code == 200
        seen = answer.json()
        assert set(seen) == {
            "id", "name", "description", "tags", "project", "owner", "host", "image", "state",
            "state_reason", "power", "power_seen_at", "last_power", "vcpus", "memory_mib", "disks",
            "interfaces", "created_at", "expires_at", "open_job", "allowed_actions",
        }  # fmt: skip
        assert seen["id"] == str(web1.id)
        names = ("name", "project", "owner", "host", "image", "state", "power")
        assert [seen[name] for name in names] == [
            "web1", "lab", "alice", "xen1", "minimal", "READY", "RUNNING",
        ]  # fmt: skip
        assert seen["disks"] == [
            {"id": str(web1.disks.get().id), "pool": "local", "size_gib": 1, "vdev": "xvda"}
        ]
        (card,) = seen["interfaces"]
        assert (card["network"], card["ipv4"], card["ipv6"]) == ("lan", "10.0.2.100", None)
        assert card["mac"].startswith("00:16:3e:")
        assert seen["created_at"].endswith("Z")
        assert seen["open_job"] is None
        assert seen["allowed_actions"] == ["shutdown", "reboot", "poweroff", "delete", "console", "edit"]

    def test_shows_the_open_job_and_allows_no_second(self, as_alice, web1):
        as_alice.post(f"machines/{web1.id}/shutdown/")
        seen = as_alice.get(f"machines/{web1.id}/").json()
        assert (seen["open_job"]["kind"], seen["open_job"]["status"]) == ("SHUTDOWN", "QUEUED")
        assert not {"shutdown", "reboot", "poweroff", "delete"} & set(seen["allowed_actions"])

    @pytest.mark.parametrize("path", ["x", "1", "web1", "../me", "5dd8c7f5-8c7e-4cf2-9f0a-1a3cbb6fe0a3"])
    def test_of_an_id_that_is_none_is_404(self, path, as_alice):
        answer = as_alice.get(f"machines/{path}/")
        assert answer.status_code == 404
        assert answer.json()["code"] == "NOT_FOUND"

    def test_without_the_last_slash_says_so(self, as_alice, web1):
        answer = as_alice.get(f"machines/{web1.id}")
        assert answer.status_code == 404
        assert "end with a slash" in answer.json()["detail"]


class TestList:
    @pytest.fixture(autouse=True)
    def three(self, make_machine: Any) -> None:
        for name in ("web1", "web2", "db1"):
            make_machine(name)

    def names(self, caller: Any, query: str = "") -> list[str]:
        answer = caller.get(f"machines/{query}")
        assert answer.status_code == 200, answer.json()
        return sorted(row["name"] for row in answer.json()["results"])

    def test_shows_what_is_ones_own(self, as_alice, as_bob, as_charlie, as_dana):
        everything = ["db1", "web1", "web2"]
        assert self.names(as_alice) == self.names(as_bob) == self.names(as_dana) == everything
        assert self.names(as_charlie) == []

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("?q=web", ["web1", "web2"]),
            ("?q=WEB1", ["web1"]),
            ("?q=%25", []),
            ("?state=READY", ["db1", "web1", "web2"]),
            ("?state=FAILED", []),
            ("?power=RUNNING&q=db", ["db1"]),
            ("?host=xen1", ["db1", "web1", "web2"]),
            ("?host=xen2", []),
            ("?project=lab", ["db1", "web1", "web2"]),
            ("?project=elsewhere", []),
        ],
    )
    def test_is_narrowed(self, query, found, as_alice):
        assert self.names(as_alice, query) == found

    def test_takes_a_projects_id(self, as_alice, as_charlie, lab):
        assert len(self.names(as_alice, f"?project={lab.id}")) == 3
        assert self.names(as_charlie, f"?project={lab.id}") == []

    @pytest.mark.parametrize(
        "query",
        [
            "?state=ready",
            "?power=1",
            "?owner__password__startswith=a",
            "?ordering=owner__password",
            "?q=%00",
            "?q=a&q=b",
            "?limit=0",
            "?limit=x",
            "?limit=1000",
            "?limit=9223372036854775808",
            "?cursor=x",
            "?cursor=",
            "?cursor=bz0xMDAwMDA%3D",
        ],
    )
    def test_refuses_a_parameter_it_does_not_know(self, query, as_alice):
        answer = as_alice.get(f"machines/{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID")
        assert answer.json()["errors"]

    def test_comes_in_pages(self, as_alice):
        seen, address = [], "machines/?limit=1"
        while address:
            page = as_alice.get(address).json()
            assert set(page) == {"next", "previous", "results"}
            seen += [row["name"] for row in page["results"]]
            address, last = page["next"], page
        assert sorted(seen) == ["db1", "web1", "web2"]
        assert len(as_alice.get(last["previous"]).json()["results"]) == 1

    def test_does_not_take_a_cursor_of_another_list(self, as_alice):
        cursor = as_alice.get("machines/?limit=1").json()["next"].split("?")[1]
        assert as_alice.get(f"sizes/?{cursor}").status_code == 400

    def test_asks_the_database_as_often_for_three_as_for_one(self, as_alice, django_assert_max_num_queries):
        as_alice.get("machines/")
        # the token; the machines, their disks, cards, networks and open jobs
        with django_assert_max_num_queries(6):
            as_alice.get("machines/")


class TestChange:
    def test_gives_it_another_name_and_words(self, as_alice, web1):
        changes = {"name": "shop", "description": "the shop", "tags": ["prod", "a"]}
        answer = as_alice.ask("PATCH", f"machines/{web1.id}/", changes)
        assert answer.status_code == 200, answer.json()
        assert {name: answer.json()[name] for name in changes} == {**changes, "tags": ["a", "prod"]}

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "x; rm"},
            {"name": "web1\n"},
            {"name": " web2"},
            {"name": None},
            {"name": 7},
            {"name": ""},
            {"description": None},
            {"description": 1},
            {"description": "\x00"},
            {"description": "x" * 3000},
            {"tags": "prod"},
            {"tags": [1]},
            {"tags": [""]},
            {"tags": ["x" * 100]},
            {"tags": None},
            {"state": "DELETED"},
            {"owner": "charlie"},
            {"host": "xen2"},
            {"memory_mib": 1},
            [],
        ],
    )
    def test_refuses_what_is_wrong_or_not_its_to_change(self, changes, as_alice, web1):
        answer = as_alice.ask("PATCH", f"machines/{web1.id}/", changes)
        assert answer.status_code == 400
        after = Machine.objects.get(id=web1.id)
        assert (after.name, after.description, after.tags, after.state) == ("web1", "", [], "READY")

    def test_refuses_a_name_in_use(self, as_alice, make_machine):
        first = make_machine("web1")
        make_machine("web2")
        answer = as_alice.ask("PATCH", f"machines/{first.id}/", {"name": "web2"})
        assert (answer.status_code, answer.json()["code"]) == (409, "NAME_TAKEN")

    def test_is_not_for_a_stranger(self, as_charlie, web1):
        assert as_charlie.ask("PATCH", f"machines/{web1.id}/", {"name": "mine"}).status_code == 404


class TestAct:
    @pytest.mark.parametrize("verb", ["shutdown", "poweroff", "reboot"])
    def test_answers_202_with_the_job_and_where_to_look(self, verb, as_alice, web1, mailbox):
        answer = as_alice.post(f"machines/{web1.id}/{verb}/")
        assert answer.status_code == 202
        job = answer.json()
        assert answer["Location"] == f"http://testserver/api/v1/jobs/{job['id']}/"
        assert (job["kind"], job["status"], job["progress"]) == (verb.upper(), "QUEUED", 0)
        assert as_alice.get(answer["Location"]).json() == job

    def test_rings_the_host_after_the_commit(
        self, as_alice, web1, mailbox, django_capture_on_commit_callbacks
    ):
        mailbox.take("xen1")
        with django_capture_on_commit_callbacks(execute=True):
            job = as_alice.post(f"machines/{web1.id}/shutdown/").json()
            assert mailbox.take("xen1") == []
        (order,) = mailbox.orders("xen1")
        assert (order.kind, order.job_id) == ("SHUTDOWN", job["id"])

    def test_refuses_a_second_job(self, as_alice, as_bob, web1):
        as_alice.post(f"machines/{web1.id}/reboot/")
        answer = as_bob.post(f"machines/{web1.id}/poweroff/")
        assert (answer.status_code, answer.json()["code"]) == (409, "JOB_OPEN")

    def test_refuses_what_makes_no_sense_and_says_why(self, as_alice, web1):
        answer = as_alice.post(f"machines/{web1.id}/start/")
        assert (answer.status_code, answer.json()["code"]) == (409, "ALREADY_DONE")
        assert "running" in answer.json()["detail"]

    @pytest.mark.parametrize("body", [b"{", b"[1]", b'{"force": true}', b'"x"'])
    def test_refuses_a_body_it_does_not_understand(self, body, as_alice, web1):
        assert as_alice.post(f"machines/{web1.id}/poweroff/", body).status_code == 400
        assert not Job.objects.filter(kind="POWEROFF").exists()

    def test_deletes(self, as_alice, web1):
        answer = as_alice.ask("DELETE", f"machines/{web1.id}/")
        assert (answer.status_code, answer.json()["kind"]) == (202, "DELETE")
        assert as_alice.get(f"machines/{web1.id}/").json()["state"] == "DELETING"
        job = Job.objects.get(id=answer.json()["id"])
        report(job, "STARTED")
        report(job, "SUCCEEDED", power="OFF")
        assert as_alice.get(f"machines/{web1.id}/").status_code == 404
        assert as_alice.get(f"jobs/{job.id}/").json()["status"] == "SUCCEEDED"

    def test_is_not_for_a_stranger(self, as_charlie, web1):
        for verb in ("start", "shutdown", "poweroff", "reboot", "console"):
            assert as_charlie.post(f"machines/{web1.id}/{verb}/").status_code == 404
        assert as_charlie.ask("DELETE", f"machines/{web1.id}/").status_code == 404
        assert Job.objects.count() == 1


class TestConsole:
    def test_gives_a_ticket_for_the_socket(self, as_alice, web1):
        answer = as_alice.post(f"machines/{web1.id}/console/")
        assert answer.status_code == 201
        seat = answer.json()
        assert seat["url"] == f"ws://testserver/ws/console/{web1.id}/"
        assert seat["ticket"] not in seat["url"]
        assert len(seat["ticket"]) >= 32
        assert seat["expires_at"].endswith("Z")

    def test_gives_another_one_each_time(self, as_alice, web1):
        tickets = {as_alice.post(f"machines/{web1.id}/console/").json()["ticket"] for _ in range(3)}
        assert len(tickets) == 3


class TestConfig:
    def test_is_what_its_host_wrote(self, as_alice, web1):
        Machine.objects.filter(id=web1.id).update(config="name = 'web1'\n")
        answer = as_alice.get(f"machines/{web1.id}/config/")
        assert (answer.text, answer["Content-Type"]) == ("name = 'web1'\n", "text/plain; charset=utf-8")

    def test_is_not_for_a_stranger(self, as_charlie, web1):
        assert as_charlie.get(f"machines/{web1.id}/config/").status_code == 404


class TestSharedAnswers:
    """Those who waited together share what was looked up, as far as they see the same."""

    @pytest.fixture
    def listed(self) -> Callable[..., list[dict[str, Any]]]:
        """The list, as if the question had come before anybody's was looked into."""

        def ask(caller: Caller, query: str = "") -> list[dict[str, Any]]:
            path = f"/api/v1/machines/?limit={limit}{query}"
            answer = caller.client.get(path, headers=caller.headers, **{ARRIVED: 0.0})
            assert answer.status_code == 200
            return answer.json()["results"]

        # nobody else has asked just this
        limit = next(LIMITS)
        return ask

    def test_a_member_is_told_what_was_looked_up_for_another(
        self, listed, as_alice, as_bob, web1, django_assert_max_num_queries
    ):
        first = listed(as_alice)
        assert [row["id"] for row in first] == [str(web1.id)]
        as_bob.get("me/")  # notes that the token was used
        with django_assert_max_num_queries(2):  # who it is, and the projects
            assert listed(as_bob) == first

    def test_a_stranger_and_staff_are_not(self, listed, as_alice, as_charlie, as_dana, web1):
        assert [row["id"] for row in listed(as_alice)] == [str(web1.id)]
        assert listed(as_charlie) == []
        assert [row["id"] for row in listed(as_dana)] == [str(web1.id)]

    def test_another_question_is_another_answer(self, listed, as_alice, web1):
        assert len(listed(as_alice, "&power=RUNNING")) == 1
        assert listed(as_alice, "&power=OFF") == []

    def test_who_left_the_project_sees_it_no_more(self, listed, as_bob, bob, web1):
        assert len(listed(as_bob)) == 1
        bob.projects.clear()
        assert listed(as_bob) == []

    def test_a_question_that_came_later_is_looked_into_anew(self, listed, as_alice, make_machine, web1):
        assert len(listed(as_alice)) == 1
        make_machine("web2")
        assert len(as_alice.get("machines/").json()["results"]) == 2

"""Every form says what is wrong beside its field, leads there, and keeps what was typed."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import Client

from tests.fixtures import NOW
from tests.moves import domain, fall_silent_with_a_fence, show
from webxen.accounts.models import User
from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.quotas.models import Quota

Browser = Callable[[User], Client]
NEW = "/machines/new/"


def errors_beside(text: str, field_id: str) -> str:
    """What stands in the error that belongs to a field; the field must say that it belongs to it."""
    found = re.search(rf'id="{re.escape(field_id)}[-_]error[^"]*"[^>]*>(.*?)</div>', text, re.DOTALL)
    assert found, f"no error beside {field_id}"
    return re.sub(r"<[^>]+>", "", found[1]).strip()


def tag_of(text: str, field_id: str) -> str:
    found = re.search(rf'<[^>]*\bid="{re.escape(field_id)}"[^>]*>', text)
    assert found, f"no field {field_id}"
    return found[0]


class TestRename:
    def test_a_taken_name_is_said_beside_the_field(
        self, as_: Browser, make_machine: Any, alice: User
    ) -> None:
        web1, _ = make_machine("web1"), make_machine("web2")
        typed = {"name": "web2", "description": "kept words"}
        answer = as_(alice).post(f"/machines/{web1.id}/settings/", typed)
        text = answer.content.decode()
        assert answer.status_code in (400, 409)
        assert "already has a machine named web2" in errors_beside(text, "id_name")
        assert 'href="#id_name"' in text
        name = tag_of(text, "id_name")
        assert 'value="web2"' in name
        assert "is-invalid" in name
        assert "autofocus" in name
        assert 'aria-describedby="id_name_error"' in name
        assert "kept words" in text


class TestNewMachine:
    @pytest.fixture
    def at_desk(self, as_: Browser, alice: User, lab: Any, wish: dict[str, str]) -> Client:
        return as_(alice)

    def test_a_machine_nobody_can_sign_in_to_needs_a_choice(
        self, at_desk: Client, wish: dict[str, str]
    ) -> None:
        closed = wish | {"password": "", "ssh_keys": " \n"}
        answer = at_desk.post(NEW, closed)
        text = answer.content.decode()
        assert answer.status_code == 400
        assert "nobody can sign in" in errors_beside(text, "id_is_closed_fine")
        assert 'type="checkbox"' in tag_of(text, "id_is_closed_fine")
        assert not Machine.objects.exists()
        assert at_desk.post(NEW, closed | {"is_closed_fine": "on"}).status_code == 302
        assert Machine.objects.count() == 1

    def test_it_is_said_before_the_press_too(self, at_desk: Client, wish: dict[str, str]) -> None:
        closed = wish | {"password": "", "ssh_keys": ""}
        assert "data-no-access" in at_desk.post(f"{NEW}outlook/", closed).content.decode()
        assert "data-no-access" not in at_desk.post(f"{NEW}outlook/", wish).content.decode()

    def test_the_page_opens_at_the_first_wrong_field(self, at_desk: Client, wish: dict[str, str]) -> None:
        text = at_desk.post(NEW, wish | {"ssh_keys": "no key", "password": "x"}).content.decode()
        assert "autofocus" in tag_of(text, "id_ssh_keys")
        assert text.count("autofocus") == 1
        assert 'href="#id_ssh_keys"' in text
        assert 'href="#id_password"' in text
        assert "Nothing has been created yet." in text

    @pytest.mark.parametrize("missing", [("vcpus", "memory_mib", "disk_gib"), ("memory_mib",)])
    def test_a_size_without_numbers_names_no_field_of_the_api(
        self, at_desk: Client, wish: dict[str, str], missing: tuple[str, ...]
    ) -> None:
        answer = at_desk.post(NEW, wish | {"size": "own"} | dict.fromkeys(missing, ""))
        for name in missing:
            assert answer.context["form"].errors[name] == ["Enter a whole number."]
        sentences = [str(error) for errors in answer.context["form"].errors.values() for error in errors]
        assert not [one for one in sentences if "memory_mib" in one or "disk_gib" in one]

    def test_no_size_at_all_is_said_beside_the_sizes(self, at_desk: Client, wish: dict[str, str]) -> None:
        answer = at_desk.post(NEW, wish | {"size": ""})
        assert answer.context["form"].errors["size"] == ["Choose a size."]
        assert "autofocus" in tag_of(answer.content.decode(), "sizes")

    @pytest.mark.parametrize(
        "numbers",
        [
            {"vcpus": "0"},
            {"vcpus": "65"},
            {"memory_mib": "0"},
            {"memory_mib": "63"},
            {"disk_gib": "0"},
            {"disk_gib": "16385"},
            {"vcpus": ""},
            {"memory_mib": "much"},
        ],
    )
    def test_what_nobody_can_have_is_refused_before_the_press(
        self, at_desk: Client, wish: dict[str, str], numbers: dict[str, str]
    ) -> None:
        answer = at_desk.post(f"{NEW}outlook/", wish | {"size": "own"} | numbers)
        assert answer.context["outlook"].code == "REFUSED"
        assert 'data-verdict="REFUSED"' in answer.content.decode()

    def test_a_size_too_small_for_the_image_is_refused_with_what_it_needs(
        self, at_desk: Client, wish: dict[str, str], minimal: Any
    ) -> None:
        minimal.min_memory_mib = 2048
        minimal.save()
        answer = at_desk.post(f"{NEW}outlook/", wish)
        assert answer.context["outlook"].code == "REFUSED"
        assert "too little memory for this image: at least 2 GiB" in answer.content.decode()

    def test_a_custom_size_inside_the_quota_is_not_over_it(
        self, at_desk: Client, wish: dict[str, str]
    ) -> None:
        answer = at_desk.post(f"{NEW}outlook/", wish | {"size": "own"})
        assert answer.context["outlook"].sentence == "Custom sizes need approval."
        assert answer.context["outlook"].reasons == ()
        assert "over quota" not in answer.content.decode()

    def test_a_custom_size_over_the_quota_says_so(
        self, at_desk: Client, wish: dict[str, str], lab: Any
    ) -> None:
        Quota.objects.filter(project=lab).update(memory_mib_limit=128)
        answer = at_desk.post(f"{NEW}outlook/", wish | {"size": "own"})
        assert "128 MiB of memory over quota" in answer.context["outlook"].sentence

    def test_nothing_of_it_stays_english_in_russian(self, at_desk: Client, wish: dict[str, str]) -> None:
        russian = {"accept-language": "ru"}
        answer = at_desk.post(f"{NEW}outlook/", wish | {"size": "own"}, headers=russian)
        assert answer.context["outlook"].sentence == "Свой размер требует согласования."


class TestQuota:
    TYPED = {"machines": "12", "vcpus": "20", "memory_mib": "8192", "disk_gib": "120", "reason": "a show"}

    @pytest.mark.parametrize(
        ("name", "value"), [("vcpus", "1"), ("vcpus", "many"), ("memory_mib", ""), ("reason", "")]
    )
    def test_asking_keeps_what_was_typed(
        self, as_: Browser, lab: Any, alice: User, name: str, value: str
    ) -> None:
        answer = as_(alice).post(f"/quota/{lab.id}/ask/", self.TYPED | {name: value})
        text = answer.content.decode()
        assert answer.status_code == 400
        assert errors_beside(text, f"ask-{name}")
        assert f'href="#ask-{name}"' in text
        assert 'value="12"' in tag_of(text, "ask-machines")
        assert name == "reason" or "a show" in text
        assert not QuotaRequest.objects.exists()

    def test_nothing_more_than_there_is_already(self, as_: Browser, lab: Any, alice: User) -> None:
        now = {"machines": "10", "vcpus": "16", "memory_mib": "4096", "disk_gib": "100", "reason": "a show"}
        answer = as_(alice).post(f"/quota/{lab.id}/ask/", now)
        assert answer.status_code == 400
        assert "Enter a higher limit." in answer.content.decode()
        assert "a show" in answer.content.decode()

    def test_limits_keep_what_was_typed(self, as_: Browser, lab: Any, dana: User) -> None:
        typed = {"machines": "7", "vcpus": "lots", "memory_mib": str(1 << 40), "disk_gib": "3"}
        text = as_(dana).post(f"/quota/{lab.id}/limits/", typed).content.decode()
        assert errors_beside(text, "set-vcpus")
        assert 'value="7"' in tag_of(text, "set-machines")
        typed["vcpus"] = "4"
        text = as_(dana).post(f"/quota/{lab.id}/limits/", typed).content.decode()
        assert "from 0 to 268435456" in errors_beside(text, "set-memory_mib")


class TestDecisions:
    @pytest.fixture
    def asked(self, as_: Browser, alice: User, lab: Any, wish: dict[str, str]) -> MachineRequest:
        Quota.objects.filter(project=lab).update(memory_mib_limit=128)
        as_(alice).post(NEW, wish | {"reason": "for the exhibition"})
        return MachineRequest.objects.get()

    def test_a_refused_approval_says_why_beside_the_box_and_keeps_the_host(
        self, as_: Browser, asked: MachineRequest, dana: User
    ) -> None:
        answer = as_(dana).post(f"/requests/{asked.id}/approve/", {"host": "xen1"})
        text = answer.content.decode()
        assert answer.status_code == 409
        assert "128 MiB of memory over quota" in errors_beside(text, "raise_quota")
        assert '<option value="xen1" selected>' in text

    def test_a_refusal_that_is_too_long_is_not_lost(
        self, as_: Browser, asked: MachineRequest, dana: User
    ) -> None:
        words = "no room " * 300
        answer = as_(dana).post(f"/requests/{asked.id}/reject/", {"reason": words})
        text = answer.content.decode()
        assert answer.status_code == 400
        assert "Give a reason of 1 to 2000 characters" in errors_beside(text, "reason")
        assert words in text

    def test_more_quota_is_refused_with_words_too(
        self, as_: Browser, more_wanted: QuotaRequest, dana: User
    ) -> None:
        answer = as_(dana).post(f"/quota/requests/{more_wanted.id}/reject/", {"reason": " "})
        assert answer.status_code == 400
        assert "Give a reason" in errors_beside(answer.content.decode(), "reason")

    def test_what_was_decided_meanwhile_is_said_on_top(
        self, as_: Browser, asked: MachineRequest, dana: User
    ) -> None:
        browser = as_(dana)
        browser.post(f"/requests/{asked.id}/reject/", {"reason": "no"})
        answer = browser.post(f"/requests/{asked.id}/reject/", {"reason": "no"}, follow=True)
        assert "This request is already rejected." in answer.content.decode()


class TestMove:
    @pytest.fixture
    def apart(self, pair: Any, web1: Machine) -> Machine:
        """Each host has its own pool, so that web1 must be shut down for its move."""
        show(pair[0], domain(web1), shared="")
        show(pair[1], shared="")
        return web1

    def test_what_is_chosen_at_first_works_and_the_button_says_which_way(
        self, apart: Machine, as_: Browser, dana: User
    ) -> None:
        answer = as_(dana).get(f"/machines/{apart.id}/move/")
        form = answer.context["form"]
        assert "Shut down and move" in answer.content.decode()
        as_(dana).post(
            f"/machines/{apart.id}/move/", {name: form[name].value() or "" for name in form.fields}
        )
        assert Job.objects.filter(kind="MIGRATE", machine=apart).exists()

    def test_where_it_can_move_while_it_runs_nothing_is_shut_down(
        self, pair: Any, web1: Machine, as_: Browser, dana: User
    ) -> None:
        answer = as_(dana).get(f"/machines/{web1.id}/move/")
        assert answer.context["form"]["method"].value() == "auto"

    def test_a_refusal_names_the_option_of_the_form_and_keeps_what_was_typed(
        self, apart: Machine, as_: Browser, dana: User
    ) -> None:
        typed = {"host": "xen2", "method": "auto", "rate": "40"}
        answer = as_(dana).post(f"/machines/{apart.id}/move/", typed)
        text = answer.content.decode()
        assert answer.status_code == 400
        assert "“Switched off” (method cold)" in errors_beside(text, "id_method")
        assert "Switched off: copied" in text
        assert 'value="40"' in tag_of(text, "id_rate")
        assert re.search(r'value="xen2" checked', text)
        assert not Job.objects.filter(kind="MIGRATE").exists()

    @pytest.mark.parametrize("rate", ["fast", "-1", "1.5", "100001"])
    def test_a_speed_that_is_none_is_said_beside_it(
        self, apart: Machine, as_: Browser, dana: User, rate: str
    ) -> None:
        text = (
            as_(dana)
            .post(f"/machines/{apart.id}/move/", {"host": "xen2", "method": "cold", "rate": rate})
            .content.decode()
        )
        assert errors_beside(text, "id_rate")
        assert f'value="{rate}"' in tag_of(text, "id_rate")
        assert re.search(r'<option value="cold" selected>', text)

    def test_a_machine_that_is_gone_or_a_method_that_is_none(
        self, apart: Machine, as_: Browser, dana: User
    ) -> None:
        page = f"/machines/{apart.id}/move/"
        assert as_(dana).post(page, {"host": "xen9", "method": "cold"}).status_code == 400
        assert as_(dana).post(page, {"host": "xen2", "method": "magic"}).status_code == 400


class TestOtherForms:
    def test_a_host_that_is_known_is_said_beside_the_box(self, as_: Browser, xen1: Any, dana: User) -> None:
        answer = as_(dana).post("/add-host/", {"name": "xen1"})
        text = answer.content.decode()
        assert answer.status_code == 400
        assert "Allow it to join again" in errors_beside(text, "id_is_rejoin")
        assert 'value="xen1"' in tag_of(text, "id_name")

    def test_deleting_keeps_the_wrong_name(self, as_: Browser, web1: Machine, alice: User) -> None:
        text = as_(alice).post(f"/machines/{web1.id}/delete/", {"name": "web2"}).content.decode()
        assert "does not match" in errors_beside(text, "name")
        assert 'value="web2"' in tag_of(text, "name")

    def test_deleting_what_is_busy_says_so_there(self, as_: Browser, web1: Machine, alice: User) -> None:
        as_(alice).post(f"/machines/{web1.id}/actions/reboot/")
        answer = as_(alice).post(f"/machines/{web1.id}/delete/", {"name": "web1"})
        assert answer.status_code == 409
        assert "A job is in progress for web1" in errors_beside(answer.content.decode(), "name")

    def test_the_words_for_a_dead_host_stay(
        self, as_: Browser, pair: Any, web1: Machine, dana: User, settings: Any, tmp_path: Path
    ) -> None:
        later = NOW + timedelta(seconds=60)
        fall_silent_with_a_fence(pair, web1, settings, tmp_path, now=later)
        with time_machine.travel(later):
            answer = as_(dana).post("/hosts/xen1/restart-elsewhere/", {"words": "xen1 is of"})
        text = answer.content.decode()
        assert "xen1 is off" in errors_beside(text, "words")
        assert 'value="xen1 is of"' in tag_of(text, "words")

    def test_balancing_keeps_what_was_ticked(self, as_: Browser, pair: Any, dana: User) -> None:
        answer = as_(dana).post("/balance/", {"machine": ["nonsense"]})
        assert answer.status_code == 400
        assert 'role="alert"' in answer.content.decode()

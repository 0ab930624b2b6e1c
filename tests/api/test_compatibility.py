"""What docs/compatibility.md promises to those who wrote a client: values that grow, null, going slowly."""

import tomllib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import yaml
from rest_framework.test import APIRequestFactory, force_authenticate

from tests.api.test_schema import COMMITTED
from tests.conventions.tree import ROOT
from webxen.api import machines
from webxen.api.base import ApiView
from webxen.api.deprecation import Deprecation
from webxen.jobs.models import Job
from worker import contract

SCHEMAS = yaml.load(COMMITTED.read_text(), Loader=yaml.CSafeLoader)["components"]["schemas"]
#: (schema, field) of answers whose values grow
OPEN = [
    ("Job", "kind"),
    ("Job", "step"),
    ("JobEvent", "event"),
    ("JobEvent", "step"),
    ("Error", "code"),
    ("Problem", "code"),
    ("Migration", "method"),
    ("Migration", "phase"),
    ("Migration", "verdict"),
    ("Fit", "method"),
    ("Evacuation", "kind"),
    ("Evacuation", "status"),
    ("Step", "status"),
    ("Fencing", "status"),
]


class TestValuesThatGrow:
    @pytest.mark.parametrize(("schema", "field"), OPEN)
    def test_are_text_in_the_document(self, schema, field):
        described = SCHEMAS[schema]["properties"][field]
        assert "string" in described["type"]
        assert "enum" not in described

    def test_actions_are_a_list_of_text_that_names_those_known(self):
        described = SCHEMAS["Machine"]["properties"]["allowed_actions"]
        assert described["items"] == {"type": "string"}
        assert all(f"`{action}`" in described["description"] for action in contract.ACTIONS)
        assert "More may be added." in described["description"]

    def test_a_job_of_a_kind_of_tomorrow_is_shown(self, as_alice, order_machine):
        job = order_machine("web1")
        Job.objects.filter(id=job.id).update(kind="SNAPSHOT")
        assert as_alice.get(f"jobs/{job.id}/").json()["kind"] == "SNAPSHOT"
        assert as_alice.get("jobs/").json()["results"][0]["kind"] == "SNAPSHOT"
        assert as_alice.get(f"machines/{job.machine_id}/").json()["open_job"]["kind"] == "SNAPSHOT"

    def test_charlie_gets_404_whatever_the_kind(self, as_charlie, order_machine, elsewhere):
        job = order_machine("web1")
        Job.objects.filter(id=job.id).update(kind="SNAPSHOT")
        assert as_charlie.get(f"jobs/{job.id}/").status_code == 404

    def test_states_that_nobody_sees_are_not_named(self, as_alice, web1):
        assert "DELETED" not in str(SCHEMAS["MachineStateEnum"])
        assert "REMOVED" not in str(SCHEMAS["HostStateEnum"])
        assert as_alice.get("machines/?state=DELETED").status_code == 400


class TestNone:
    def test_what_is_not_there_is_null(self, as_alice, order_machine, web1):
        job = as_alice.get(f"jobs/{order_machine('web2').id}/").json()
        assert (job["step"], job["waiting_for"], job["console_tail"]) == (None, None, None)
        assert as_alice.get(f"machines/{web1.id}/").json()["state_reason"] is None


class TestVersion:
    def test_says_which_portal_it_is(self, as_reader):
        assert as_reader.get("version/").json() == {
            "portal": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
            "api": 1,
            "oldest_worker": contract.PROTOCOL_VERSION,
        }

    def test_says_it_to_nobody_else(self, nobody):
        assert nobody.get("version/").status_code == 401


class TestDeprecation:
    @pytest.mark.django_db
    def test_is_said_in_the_headers(self, alice):
        class Old(ApiView):
            deprecation = Deprecation("2027-01-31", "2028-01-31", "https://portal/docs/")

            def get(self, request):
                return self.one({}, machines.NoBody)

        request = APIRequestFactory().get("/")
        force_authenticate(request, alice)
        headers = Old.as_view()(request).headers
        assert headers["Deprecation"] == f"@{int(datetime(2027, 1, 31, tzinfo=UTC).timestamp())}"
        assert parsedate_to_datetime(headers["Sunset"]) == datetime(2028, 1, 31, tzinfo=UTC)
        assert headers["Link"] == '<https://portal/docs/>; rel="deprecation"'

    def test_is_not_said_of_what_stays(self, as_alice):
        assert "Deprecation" not in as_alice.get("me/").headers

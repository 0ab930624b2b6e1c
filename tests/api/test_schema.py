"""The OpenAPI document is what is committed, and the page on it keeps the policy."""

import re
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator

from webxen.api import schema
from webxen.api.urls import urlpatterns

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.yaml"


class TestDocument:
    def test_is_the_committed_one(self, tmp_path):
        """After a change: `manage.py spectacular --file docs/openapi.yaml`, and look at the difference."""
        made = tmp_path / "openapi.yaml"
        call_command("spectacular", file=str(made), validate=True, fail_on_warn=True)
        assert made.read_text() == COMMITTED.read_text()

    def test_has_every_address(self):
        paths = yaml.load(COMMITTED.read_text(), Loader=yaml.CSafeLoader)["paths"]
        hidden = {"schema", "docs", "nowhere"}
        assert len(paths) == len([route for route in urlpatterns if route.name not in hidden])

    @pytest.mark.django_db
    def test_is_served(self, client):
        answer = client.get("/api/v1/schema/")
        assert answer.status_code == 200
        assert yaml.load(answer.content, Loader=yaml.CSafeLoader)["openapi"].startswith("3.1")
        json_answer = client.get("/api/v1/schema/", headers={"accept": "application/json"})
        assert json_answer.json()["openapi"].startswith("3.1")

    @pytest.mark.django_db
    @pytest.mark.parametrize("kind", ["application/json", "application/vnd.oai.openapi"])
    def test_is_built_once_however_often_it_is_asked_for(self, client, monkeypatch, kind):
        schema._built.clear()
        built = []
        get_schema = SchemaGenerator.get_schema

        def count(*args, **kwargs):
            built.append(kwargs)
            return get_schema(*args, **kwargs)

        monkeypatch.setattr(SchemaGenerator, "get_schema", count)
        ask = {"accept": kind, "accept-language": "ru"}
        answers = [client.get(f"/api/v1/schema/?n={n}&lang=ru", headers=ask) for n in range(5)]
        assert len(built) == 1
        assert len({answer.content for answer in answers}) == 1
        assert not re.search("[а-я]", answers[0].content.decode())

    @pytest.mark.django_db
    def test_is_not_sent_again_to_who_has_it(self, client):
        first = client.get("/api/v1/schema/")
        again = client.get("/api/v1/schema/", headers={"if-none-match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]


class TestReference:
    @pytest.mark.django_db
    def test_runs_no_script_from_elsewhere_or_inline(self, client):
        answer = client.get("/api/v1/docs/")
        assert answer.status_code == 200
        policy = answer["Content-Security-Policy"]
        (scripts,) = [part for part in policy.split("; ") if part.startswith("script-src")]
        assert scripts == "script-src 'self'"
        page = answer.content.decode()
        assert "<script>" not in page
        assert "http://" not in page
        assert "https://" not in page

    @pytest.mark.django_db
    def test_has_its_own_parts(self, client):
        page = client.get("/api/v1/docs/").content.decode()
        assert "/static/drf_spectacular_sidecar/" in page
        script = client.get("/api/v1/docs/?script=")
        assert script.status_code == 200
        assert "SwaggerUIBundle" in script.content.decode()

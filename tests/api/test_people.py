"""Oneself, one's tokens, the catalogue."""

import uuid

import pytest

from webxen.accounts.models import ApiToken


class TestMe:
    def test_says_what_ones_projects_have_and_hold(self, as_alice, web1, order_machine):
        order_machine("web2")
        seen = as_alice.get("me/").json()
        assert (seen["username"], seen["is_staff"]) == ("alice", False)
        (project,) = seen["projects"]
        assert (project["slug"], project["role"]) == ("lab", "OWNER")
        assert project["quota"] == {
            "machines": {"used": 1, "reserved": 1, "limit": 10},
            "vcpus": {"used": 1, "reserved": 1, "limit": 16},
            "memory_mib": {"used": 256, "reserved": 256, "limit": 4096},
            "disk_gib": {"used": 1, "reserved": 1, "limit": 100},
        }

    def test_says_which_token_asks(self, as_reader, client, alice):
        token = as_reader.get("me/").json()["token"]
        assert (token["name"], token["scopes"], token["expires_at"]) == ("test", ["read"], None)
        client.force_login(alice)
        assert client.get("/api/v1/me/").json()["token"] is None

    def test_says_none_of_anothers(self, as_charlie, lab, elsewhere):
        assert [row["slug"] for row in as_charlie.get("me/").json()["projects"]] == ["elsewhere"]


class TestTokens:
    def test_are_made_with_a_secret_that_is_shown_once(self, as_alice):
        made = as_alice.post("tokens/", {"name": "laptop", "scopes": ["read"]})
        assert made.status_code == 201
        secret = made.json()["secret"]
        assert secret.startswith("wx_")
        assert made["Cache-Control"] == "no-store"
        assert secret not in as_alice.get("tokens/").content.decode()
        again = as_alice.get("me/", Authorization=f"Bearer {secret}")
        assert again.json()["username"] == "alice"

    def test_that_may_read_may_not_make_one(self, as_reader):
        answer = as_reader.post("tokens/", {"name": "more"})
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")

    def test_that_have_expired_open_nothing(self, as_alice):
        body = {"name": "short", "expires_at": "2026-11-24T12:00:01Z"}
        secret = as_alice.post("tokens/", body).json()["secret"]
        ApiToken.objects.filter(name="short").update(expires_at="2026-11-24T11:00:00Z")
        assert as_alice.get("me/", Authorization=f"Bearer {secret}").status_code == 401

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": 5},
            {"name": "a\nb"},
            {"name": "a\x00"},
            {"name": "x" * 100},
            {"name": "a", "scopes": "read"},
            {"name": "a", "scopes": ["admin"]},
            {"name": "a", "scopes": [1]},
            {"name": "a", "expires_at": "yesterday"},
            {"name": "a", "expires_at": "2020-01-01T00:00:00Z"},
            {"name": "a", "expires_at": 5},
            {"name": "a", "user": "dana"},
            {"name": "a", "is_staff": True},
        ],
    )
    def test_refuse_bad_input(self, body, as_alice):
        answer = as_alice.post("tokens/", body)
        assert answer.status_code == 400
        assert answer.json()["errors"]
        assert ApiToken.objects.count() == 1

    def test_of_others_are_not_there(self, as_alice, as_charlie):
        theirs = as_alice.get("tokens/").json()["results"][0]["id"]
        assert as_charlie.ask("DELETE", f"tokens/{theirs}/").status_code == 404
        assert as_charlie.ask("DELETE", f"tokens/{uuid.uuid4()}/").status_code == 404
        assert theirs not in as_charlie.get("tokens/").content.decode()
        assert as_alice.get("me/").status_code == 200

    def test_can_be_asked_for_one_by_one(self, as_alice, as_charlie):
        made = as_alice.post("tokens/", {"name": "laptop"})
        assert made["Location"].endswith(f"/api/v1/tokens/{made.json()['id']}/")
        shown = as_alice.get(f"tokens/{made.json()['id']}/").json()
        assert (shown["name"], shown["user"]) == ("laptop", "alice")
        assert "secret" not in shown
        assert as_charlie.get(f"tokens/{made.json()['id']}/").status_code == 404

    def test_made_with_a_token_die_with_it(self, as_alice):
        parent = as_alice.post("tokens/", {"name": "parent", "expires_at": "2026-11-24T12:00:20Z"}).json()
        bearer = {"Authorization": f"Bearer {parent['secret']}"}
        child = as_alice.post("tokens/", {"name": "child"}, **bearer).json()
        assert (child["made_with"], child["expires_at"]) == (parent["id"], parent["expires_at"])
        assert as_alice.ask("DELETE", f"tokens/{parent['id']}/").status_code == 204
        assert as_alice.get("me/", Authorization=f"Bearer {child['secret']}").status_code == 401

    def test_of_everybody_are_seen_and_revoked_by_staff(self, as_alice, as_dana):
        made = as_alice.post("tokens/", {"name": "laptop"}).json()
        rows = as_dana.get("tokens/?user=alice").json()["results"]
        assert {row["user"] for row in rows} == {"alice"}
        assert made["id"] in {row["id"] for row in rows}
        assert {row["user"] for row in as_dana.get("tokens/").json()["results"]} == {"alice", "dana"}
        assert as_dana.ask("DELETE", f"tokens/{made['id']}/").status_code == 204
        assert as_alice.get("me/", Authorization=f"Bearer {made['secret']}").status_code == 401

    def test_are_not_made_without_end(self, as_alice, settings):
        settings.WEBXEN_TOKENS_PER_PERSON = 2
        as_alice.post("tokens/", {"name": "laptop"})
        answer = as_alice.post("tokens/", {"name": "one more"})
        assert (answer.status_code, answer.json()["code"]) == (409, "TOO_MANY_TOKENS")


class TestAudit:
    @pytest.mark.parametrize("name", ["actor", "action", "target", "token", "request_id", "address"])
    def test_is_looked_through_by_one_word(self, as_alice, as_dana, name):
        made = as_alice.post("tokens/", {"name": "laptop"}, X_Request_Id="mine").json()
        line = as_dana.get("audit/?request_id=mine").json()["results"][0]
        assert (line["action"], line["target_id"], line["request_id"]) == ("CREATE_TOKEN", made["id"], "mine")
        assert line["address"] == "127.0.0.1"
        value = {"target": line["target_id"]}.get(name) or line[name]
        found = as_dana.get(f"audit/?{name}={value}").json()["results"]
        assert line in found
        other = {"token": "00000000-0000-4000-8000-000000000000"}.get(name, "nothing")
        assert as_dana.get(f"audit/?{name}={other}").json()["results"] == []

    def test_is_looked_through_by_time(self, as_alice, as_dana):
        made = as_alice.post("tokens/", {"name": "laptop"}).json()
        asked = f"audit/?target={made['id']}"
        at = as_dana.get(asked).json()["results"][0]["at"]
        assert as_dana.get(f"{asked}&since={at}").json()["results"]
        assert as_dana.get(f"{asked}&before={at}").json()["results"] == []
        assert as_dana.get("audit/?since=yesterday").status_code == 400

    def test_shows_ones_own_lines_and_staff_all(self, as_alice, as_charlie, as_dana, web1):
        as_alice.post(f"machines/{web1.id}/reboot/")
        line = as_alice.get("audit/").json()["results"][0]
        assert (line["actor"], line["action"], line["target_name"]) == ("alice", "REBOOT_MACHINE", "web1")
        assert line in as_dana.get("audit/").json()["results"]
        assert {row["actor"] for row in as_charlie.get("audit/").json()["results"]} == {"charlie"}

    def test_holds_no_secret(self, as_alice, as_dana):
        secret = as_alice.post("tokens/", {"name": "laptop"}).json()["secret"]
        assert secret not in as_dana.get("audit/?limit=200").content.decode()


class TestCatalogue:
    def test_shows_what_machines_are_made_of(self, as_charlie, minimal, small, lan):
        (image,) = as_charlie.get("images/").json()["results"]
        assert (image["slug"], image["min_memory_mib"]) == ("minimal", 128)
        assert not {"file", "sha256", "kernel"} & set(image)
        (size,) = as_charlie.get("sizes/").json()["results"]
        assert (size["slug"], size["vcpus"], size["memory_mib"], size["disk_gib"]) == ("small", 1, 256, 1)
        (network,) = as_charlie.get("networks/").json()["results"]
        assert (network["name"], network["cidr"]) == ("lan", "10.0.2.0/24")

    def test_shows_staff_the_hosts_with_their_facts_in_order(self, as_dana, xen1):
        (host,) = as_dana.get("hosts/").json()["results"]
        assert host["name"] == "xen1"
        assert list(host["facts"])[:3] == ["host", "release", "nr_cpus"]
        assert [pool["name"] for pool in host["pools"]] == ["local"]
        assert "public_key" not in host
        assert as_dana.get(f"hosts/{xen1.id}/").json() == host
        (pool,) = as_dana.get("pools/").json()["results"]
        assert (pool["host"], pool["total_mib"]) == ("xen1", 204800)

    def test_shows_a_retired_image_to_staff_alone(self, as_alice, as_dana, minimal):
        type(minimal).objects.update(is_active=False)
        assert as_alice.get("images/").json()["results"] == []
        assert [row["is_active"] for row in as_dana.get("images/").json()["results"]] == [False]

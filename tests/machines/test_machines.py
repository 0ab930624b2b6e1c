"""Seeing machines, and changing their words."""

import pytest

from webxen.core.errors import InvalidError, NotFoundError
from webxen.core.models import AuditEntry
from webxen.machines import naming, operations, queries
from webxen.machines.models import Machine


class TestVisible:
    def test_members_and_staff_see_it_and_charlie_does_not(self, web1, alice, bob, charlie, dana, elsewhere):
        for person in (alice, bob, dana):
            assert queries.get_visible(user=person, id=web1.id) == web1
        assert not queries.visible_to(user=charlie).exists()
        with pytest.raises(NotFoundError):
            queries.get_visible(user=charlie, id=web1.id)

    def test_a_deleted_one_is_gone_for_everybody(self, web1, alice, dana):
        Machine.objects.filter(id=web1.id).update(state="DELETED")
        for person in (alice, dana):
            with pytest.raises(NotFoundError):
                queries.get_visible(user=person, id=web1.id)


class TestEditMachine:
    def test_changes_what_is_given(self, web1, bob, now):
        edited = operations.edit(
            user=bob, machine_id=web1.id, name="web2", description=" shop ", tags=["b", "a", "a"], now=now
        )
        assert (edited.name, edited.description, edited.tags) == ("web2", "shop", ["a", "b"])
        assert AuditEntry.objects.get(action="EDIT_MACHINE").actor == bob

    def test_changes_nothing_where_nothing_is_new(self, web1, alice, now):
        operations.rename(user=alice, machine_id=web1.id, name="web1", now=now)
        operations.describe(user=alice, machine_id=web1.id, now=now)
        assert not AuditEntry.objects.filter(action="EDIT_MACHINE").exists()

    def test_no_text_hides_another_change_from_the_audit_or_looks_like_one(self, web1, alice, now):
        forged = "x" * 900 + '\n, tags: ["db"]'
        operations.edit(user=alice, machine_id=web1.id, description=forged, tags=["web"], now=now)
        detail = AuditEntry.objects.get(action="EDIT_MACHINE").detail
        assert detail.endswith('tags: ["web"]')
        assert "db" not in detail
        operations.edit(user=alice, machine_id=web1.id, description="a\n, tags: b", now=now)
        detail = AuditEntry.objects.filter(action="EDIT_MACHINE").latest("id").detail
        assert detail == 'description: "a\\n, tags: b"'

    def test_charlie_cannot(self, web1, charlie, elsewhere, now):
        with pytest.raises(NotFoundError):
            operations.edit(user=charlie, machine_id=web1.id, name="mine", now=now)
        web1.refresh_from_db()
        assert web1.name == "web1"

    def test_a_name_is_used_once_in_a_project(self, web1, make_machine, alice, now):
        make_machine("web2")
        with pytest.raises(naming.NameTakenError, match="already has a machine named web2"):
            operations.rename(user=alice, machine_id=web1.id, name="web2", now=now)

    @pytest.mark.parametrize(
        ("field", "untrusted"),
        [
            ("name", "Domain-0"),
            ("name", 7),
            ("description", "x" * 2001),
            ("description", "a\0b"),
            ("description", 7),
            ("tags", "a"),
            ("tags", [""]),
            ("tags", ["x" * 41]),
            ("tags", ["a\nb"]),
            ("tags", [1]),
            ("tags", {"a": 1}),
            ("tags", ["a"] * 21),
        ],
    )
    def test_names_the_wrong_field(self, web1, alice, now, field, untrusted):
        with pytest.raises(InvalidError) as caught:
            operations.edit(user=alice, machine_id=web1.id, now=now, **{field: untrusted})
        assert list(caught.value.fields) == [field]
        assert Machine.objects.filter(name="web1", description="", tags=[]).exists()

"""The audit: who may read which line."""

from webxen.core import audit, queries


class TestAudit:
    def test_people_read_their_own_lines_and_staff_all(self, alice, charlie, dana, now):
        for person in (alice, None):
            audit.record(actor=person, action="START_MACHINE", target_kind="machine", target_id="1", now=now)
        assert [entry.actor for entry in queries.audit_visible_to(user=alice)] == [alice]
        assert not queries.audit_visible_to(user=charlie).exists()
        assert queries.audit_visible_to(user=dana).count() == 2

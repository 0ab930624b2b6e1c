"""Each open reservation gets a line, so that a quota's lines add up to its columns from the start.

Nothing counts as running yet: the next observation of each host says what does.
"""

from typing import Any

from django.db import migrations


def open_ledger(apps: Any, schema_editor: Any) -> None:
    entries = apps.get_model("quotas", "QuotaEntry")
    reservations = apps.get_model("quotas", "Reservation")
    for held in reservations.objects.exclude(status="RELEASED").iterator():
        entries.objects.create(
            quota_id=held.quota_id,
            holder=held.holder,
            kind="OPENING",
            machines=1,
            vcpus=held.vcpus,
            memory_mib=held.memory_mib,
            disk_gib=held.disk_gib,
            why="held when the ledger was begun",
            at=held.created_at,
        )


class Migration(migrations.Migration):
    dependencies = [("quotas", "0002_running_overdraft_and_lines")]

    operations = [migrations.RunPython(open_ledger, migrations.RunPython.noop)]

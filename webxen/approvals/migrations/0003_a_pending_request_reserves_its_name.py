"""Of several pending requests for one name the oldest stays; the others are rejected, with the reason."""

from typing import Any

from django.db import migrations, models
from django.db.models.functions import Now

WHY = "An older request for a machine of this name was pending. Ask again with another name."


def reject_duplicates(apps: Any, schema_editor: Any) -> None:
    requests = apps.get_model("approvals", "MachineRequest").objects.using(schema_editor.connection.alias)
    seen: set[tuple[Any, str]] = set()
    for request in requests.filter(status="PENDING").order_by("created_at", "id"):
        place = (request.project_id, request.name)
        if place in seen:
            requests.filter(id=request.id).update(
                status="REJECTED", decided_at=Now(), decision_reason=WHY, seed={}
            )
        seen.add(place)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0002_requests_for_quota")]

    operations = [
        migrations.RunPython(reject_duplicates, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="machinerequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "PENDING")),
                fields=("project", "name"),
                name="a_pending_request_reserves_its_name",
            ),
        ),
    ]

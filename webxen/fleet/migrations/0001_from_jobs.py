import uuid
from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

MODELS = ("evacuation", "evacuationstep", "fencing")


def _rename(apps: Any, schema_editor: Any, *, old: str, new: str) -> None:
    types = apps.get_model("contenttypes", "ContentType").objects.using(schema_editor.connection.alias)
    types.filter(app_label=old, model__in=MODELS).update(app_label=new)


def take_content_types(apps: Any, schema_editor: Any) -> None:
    """A content type goes with its model, and so do the permissions that refer to it."""
    _rename(apps, schema_editor, old="jobs", new="fleet")


def give_content_types_back(apps: Any, schema_editor: Any) -> None:
    _rename(apps, schema_editor, old="fleet", new="jobs")


class Migration(migrations.Migration):
    """The tables are those that the app `jobs` made: no SQL."""

    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
        ("inventory", "0015_domains_that_are_left_alone"),
        ("jobs", "0008_moves_and_fencings_have_apps_of_their_own"),
        ("machines", "0004_what_was_seen_last"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Evacuation",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        (
                            "kind",
                            models.CharField(
                                choices=[
                                    ("DRAIN", "Drain"),
                                    ("BRING_BACK", "Bring Back"),
                                    ("BALANCE", "Balance"),
                                ],
                                max_length=12,
                            ),
                        ),
                        ("created_at", models.DateTimeField(db_index=True)),
                        ("finished_at", models.DateTimeField(null=True)),
                        ("is_stopped", models.BooleanField(default=False)),
                        ("may_shut_down", models.BooleanField(db_default=False, default=False)),
                        (
                            "asked_by",
                            models.ForeignKey(
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "host",
                            models.ForeignKey(
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="evacuations",
                                to="inventory.host",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "jobs_evacuation",
                        "ordering": ("-created_at",),
                    },
                ),
                migrations.CreateModel(
                    name="EvacuationStep",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                            ),
                        ),
                        (
                            "progress",
                            models.CharField(
                                choices=[
                                    ("WAITING", "Waiting"),
                                    ("MOVING", "Moving"),
                                    ("MOVED", "Moved"),
                                    ("FAILED", "Failed"),
                                    ("CANNOT", "Cannot"),
                                    ("GONE", "Gone"),
                                ],
                                default="WAITING",
                                max_length=8,
                            ),
                        ),
                        ("why", models.TextField(blank=True)),
                        ("expected_seconds", models.PositiveIntegerField(default=0)),
                        (
                            "evacuation",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="steps",
                                to="fleet.evacuation",
                            ),
                        ),
                        (
                            "job",
                            models.ForeignKey(
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="jobs.job",
                            ),
                        ),
                        (
                            "machine",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="machines.machine",
                            ),
                        ),
                        (
                            "source",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="inventory.host",
                            ),
                        ),
                        (
                            "target",
                            models.ForeignKey(
                                null=True,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="inventory.host",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "jobs_evacuationstep",
                        "ordering": ("id",),
                    },
                ),
                migrations.CreateModel(
                    name="Fencing",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("agent", models.CharField(max_length=48)),
                        (
                            "phase",
                            models.CharField(
                                choices=[
                                    ("ASKED", "Asked"),
                                    ("RUNNING", "Running"),
                                    ("OFF", "Off"),
                                    ("FAILED", "Failed"),
                                ],
                                default="ASKED",
                                max_length=8,
                            ),
                        ),
                        ("created_at", models.DateTimeField(db_index=True)),
                        ("begun_at", models.DateTimeField(null=True)),
                        ("finished_at", models.DateTimeField(null=True)),
                        ("off_exit", models.IntegerField(null=True)),
                        ("status_exit", models.IntegerField(null=True)),
                        ("said", models.TextField(blank=True)),
                        ("why", models.TextField(blank=True)),
                        ("machines_started", models.PositiveIntegerField(default=0)),
                        (
                            "asked_by",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "host",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="fencings",
                                to="inventory.host",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "jobs_fencing",
                        "ordering": ("-created_at",),
                    },
                ),
                migrations.AddConstraint(
                    model_name="evacuation",
                    constraint=models.UniqueConstraint(
                        condition=models.Q(("finished_at", None)),
                        fields=("host",),
                        name="one_open_evacuation_per_host",
                    ),
                ),
                migrations.AddConstraint(
                    model_name="evacuationstep",
                    constraint=models.UniqueConstraint(
                        fields=("evacuation", "machine"), name="a_machine_is_once_in_an_evacuation"
                    ),
                ),
                migrations.AddConstraint(
                    model_name="fencing",
                    constraint=models.UniqueConstraint(
                        condition=models.Q(("phase__in", ("ASKED", "RUNNING"))),
                        fields=("host",),
                        name="one_open_fencing_per_host",
                    ),
                ),
            ]
        ),
        migrations.RunPython(take_content_types, give_content_types_back),
    ]

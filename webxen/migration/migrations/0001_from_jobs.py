from typing import Any

import django.db.models.deletion
from django.db import migrations, models

MODELS = ("move", "moveside")


def _rename(apps: Any, schema_editor: Any, *, old: str, new: str) -> None:
    types = apps.get_model("contenttypes", "ContentType").objects.using(schema_editor.connection.alias)
    types.filter(app_label=old, model__in=MODELS).update(app_label=new)


def take_content_types(apps: Any, schema_editor: Any) -> None:
    """A content type goes with its model, and so do the permissions that refer to it."""
    _rename(apps, schema_editor, old="jobs", new="migration")


def give_content_types_back(apps: Any, schema_editor: Any) -> None:
    _rename(apps, schema_editor, old="migration", new="jobs")


class Migration(migrations.Migration):
    """The tables are those that the app `jobs` made: no SQL."""

    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
        ("inventory", "0015_domains_that_are_left_alone"),
        ("jobs", "0008_moves_and_fencings_have_apps_of_their_own"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Move",
                    fields=[
                        (
                            "job",
                            models.OneToOneField(
                                on_delete=django.db.models.deletion.PROTECT,
                                primary_key=True,
                                related_name="move",
                                serialize=False,
                                to="jobs.job",
                            ),
                        ),
                        (
                            "method",
                            models.CharField(
                                choices=[("LIVE", "Live"), ("SUSPENDED", "Suspended"), ("COLD", "Cold")],
                                max_length=12,
                            ),
                        ),
                        (
                            "phase",
                            models.CharField(
                                choices=[
                                    ("WAITING", "Waiting"),
                                    ("PREPARING", "Preparing"),
                                    ("MOVING", "Moving"),
                                    ("SETTLING", "Settling"),
                                    ("UNKNOWN", "Unknown"),
                                    ("ENDED", "Ended"),
                                ],
                                db_index=True,
                                default="WAITING",
                                max_length=12,
                            ),
                        ),
                        ("rate_mib_s", models.PositiveIntegerField(default=0)),
                        ("deadline_seconds", models.PositiveIntegerField()),
                        ("copied", models.JSONField(default=list)),
                        ("restarts", models.BooleanField(db_default=False, default=False)),
                        (
                            "verdict",
                            models.CharField(
                                blank=True,
                                choices=[("MOVED", "Moved"), ("STAYED", "Stayed"), ("UNKNOWN", "Unknown")],
                                max_length=8,
                            ),
                        ),
                        ("why", models.TextField(blank=True)),
                        ("begun_at", models.DateTimeField(null=True)),
                        ("decided_at", models.DateTimeField(null=True)),
                        ("discard_asked_at", models.DateTimeField(null=True)),
                        ("discarded_at", models.DateTimeField(null=True)),
                        (
                            "source",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="moves_out",
                                to="inventory.host",
                            ),
                        ),
                        (
                            "target",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="moves_in",
                                to="inventory.host",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "jobs_move",
                    },
                ),
                migrations.CreateModel(
                    name="MoveSide",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                            ),
                        ),
                        (
                            "side",
                            models.CharField(
                                choices=[("SOURCE", "Source"), ("TARGET", "Target")], max_length=6
                            ),
                        ),
                        ("sequence", models.IntegerField(default=-1)),
                        ("facts", models.JSONField(default=dict)),
                        ("facts_at", models.DateTimeField(null=True)),
                        ("ordered_at", models.DateTimeField(null=True)),
                        ("rung_at", models.DateTimeField(null=True)),
                        ("heard_at", models.DateTimeField(null=True)),
                        ("end", models.CharField(blank=True, max_length=12)),
                        ("ended_at", models.DateTimeField(null=True)),
                        ("error_code", models.CharField(blank=True, max_length=40)),
                        ("error_message", models.TextField(blank=True)),
                        (
                            "cleaning",
                            models.CharField(
                                blank=True,
                                choices=[
                                    ("", "None"),
                                    ("ASKED", "Asked"),
                                    ("DONE", "Done"),
                                    ("REFUSED", "Refused"),
                                ],
                                default="",
                                max_length=8,
                            ),
                        ),
                        ("cleaning_message", models.TextField(blank=True)),
                        ("cleaning_job", models.UUIDField(db_index=True, null=True)),
                        ("refusals", models.PositiveSmallIntegerField(default=0)),
                        (
                            "host",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="inventory.host",
                            ),
                        ),
                        (
                            "move",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="sides",
                                to="migration.move",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "jobs_moveside",
                        "ordering": ("side",),
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("move", "side"), name="a_move_has_one_row_for_each_side"
                            )
                        ],
                    },
                ),
            ]
        ),
        migrations.RunPython(take_content_types, give_content_types_back),
    ]

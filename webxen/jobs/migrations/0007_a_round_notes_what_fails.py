from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0006_a_policy_asks_for_a_job")]

    operations = [
        migrations.CreateModel(
            name="RoundFailure",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("step", models.CharField(max_length=40)),
                ("about", models.CharField(max_length=80)),
                ("error", models.CharField(max_length=80)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("times", models.PositiveIntegerField(default=1)),
            ],
            options={
                "ordering": ("step", "about"),
                "constraints": [
                    models.UniqueConstraint(fields=("step", "about"), name="a_round_notes_a_failure_once")
                ],
            },
        ),
    ]

"""Kinds are rows of `worker.contract.verbs`: another verb needs no migration."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0009_an_error_has_a_reference")]

    operations = [
        migrations.AlterField(
            model_name="job",
            name="kind",
            field=models.CharField(max_length=32),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0011_restored_backups_are_looked_at"),
    ]

    operations = [
        migrations.AddField(
            model_name="host",
            name="left_out",
            field=models.JSONField(
                db_default=models.Value({}, output_field=models.JSONField()), default=dict
            ),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0004_observations_are_counted"),
    ]

    operations = [
        migrations.AddField(
            model_name="pool",
            name="shared_id",
            field=models.CharField(blank=True, db_index=True, db_default="", default="", max_length=80),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0009_since_when_a_host_is_heard"),
    ]

    operations = [
        migrations.AddField(
            model_name="host",
            name="has_own_queues",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]

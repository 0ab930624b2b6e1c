from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0012_a_host_may_be_odd"),
    ]

    operations = [
        migrations.AddField(
            model_name="pool",
            name="is_shared",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]

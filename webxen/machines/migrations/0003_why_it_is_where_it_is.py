from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("machines", "0002_the_config_is_kept"),
    ]

    operations = [
        migrations.AddField(
            model_name="machine",
            name="placement",
            field=models.JSONField(null=True),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0015_domains_that_are_left_alone")]

    operations = [
        migrations.AddField(
            model_name="host", name="reports_dropped_at", field=models.DateTimeField(null=True)
        ),
        migrations.AddField(
            model_name="host", name="console_skipped_at", field=models.DateTimeField(null=True)
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("machines", "0003_why_it_is_where_it_is")]

    operations = [
        migrations.AddField(
            model_name="machine",
            name="last_power",
            field=models.CharField(blank=True, db_default="", default="", max_length=12),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0013_a_pool_says_that_it_is_shared")]

    operations = [
        migrations.AddField(
            model_name="pool",
            name="promised_mib",
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
    ]

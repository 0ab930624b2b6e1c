from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0008_a_host_of_another_version")]

    operations = [
        migrations.AddField(model_name="host", name="heard_since", field=models.DateTimeField(null=True)),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0003_lines_know_their_request")]

    operations = [
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["address", "-id"], name="audit_by_address"),
        ),
    ]

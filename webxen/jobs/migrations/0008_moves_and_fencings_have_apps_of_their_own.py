from django.db import migrations


class Migration(migrations.Migration):
    """The models go to the apps `migration` and `fleet`, which make them anew of the same tables: no SQL."""

    dependencies = [
        ("jobs", "0007_a_round_notes_what_fails"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel(name="EvacuationStep"),
                migrations.DeleteModel(name="Evacuation"),
                migrations.DeleteModel(name="Fencing"),
                migrations.DeleteModel(name="MoveSide"),
                migrations.DeleteModel(name="Move"),
            ]
        )
    ]

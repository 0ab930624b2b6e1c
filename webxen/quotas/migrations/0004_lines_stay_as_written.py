"""The database refuses to change a line of the ledger; PostgreSQL refuses to delete one, too.

SQLite has no such refusal for DELETE: emptying a table is a DELETE there, and a test database must be
emptied. `queries.drift` shows a line that is missing.
"""

from typing import Any

from django.db import migrations

SAYS = "a line of the quota ledger is never changed"
POSTGRESQL = f"""
CREATE FUNCTION quotas_line_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{SAYS}' USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER quotas_line_stays BEFORE UPDATE OR DELETE ON quotas_quotaentry
FOR EACH ROW EXECUTE FUNCTION quotas_line_stays();
"""
SQLITE = f"""
CREATE TRIGGER quotas_line_stays BEFORE UPDATE ON quotas_quotaentry
BEGIN SELECT RAISE(ABORT, '{SAYS}'); END
"""


def refuse_changes(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL, params=None)
    else:
        schema_editor.execute(SQLITE, params=None)


def allow_changes(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER quotas_line_stays ON quotas_quotaentry", params=None)
        schema_editor.execute("DROP FUNCTION quotas_line_stays()", params=None)
    else:
        schema_editor.execute("DROP TRIGGER quotas_line_stays", params=None)


class Migration(migrations.Migration):
    dependencies = [("quotas", "0003_the_ledger_opens")]

    operations = [migrations.RunPython(refuse_changes, allow_changes)]

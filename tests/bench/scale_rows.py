"""Store many rows at once for the scale benchmark: a prepared INSERT on SQLite, COPY on PostgreSQL.

Model instances would take minutes. Foreign keys are not checked while rows are stored; the callers know them.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Any

from django.db import connection, models, transaction

Row = dict[str, Any]


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """Disable syncing and foreign-key checks: the data is deleted afterwards."""
    is_sqlite = connection.vendor == "sqlite"
    before = ("foreign_keys = OFF", "journal_mode = OFF", "synchronous = OFF", "cache_size = -400000")
    after = ("foreign_keys = ON", "journal_mode = WAL", "synchronous = NORMAL", "cache_size = -2000")
    with connection.cursor() as cursor:
        for said in before if is_sqlite else ():
            cursor.execute(f"PRAGMA {said}")
        if not is_sqlite:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute("SET synchronous_commit = off")
        try:
            yield
        finally:
            for said in after if is_sqlite else ():
                cursor.execute(f"PRAGMA {said}")
            if not is_sqlite:
                cursor.execute("RESET session_replication_role")
                cursor.execute("RESET synchronous_commit")
            cursor.execute("ANALYZE" if is_sqlite else "VACUUM ANALYZE")


def store(model: type[models.Model], rows: Iterable[Row]) -> None:
    """Store rows with the same columns (`host_id`, not `host`); other columns get their defaults."""
    waiting = iter(rows)
    first = next(waiting, None)
    if first is None:
        return
    fields = [one for one in model._meta.concrete_fields if not isinstance(one, models.AutoField)]
    given = [one for one in fields if one.attname in first]
    rest = [one for one in fields if one.attname not in first]
    same = tuple(one.get_db_prep_save(one.get_default(), connection) for one in rest)
    turned = [(one.attname, _converter(one)) for one in given]
    values = (
        (*[turn(row[name]) if turn else row[name] for name, turn in turned], *same)
        for row in chain((first,), waiting)
    )
    columns = ", ".join(f'"{one.column}"' for one in (*given, *rest))
    table = f'"{model._meta.db_table}" ({columns})'
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            marks = ", ".join("?" * len(fields))
            # Django's cursor would convert the placeholders of each row
            cursor.connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
            return
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for one in values:
                copy.write_row(one)


def _converter(field: "models.Field[Any, Any]") -> Callable[[Any], Any] | None:
    """Return the conversion of a value for the database; None: unchanged."""
    target = field.target_field if isinstance(field, models.ForeignKey) else field
    if isinstance(target, models.UUIDField):
        return None if connection.vendor == "postgresql" else lambda value: value and value.hex
    if isinstance(target, models.DateTimeField):
        return cache(lambda value: target.get_db_prep_save(value, connection))
    if isinstance(target, models.JSONField):
        return lambda value: target.get_db_prep_save(value, connection)
    return None

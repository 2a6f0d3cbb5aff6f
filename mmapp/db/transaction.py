"""One open transaction, and what every query needs of it: the clock, and inserts that happen once.

Moments come from the database's clock where it has one, because leases are compared across
machines. Called by the modules of queries beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

#: Fewer bound values than the 32,766 that SQLite allows in one statement.
CHUNK = 500


class Transaction:
    """One open transaction of one database."""

    def __init__(self, connection: Connection) -> None:
        self.execute = connection.execute
        self.is_postgresql = connection.dialect.name == "postgresql"

    def now(self) -> datetime:
        """The database's clock."""
        if not self.is_postgresql:
            return datetime.now(UTC)
        moment: datetime = self.execute(select(func.now())).scalar_one()
        return moment.astimezone(UTC)

    def moment(self, offset_s: float = 0.0) -> Any:
        """A moment in SQL: PostgreSQL's clock; SQLite has one machine and so one clock anyway."""
        if not self.is_postgresql:
            return datetime.now(UTC) + timedelta(seconds=offset_s)
        return func.now() + literal(timedelta(seconds=offset_s))

    def one(self, query: Select[Any]) -> Row[Any] | None:
        return self.execute(query).one_or_none()

    def insert_once(self, table: Table, values: Mapping[str, Any]) -> bool:
        """Inserts unless the key is there; whether it did."""
        dialect = postgresql if self.is_postgresql else sqlite
        statement = dialect.insert(table).values(values).on_conflict_do_nothing()
        inserted = self.execute(statement.returning(*table.primary_key))
        return inserted.one_or_none() is not None


def columns(value: Any) -> dict[str, Any]:
    """A frozen value as columns: our values and tables use the same names."""
    return {field.name: getattr(value, field.name) for field in fields(value)}

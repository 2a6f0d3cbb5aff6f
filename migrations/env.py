"""What Alembic runs for each command: `mmapp.db.migrate` hands over the URL in `attributes`.

For a developer (`alembic -c migrations/alembic.ini revision --autogenerate …`) the URL comes from
the settings, as everywhere else.
"""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy
from alembic import context

from mmapp.config import load_settings
from mmapp.db import connectable
from mmapp.db.tables import metadata


def run() -> None:
    url = context.config.attributes.get("url") or load_settings().sqlalchemy_url
    engine = connectable(url)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # A batch migration drops and renames tables, which must not touch their children.
            connection.connection.execute("PRAGMA foreign_keys = OFF")
        context.configure(
            connection=connection.execution_options(immediate=True),
            target_metadata=metadata,
            render_as_batch=True,
            compare_server_default=True,
            render_item=_render_type,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


def _render_type(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Our own column types as what the database sees, so that migrations outlive our code."""
    if kind == "type" and isinstance(item, sqlalchemy.TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


run()

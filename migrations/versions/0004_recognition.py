"""What there is to be done about words in a page's pictures

Revision 0004. Pages without words that were stored before are looked at when a job needs them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATES = ("not_needed", "wanted", "done", "illegible")


def upgrade() -> None:
    states = sa.Enum(
        *STATES, native_enum=False, create_constraint=True, length=32, name="recognition"
    )
    with op.batch_alter_table("pages") as batch_op:
        batch_op.add_column(sa.Column("recognition", states, nullable=True))
    op.execute(
        "UPDATE pages SET recognition = 'wanted' WHERE characters = 0 AND error = ''"
        " AND document_sha256 IN (SELECT sha256 FROM documents WHERE media_type NOT LIKE 'text/%')"
    )


def downgrade() -> None:
    with op.batch_alter_table("pages") as batch_op:
        batch_op.drop_constraint(op.f("ck_pages_recognition"), type_="check")
        batch_op.drop_column("recognition")

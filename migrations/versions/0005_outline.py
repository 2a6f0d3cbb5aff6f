"""The outline that a PDF brings with it

Revision 0005. Documents stored before have none told; their sections are found by headings.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mmapp.db.tables import PackedJson

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("documents") as batch_op:
        batch_op.add_column(sa.Column("outline", PackedJson(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("documents") as batch_op:
        batch_op.drop_column("outline")

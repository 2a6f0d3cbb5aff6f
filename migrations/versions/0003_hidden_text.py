"""Words of a page's text layer that the page does not show

Revision 0003. Pages stored before have none told.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mmapp.db.tables import PackedJson

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("pages") as batch_op:
        batch_op.add_column(sa.Column("hidden", PackedJson(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("pages") as batch_op:
        batch_op.drop_column("hidden")

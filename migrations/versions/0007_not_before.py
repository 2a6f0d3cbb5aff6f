"""A moment before which a job is not tried again

Revision 0007. Jobs stored before are tried at once.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mmapp.db.tables import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.add_column(sa.Column("not_before", UtcDateTime(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.drop_column("not_before")

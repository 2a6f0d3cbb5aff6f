"""Whose a job is, and the indexes by which owners take turns

Revision 0011. Jobs stored before are those of the one local user.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.add_column(sa.Column("owner", sa.Text(), nullable=False, server_default="local"))
        batch_op.create_index("ix_jobs_line", ["status", "priority", "owner", "queued_at", "id"])
        batch_op.create_index("ix_jobs_turn", ["owner", "priority", "started_at"])


def downgrade() -> None:
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.drop_index("ix_jobs_turn")
        batch_op.drop_index("ix_jobs_line")
        batch_op.drop_column("owner")

"""Turns of sweepers, and the index by which jobs are found that nobody was told of

Revision 0014. A sweep looked at every waiting job and every worker, and every worker swept.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_sent", "jobs", ["status", "sent_at"])
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("swept_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rounds", sa.BigInteger(), nullable=False),
        sa.Column("freed", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("counters", sa.JSON(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_sweeps_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
    )


def downgrade() -> None:
    op.drop_table("sweeps")
    op.drop_index("ix_jobs_sent", "jobs")

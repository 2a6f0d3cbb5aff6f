"""What workers count, and indexes for figures and for removal

Revision 0009. Whoever deletes a job makes the database look for rows that refer to it, and whoever
looks at the system asks for the jobs that ended lately.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("counters", sa.JSON(), nullable=True))
    op.create_index("ix_jobs_result_of", "jobs", ["result_of"])
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"])
    op.create_index("ix_batch_rows_job_id", "batch_rows", ["job_id"])


def downgrade() -> None:
    op.drop_index("ix_batch_rows_job_id", "batch_rows")
    op.drop_index("ix_jobs_finished_at", "jobs")
    op.drop_index("ix_jobs_result_of", "jobs")
    with op.batch_alter_table("workers") as batch_op:
        batch_op.drop_column("counters")

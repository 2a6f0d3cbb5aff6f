"""Indexes by which rows are removed without reading whole tables

Revision 0007. Whoever deletes a job makes the database look for rows that refer to it.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_result_of", "jobs", ["result_of"])
    op.create_index("ix_batch_rows_job_id", "batch_rows", ["job_id"])


def downgrade() -> None:
    op.drop_index("ix_batch_rows_job_id", "batch_rows")
    op.drop_index("ix_jobs_result_of", "jobs")

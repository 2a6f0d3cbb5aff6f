"""What people said of verdicts

Revision 0008. A new table; earlier versions go on without it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

LABELS = ("SUPPORTED", "REFUTED", "NOT_ENOUGH_INFO")


def upgrade() -> None:
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=16), nullable=False),
        sa.Column("claim", sa.Integer(), nullable=True),
        sa.Column(
            "label",
            sa.Enum(*LABELS, name="label", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("claim >= 1", name=op.f("ck_reviews_claim_from_1")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["results.job_id"], name=op.f("fk_reviews_job_id_results")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index("ix_reviews_job_id", "reviews", ["job_id"])


def downgrade() -> None:
    op.drop_index("ix_reviews_job_id", table_name="reviews")
    op.drop_table("reviews")

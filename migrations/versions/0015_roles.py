"""Which roles a job needs, which one next, and what each worker does

Revision 0015. Jobs that wait when this runs begin with the first role, which passes on what it has
nothing to do for; workers that said nothing do all.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ROLES = ("ingest", "encode", "generate")
LINE = ("status", "role", "priority", "owner", "queued_at", "id")


def upgrade() -> None:
    role = sa.Enum(*ROLES, native_enum=False, create_constraint=True, length=32, name="role")
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.add_column(sa.Column("role", role, nullable=False, server_default="ingest"))
        batch_op.add_column(
            sa.Column("roles", sa.Text(), nullable=False, server_default="ingest,generate")
        )
        batch_op.add_column(sa.Column("carried", sa.JSON(), nullable=True))
        batch_op.add_column(
            sa.Column("handed_over", sa.Integer(), nullable=False, server_default="0")
        )
        batch_op.create_index("ix_jobs_line_of_role", list(LINE))
    op.add_column(
        "workers", sa.Column("roles", sa.Text(), nullable=False, server_default=",".join(ROLES))
    )


def downgrade() -> None:
    with op.batch_alter_table("workers") as batch_op:
        batch_op.drop_column("roles")
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.drop_index("ix_jobs_line_of_role")
        batch_op.drop_constraint(op.f("ck_jobs_role"), type_="check")
        batch_op.drop_column("handed_over")
        batch_op.drop_column("carried")
        batch_op.drop_column("roles")
        batch_op.drop_column("role")

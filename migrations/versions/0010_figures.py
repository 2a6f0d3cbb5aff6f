"""The task figures

Revision 0010. A downgrade takes away the jobs that the older code could not read.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = ("batches", "jobs", "results")


def upgrade() -> None:
    _allow("'summarize', 'check_listing', 'ask', 'extract', 'compare', 'figures'")


def downgrade() -> None:
    op.execute("DELETE FROM results WHERE task = 'figures'")
    op.execute("DELETE FROM jobs WHERE task = 'figures'")
    _allow("'summarize', 'check_listing', 'ask', 'extract', 'compare'")


def _allow(tasks: str) -> None:
    for table in TABLES:
        name = op.f(f"ck_{table}_task")
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_constraint(name, type_="check")
            batch_op.create_check_constraint(name, f"task IN ({tasks})")

"""Jobs that follow another: the same work is done once, and all see its progress and its result.

A follower is queued, is never sent, and shows its leader's status. When the leader ends without a
result, the first follower runs itself and leads the others. Called by the queries beside it.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, case, select, update

from mmapp.db.tables import jobs, results
from mmapp.db.transaction import Transaction
from mmapp.types import Priority, Status

_leader = jobs.alias("leader")
#: A job that follows another shows that one's status and progress: one truth, stored once.
shown_status: ColumnElement[Status] = case(
    (_leader.c.id.is_not(None), _leader.c.status), else_=jobs.c.status
)
shown = select(
    jobs,
    shown_status.label("shown_status"),
    _leader.c.progress.label("leader_progress"),
    _leader.c.started_at.label("leader_started_at"),
    (_leader.c.attempt - _leader.c.handed_over).label("leader_tries"),
    _leader.c.role.label("leader_role"),
).select_from(jobs.outerjoin(_leader, jobs.c.follows == _leader.c.id))


def same_work(
    sql: Transaction, run_key: str | None, priority: Priority, *, but: str
) -> tuple[str | None, str | None]:
    """(job that has the result of this run key, job that is about to make it)."""
    if run_key is None:
        return None, None
    # Locked until this transaction ends, so that it can't end before its follower is there.
    leader = sql.one(
        select(jobs.c.id, jobs.c.priority)
        .where(
            jobs.c.run_key == run_key,
            jobs.c.status.in_([Status.QUEUED, Status.RUNNING]),
            jobs.c.follows.is_(None),
            jobs.c.cancel_requested.is_(False),
            jobs.c.id != but,
        )
        .limit(1)
        .with_for_update()
    )
    if leader is None:
        done = select(results.c.job_id).where(results.c.run_key == run_key).limit(1)
        return sql.execute(done).scalar(), None
    if priority is Priority.INTERACTIVE and leader.priority is Priority.BATCH:
        # A person waits for it now; unsent, it will be sent anew among what is interactive.
        sql.execute(
            update(jobs)
            .where(jobs.c.id == leader.id)
            .values(priority=Priority.INTERACTIVE, sent_at=None)
        )
    return None, leader.id


def promote_follower(sql: Transaction, leader_id: str) -> None:
    """Lets the first that follows an ended job run itself, and the rest follow that one."""
    # Locked, all of them: one that is being cancelled meanwhile must not be chosen to lead.
    waiting = sql.execute(
        select(jobs.c.id, jobs.c.priority)
        .where(jobs.c.follows == leader_id)
        .order_by(jobs.c.id)
        .with_for_update()
    ).all()
    if not waiting:
        return
    first = min(waiting, key=lambda job: (job.priority is not Priority.INTERACTIVE, job.id)).id
    sql.execute(update(jobs).where(jobs.c.id == first).values(follows=None, sent_at=None))
    sql.execute(update(jobs).where(jobs.c.follows == leader_id).values(follows=first))

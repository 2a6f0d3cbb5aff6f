"""The outbox: tells the broker about waiting jobs, and finds those that it has forgotten.

The only caller of the broker's `send`. Called after a commit, never inside a transaction: what
could not be sent stays marked in the database, and the next sweep sends it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmapp.broker import Broker
from mmapp.db import Database
from mmapp.errors import BrokerDown
from mmapp.logs import get_logger
from mmapp.types import Priority

#: Ids that one sweep sends; the next goes on.
SWEEP_LIMIT = 1000

log = get_logger(__name__)


class Outbox:
    """The way to the broker of one process; `grace_s`: a message may wait so long unseen."""

    def __init__(self, database: Database, broker: Broker, grace_s: float) -> None:
        self._database = database
        self._broker = broker
        self._grace_s = grace_s

    def send(self, jobs: Sequence[tuple[str, Priority]]) -> bool:
        """Tells the workers; what could not be sent is kept for the next sweep."""
        try:
            self._broker.send(jobs)
        except BrokerDown as error:
            log.warning("not sent, kept for the next sweep", jobs=len(jobs), reason=str(error))
            with self._database.transaction() as repository:
                repository.messages.mark_unsent([job_id for job_id, _ in jobs])
            return False
        return True

    def send_missing(self) -> int:
        """Sends queued jobs that were never sent, and as many as the broker seems to have lost."""
        with self._database.snapshot() as repository:
            unsent = repository.messages.count_unsent()
            sent = repository.messages.count_sent(self._grace_s)
        try:
            # Those sent a while ago and not taken must still wait in the queue.
            lost = sent - self._broker.depth() if sent else 0
        except BrokerDown:
            return 0
        if unsent == 0 and lost <= 0:
            return 0
        with self._database.transaction() as repository:
            to_send = repository.messages.take_unsent(SWEEP_LIMIT) if unsent else []
            if lost > 0:
                to_send += repository.messages.take_lost(self._grace_s, min(lost, SWEEP_LIMIT))
        return len(to_send) if self.send(to_send) else 0

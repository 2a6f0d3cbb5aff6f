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
from mmapp.types import Message, Role

#: Ids that one sweep sends; the next goes on.
SWEEP_LIMIT = 4000

log = get_logger(__name__)


class Outbox:
    """The way to the broker of one process; `grace_s`: a message may wait so long unseen."""

    def __init__(self, database: Database, broker: Broker, grace_s: float) -> None:
        self._database = database
        self._broker = broker
        self._grace_s = grace_s

    def send(self, messages: Sequence[Message]) -> bool:
        """Tells the workers; what could not be sent is kept for the next sweep."""
        try:
            self._broker.send(messages)
        except BrokerDown as error:
            log.warning("not sent, kept for the next sweep", jobs=len(messages), reason=str(error))
            with self._database.transaction() as repository:
                repository.messages.mark_unsent([message.job_id for message in messages])
            return False
        return True

    def send_unsent(self) -> int:
        """Sends queued jobs that were never sent and are due; how many."""
        with self._database.snapshot() as repository:
            if not repository.messages.has_unsent():
                return 0
        try:
            self._broker.check()
        except BrokerDown:
            return 0
        with self._database.transaction() as repository:
            to_send = repository.messages.take_unsent(SWEEP_LIMIT)
        return len(to_send) if self.send(to_send) else 0

    def send_forgotten(self) -> int:
        """Sends again what the broker seems to have lost; how many.

        A message makes a worker take whatever job is next, so it only counts how many there are: as
        many as jobs that were sent a while ago and not taken, in the queue of each role. One too
        many does no harm.
        """
        with self._database.snapshot() as repository:
            sent = repository.messages.count_sent(self._grace_s)
        return sum(self._send_lost(role, count) for role, count in sent.items())

    def _send_lost(self, role: Role, sent: int) -> int:
        try:
            lost = sent - self._broker.depth([role])
        except BrokerDown:
            return 0
        if lost <= 0:
            return 0
        with self._database.transaction() as repository:
            to_send = repository.messages.take_lost(role, self._grace_s, min(lost, SWEEP_LIMIT))
        return len(to_send) if self.send(to_send) else 0

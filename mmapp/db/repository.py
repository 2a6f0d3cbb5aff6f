"""Every query, bound to one open transaction and sorted by noun. Only `mmapp.jobs` calls these.

`Database.transaction()` and `.snapshot()` hand out a `Repository`; the modules beside this one have
the queries, one noun each.
"""

from __future__ import annotations

from sqlalchemy import Connection

from mmapp.db.attempts import StoredAttempts
from mmapp.db.batches import StoredBatches
from mmapp.db.copying import StoredTables
from mmapp.db.documents import StoredDocuments
from mmapp.db.jobs import StoredJobs
from mmapp.db.messages import StoredMessages
from mmapp.db.results import StoredResults
from mmapp.db.retention import StoredRetention
from mmapp.db.reviews import StoredReviews
from mmapp.db.statistics import StoredStatistics
from mmapp.db.sweeps import StoredSweeps
from mmapp.db.transaction import Transaction
from mmapp.db.turns import StoredTurns
from mmapp.db.workers import StoredWorkers


class Repository:
    """The queries of one transaction."""

    def __init__(self, connection: Connection) -> None:
        transaction = Transaction(connection)
        self.now = transaction.now
        self.documents = StoredDocuments(transaction)
        self.jobs = StoredJobs(transaction)
        self.turns = StoredTurns(transaction)
        self.attempts = StoredAttempts(transaction)
        self.messages = StoredMessages(transaction)
        self.results = StoredResults(transaction)
        self.reviews = StoredReviews(transaction)
        self.batches = StoredBatches(transaction)
        self.workers = StoredWorkers(transaction)
        self.sweeps = StoredSweeps(transaction)
        self.statistics = StoredStatistics(transaction)
        self.tables = StoredTables(transaction)
        self.retention = StoredRetention(transaction)

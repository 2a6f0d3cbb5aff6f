"""Jobs: submit, take, run, cancel, retry, sweep. The state machine, alone in calling the broker.

The database is the only truth; a message is a hint that can be lost or come twice. Whoever runs a
job holds a lease and the number of its attempt, and every write of a run is fenced by that number,
so that no job shows two results, whatever was killed when. Called by the web, the command line and
the workers, through `Jobs`; refuses what can't become a result (no words, a photo that is none, a
question to a checkpoint that was not trained for them) when it is given.
"""

from mmapp.db.workers import WorkerInfo
from mmapp.jobs.figures import Figures, System
from mmapp.jobs.listed import BatchRowResult, ResultRow
from mmapp.jobs.reviewing import ReviewRow
from mmapp.jobs.running import Attempt
from mmapp.jobs.submitting import BatchRow
from mmapp.jobs.verbs import Jobs

__all__ = [
    "Attempt",
    "BatchRow",
    "BatchRowResult",
    "Figures",
    "Jobs",
    "ResultRow",
    "ReviewRow",
    "System",
    "WorkerInfo",
]

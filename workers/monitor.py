"""The Celery application as a module, for programs that look at the queue from outside.

`celery --app workers.monitor flower` finds broker and queues here, from `MMAPP_REDIS_URL`, so that
no password stands on a command line. Runs nothing itself.
"""

from __future__ import annotations

from mmapp.broker import queues
from mmapp.config import load_settings
from workers.app import create_app

app = create_app(load_settings())
app.conf.task_queues = queues()

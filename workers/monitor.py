"""The Celery application as a module, for programs that look at the queue from outside.

`celery --app workers.monitor flower` finds broker and queues here, from `MMAPP_REDIS_URL`, so that
no password stands on a command line. Runs nothing itself.
"""

from __future__ import annotations

from kombu.entity import Exchange, Queue

from mmapp.broker import QUEUES
from mmapp.config import load_settings
from workers.app import create_app

app = create_app(load_settings())
# Workers say which they listen to; who only looks has to be told of all.
app.conf.task_queues = [
    Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]
    for name in QUEUES.values()
]

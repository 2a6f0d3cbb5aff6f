"""The Celery application: what a message is and how it travels. Only `jobs` sends.

A message is a job's id and nothing else; the database says what to do. Each role of workers has its
own queue, in which a message says that a job waits for this role. So a lost message costs a
few seconds until the next sweep, and one that arrives twice finds nothing to take. Results and
progress never come back this way. Refuses nothing; a broker that does not answer is `BrokerDown`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mmapp.errors import BrokerDown
from mmapp.types import Message, Priority, Role

if TYPE_CHECKING:
    from celery import Celery  # type: ignore[import-untyped]
    from kombu.entity import Queue
    from redis import Redis

#: How the queue of each role is called.
QUEUES = {role: f"mmapp.{role}" for role in Role}
TASK = "mmapp.run_job"

#: Redis keeps one list for each step; 0 is served first.
PRIORITY_STEPS = (0, 3, 6, 9)
STEPS = {
    (Priority.INTERACTIVE, True): 0,
    (Priority.INTERACTIVE, False): 3,
    (Priority.BATCH, True): 6,
    (Priority.BATCH, False): 9,
}

#: Celery never gives a message out twice while its worker lives; the database's lease does that.
VISIBILITY_TIMEOUT_S = 12 * 3600

#: A spawned child reports for work only when its engine is loaded; a large one takes minutes.
CHILD_START_S = 1800


def make_app(redis_url: str, job_seconds: float) -> Celery:
    """Celery as it survives killed workers, lost messages and broker restarts."""
    from celery import Celery

    app = Celery("mmapp", broker=_celery_url(redis_url), set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUES[Role.GENERATE],
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # The job itself stops at `job_seconds`; this is for a child that does not obey any more.
        task_time_limit=job_seconds + 120,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool="prefork",
        # CUDA does not survive a fork, and the parent shall never hold a model.
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=CHILD_START_S,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "priority_steps": list(PRIORITY_STEPS),
            "queue_order_strategy": "priority",
        },
    )
    return app


def queues() -> list[Queue]:
    """Those of all roles, for programs that ask the application which there are."""
    from kombu.entity import Queue

    return [Queue(name) for name in QUEUES.values()]  # type: ignore[no-untyped-call]


class Broker:
    """One process's way to the queue; connects when it is first needed."""

    def __init__(self, redis_url: str, job_seconds: float) -> None:
        self._url = redis_url
        self._job_seconds = job_seconds
        self._app: Celery | None = None
        self._redis: Redis | None = None

    def send(self, messages: Iterable[Message]) -> None:
        """Tells the workers; raises `BrokerDown` at the first message that could not be sent."""
        from kombu.exceptions import OperationalError

        app = self._connected_app()
        try:
            with app.producer_or_acquire() as producer:
                for message in messages:
                    app.send_task(
                        TASK,
                        args=(message.job_id,),
                        producer=producer,
                        queue=QUEUES[message.role],
                        priority=STEPS[message.priority, message.is_again],
                        retry=False,
                    )
        except (OperationalError, OSError) as error:
            raise self._down(error) from error

    def depth(self, roles: Iterable[Role] = Role) -> int:
        """Messages that wait for a worker of one of these roles."""
        from redis.exceptions import RedisError

        redis = self._connected_redis()
        try:
            return sum(
                int(redis.llen(list_name(role, step))) for role in roles for step in PRIORITY_STEPS
            )
        except (RedisError, OSError) as error:
            raise self._down(error) from error

    def check(self) -> None:
        """Raises `BrokerDown` unless Redis answers."""
        self.depth()

    def close(self) -> None:
        if self._app is not None:
            self._app.close()
        if self._redis is not None:
            self._redis.close()

    def _connected_app(self) -> Celery:
        if not self._url:
            raise BrokerDown("No Redis is known: start `mmapp up`, or set MMAPP_REDIS_URL")
        if self._app is None:
            self._app = make_app(self._url, self._job_seconds)
            # Somebody waits: the first refusal is an answer, and the sweeper sends later.
            self._app.conf.broker_transport_options |= {"max_retries": 0, "interval_start": 0}
        return self._app

    def _connected_redis(self) -> Redis:
        if not self._url:
            raise BrokerDown("No Redis is known: start `mmapp up`, or set MMAPP_REDIS_URL")
        if self._redis is None:
            from redis import Redis

            self._redis = Redis.from_url(
                self._url, socket_timeout=5, socket_connect_timeout=5, health_check_interval=25
            )
        return self._redis

    def _down(self, error: Exception) -> BrokerDown:
        line = " ".join(str(error).split())
        return BrokerDown(f"Redis does not answer ({line}); jobs are kept and are sent later")


def list_name(role: Role, step: int) -> str:
    """How kombu calls the Redis list of a priority step."""
    return QUEUES[role] if step == 0 else f"{QUEUES[role]}\x06\x16{step}"


def _celery_url(redis_url: str) -> str:
    """redis-py says `unix://PATH?db=N` where kombu says `redis+socket://PATH?virtual_host=N`."""
    if redis_url.startswith("unix://"):
        path, _, query = redis_url.removeprefix("unix://").partition("?")
        database = query.removeprefix("db=") or "0"
        return f"redis+socket://{path}?virtual_host={database}"
    return redis_url

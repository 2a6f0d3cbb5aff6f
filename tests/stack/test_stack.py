"""What the stack starts, who finds it, what it says, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmapp.config import Settings
from mmapp.errors import BrokerDown, CheckpointProblem, NotPossible
from mmapp.jobs import Jobs
from mmapp.processes import exists
from mmapp.stack import LONGEST_SOCKET_PATH, RunningStack, Stack, _socket_folder, _temporary_folder
from mmapp.types import Status
from tests.checkpoints import tiny_checkpoint
from tests.stack.conftest import READY_S, until

#: Runs a stack, submits a long job, says where everything is, and waits to be ended.
PROGRAM = """
import sys, time
from pathlib import Path
from mmapp.config import Settings
from mmapp.jobs import Jobs
from mmapp.stack import Stack
from mmapp.types import SummarizeParams, TaskName
from tests.stack.conftest import in_the_middle, story

settings = Settings(
    data_dir=Path(sys.argv[1]), checkpoint=Path(sys.argv[2]), threads=1, _env_file=None
)
with Stack(settings, announce=True) as stack, Jobs.open(stack.settings) as jobs:
    document = jobs.add_document("long.txt", story("Turku", 1000).encode())
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
    stack.wait_ready(120)
    in_the_middle(jobs, job.id)
    print(job.id, flush=True)
    time.sleep(300)
"""


@pytest.fixture
def program(tmp_path: Path, checkpoint: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data"), str(checkpoint)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def descendants(pid: int) -> list[int]:
    """The live processes that `pid` started, and those that they started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found[1:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_whatever_ends_the_stack(
    tmp_path: Path, program: subprocess.Popen[str], number: signal.Signals
) -> None:
    job_id = program.stdout.readline().strip()
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)
    found = Stack.running(settings)
    assert found is not None
    assert found.pid == program.pid
    started = descendants(program.pid)
    assert len(started) >= 3  # Redis, and a worker with its engine
    program.send_signal(number)
    program.wait(timeout=20)
    until(lambda: not any(exists(pid) for pid in started), timeout_s=10)
    assert Stack.running(settings) is None
    with Jobs.open(settings) as jobs:
        if number is signal.SIGKILL:
            jobs.sweep()
        else:
            assert not list((tmp_path / "data" / "run").iterdir())
        job = jobs.get(job_id)
        assert (job.status, job.attempts) == (Status.QUEUED, 1)


def test_ctrl_c_at_the_start_stops_what_was_started(
    tmp_path: Path, program: subprocess.Popen[str]
) -> None:
    socket = tmp_path / "data" / "run" / f"{program.pid}.sock"
    until(lambda: socket.exists())
    started = descendants(program.pid)
    program.send_signal(signal.SIGINT)
    program.wait(timeout=20)
    assert program.returncode != 0
    until(lambda: not any(exists(pid) for pid in started), timeout_s=10)
    assert not socket.exists()


def test_an_announced_stack_is_found_with_its_web_address(stack: Stack) -> None:
    found = Stack.running(stack.settings)
    assert found == RunningStack(os.getpid(), stack.settings.redis_url)
    stack.set_web_url("http://127.0.0.1:7860")
    found = Stack.running(stack.settings)
    assert found is not None
    assert found.web_url == "http://127.0.0.1:7860"
    plain = stack.settings.model_copy(update={"redis_url": ""})
    assert found.apply(plain) == stack.settings


def test_a_second_announced_stack_is_refused(stack: Stack) -> None:
    with pytest.raises(NotPossible, match=r"already runs on .* set MMAPP_DATA_DIR"):
        Stack(stack.settings, announce=True).__enter__()
    assert Stack.running(stack.settings) is not None


def test_no_stack_is_found_where_there_is_none(tmp_path: Path) -> None:
    assert Stack.running(Settings(data_dir=tmp_path / "none", _env_file=None)) is None


def test_a_checkpoint_that_does_not_load_is_told_in_the_words_of_the_engine(
    tmp_path: Path,
) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "broken")
    (checkpoint / "model.safetensors").unlink()
    events: list[str] = []
    settings = Settings(data_dir=tmp_path / "data", checkpoint=checkpoint, _env_file=None)
    with Stack(settings, on_event=events.append) as stack:
        with pytest.raises(CheckpointProblem, match=r"model\.safetensors does not exist"):
            stack.wait_ready(READY_S)
        until(lambda: any("worker process ended" in event for event in events))
    assert events[0] == "Migrating the database"


def test_a_worker_that_can_not_even_start_is_not_waited_for_long(
    tmp_path: Path, checkpoint: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.sqlite3'}"
    settings = Settings(
        data_dir=tmp_path / "data", checkpoint=checkpoint, database_url=url, _env_file=None
    )
    with Stack(settings, workers=0) as stack:
        stack.settings = stack.settings.model_copy(update={"log_level": "LOUD"})
        stack._worker_count = 1
        stack._start_workers()
        with pytest.raises(CheckpointProblem, match=r"stops while it starts .*worker\.log"):
            stack.wait_ready(READY_S)


def test_a_redis_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmapp.stack.REDIS_START_S", 0.2)
    settings = Settings(data_dir=tmp_path, redis_url="redis://127.0.0.1:1/0", _env_file=None)
    with pytest.raises(BrokerDown, match="Connection refused"):
        Stack(settings, workers=0).__enter__()


def test_a_long_data_path_gets_a_short_socket_for_its_owner_alone(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90)
    folder = _socket_folder(deep)
    try:
        assert len(str(folder / "1234567.sock")) <= LONGEST_SOCKET_PATH
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder == _socket_folder(deep)
        assert folder != _socket_folder(tmp_path / ("y" * 90))
        folder.chmod(0o755)
        with pytest.raises(NotPossible, match="yours alone"):
            _socket_folder(deep)
    finally:
        folder.rmdir()
        _socket_folder(tmp_path / ("y" * 90)).rmdir()


def test_sockets_of_dead_stacks_are_taken_away(tmp_path: Path) -> None:
    folder = _socket_folder(tmp_path)
    (folder / "999999999.sock").touch()
    (folder / f"{os.getpid()}.sock").touch()
    _socket_folder(tmp_path)
    assert [socket.name for socket in folder.iterdir()] == [f"{os.getpid()}.sock"]


def test_temporary_files_of_dead_stacks_are_taken_away(tmp_path: Path) -> None:
    dead = tmp_path / "tmp" / "999999999-x"
    (dead / "deep").mkdir(parents=True)
    mine = _temporary_folder(tmp_path)
    also_mine = _temporary_folder(tmp_path)
    assert sorted((tmp_path / "tmp").iterdir()) == sorted([mine, also_mine])


def test_the_supervisor_starts_what_died_again_and_says_so(tmp_path: Path) -> None:
    from mmapp.supervisor import Service, Supervisor

    events: list[str] = []
    supervisor = Supervisor(events.append)
    supervisor.start()
    service = Service("sleeper", ["sleep", "100"], tmp_path / "sleeper.log")
    supervisor.add(service)
    until(lambda: len(service.pids) == 1)
    os.kill(service.pids[0], signal.SIGKILL)
    until(lambda: len(service.pids) == 2)
    assert events == ["The sleeper process ended (killed by SIGKILL); again in 0.5 s"]
    supervisor.stop()
    assert not exists(service.pids[1])

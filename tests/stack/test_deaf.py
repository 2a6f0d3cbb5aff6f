"""A worker that Celery has made deaf: Redis was away when a job ended."""

from __future__ import annotations

from pathlib import Path

from mmapp.config import Settings
from mmapp.jobs import Jobs
from mmapp.stack import Stack
from mmapp.types import SummarizeParams, TaskName
from tests.servers import RedisServer
from tests.stack.conftest import READY_S, in_the_middle, story, until


def test_a_worker_whose_job_ended_while_redis_was_away_takes_jobs_again(
    tmp_path: Path, checkpoint: Path
) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    settings = Settings(
        data_dir=tmp_path / "data",
        redis_url=redis.url,
        checkpoint=checkpoint,
        threads=1,
        sweep_seconds=1.0,
        _env_file=None,
    )
    try:
        with Stack(settings, workers=1) as stack, Jobs.open(stack.settings) as jobs:

            def submit(name: str, sentences: int) -> str:
                document = jobs.add_document(name, story(name, sentences).encode())
                params = SummarizeParams(document.sha256, 1)
                return jobs.submit(TaskName.SUMMARIZE, params).id

            log_path = settings.data_dir / "logs" / "worker.log"
            stack.wait_ready(READY_S)
            first = submit("Narvik", 80)
            in_the_middle(jobs, first)
            redis.kill()
            until(lambda: "Couldn't ack" in log_path.read_text(errors="replace"), READY_S)
            redis.start()
            second = submit("Bodø", 3)
            until(lambda: jobs.get(second).status.is_final, READY_S)
            assert jobs.get(second).error == ""
            assert jobs.get(first).error == ""
    finally:
        redis.kill()

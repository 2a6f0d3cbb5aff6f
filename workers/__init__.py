"""The only place where the model meets the application: Celery processes that run jobs.

`python -m workers` is one Celery worker: a parent that talks to Redis and sweeps, without torch,
and one spawned child that loads once what its roles need and runs one job at a time.
"""

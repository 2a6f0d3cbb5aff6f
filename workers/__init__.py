"""The only place where the model meets the application: Celery processes that run jobs."""

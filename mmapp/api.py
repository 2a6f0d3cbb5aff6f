"""HTTP beside the pages: health, metrics, versions, page images, jobs, downloads, reviews.

User files leave the process here and nowhere else: a page as a freshly encoded picture or as plain
text, or an annotated PDF, written anew and always a download. Refuses ids that the database does
not know (404). Thin: everything is asked of `mmapp.jobs`. Mounted by `mmapp.web.app`; `/livez` and
`/readyz` are for supervisors.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, TextIO

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from pydantic import BaseModel

from mmapp import __version__, exports, metrics, reviews
from mmapp.batches import fields_workbook, harmless, write_fields, write_results
from mmapp.batches.report import batch_report
from mmapp.config import REPOSITORY
from mmapp.documents.quotes import page_text
from mmapp.errors import BadInput, MmappError, NotFound, NotPossible
from mmapp.jobs import Jobs, ResultRow
from mmapp.types import Label, Page, Result, Status, TaskName

#: A page of a document never changes: its address holds the document's hash.
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
SOURCE_FOLDERS = ("mmapp", "workers", "model", "migrations", "docker", "tests")
SOURCE_SUFFIXES = {".py", ".toml", ".css", ".js", ".ini", ".mako", ".md", ".txt", ".yml", ".yaml"}

WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

EXPORT_COLUMNS = (
    "job",
    "task",
    "status",
    "label",
    "created_at",
    "finished_at",
    "headline",
    "error",
)
#: Rows of an export that are read from the database at once.
EXPORT_CHUNK = 200


def add_routes(app: FastAPI, jobs: Jobs) -> None:
    """Adds every route of this module, and how a `MmappError` becomes a response."""
    app.include_router(_health(jobs))
    app.include_router(_files(jobs))
    app.include_router(_downloads(jobs))
    app.include_router(_reviews(jobs))
    app.add_exception_handler(MmappError, _problem)


#: The page that shows a job of each task.
PAGE_OF = {
    TaskName.SUMMARIZE: "documents",
    TaskName.ASK: "ask",
    TaskName.EXTRACT: "ask",
    TaskName.COMPARE: "compare",
    TaskName.FIGURES: "ask",
    TaskName.CHECK_LISTING: "listings",
}


async def _problem(_request: Request, problem: Exception) -> Response:
    code = problem.code if isinstance(problem, MmappError) else MmappError.code
    status = 404 if isinstance(problem, NotFound) else 400 if isinstance(problem, BadInput) else 409
    return JSONResponse({"error": code, "message": str(problem)}, status_code=status)


def _health(jobs: Jobs) -> APIRouter:
    router = APIRouter()

    @router.get("/livez")
    @router.get("/healthz")
    def livez() -> dict[str, str]:
        """The process answers, whatever becomes of database and queue."""
        return {"status": "ok"}

    @router.get("/readyz")
    def readyz() -> Response:
        """Database and queue answer; how many workers are ready, and for which roles jobs wait that
        no worker has, stands beside it."""
        try:
            jobs.check_database()
            jobs.check_broker()
        except MmappError as problem:
            state = {"status": "unavailable", "error": problem.code, "message": str(problem)}
            return JSONResponse(state, status_code=503)
        statistics = jobs.statistics()
        states = Counter(worker.state for worker in statistics.workers)
        return JSONResponse(
            {
                "status": "ok",
                "workers_ready": states["ready"],
                "workers_loading": states["loading"],
                "workers_failed": states["failed"],
                "roles_unserved": [queue.role for queue in statistics.unserved],
            }
        )

    @router.get("/metrics")
    def metrics_of_all() -> Response:
        """For Prometheus: the queue, and what all workers have done."""
        return Response(metrics.metrics(jobs), media_type=metrics.CONTENT_TYPE)

    @router.get("/version")
    def version() -> dict[str, str]:
        return {"name": "mmapp", "version": __version__}

    return router


def _files(jobs: Jobs) -> APIRouter:
    router = APIRouter()

    @router.get("/pages/{sha256}/{number}")
    def page_image(sha256: str, number: int) -> Response:
        picture = jobs.page_image(sha256, number)
        return Response(picture, media_type=_picture_type(picture), headers=FOREVER)

    @router.get("/pages/{sha256}/{number}/text")
    def text_of_page(sha256: str, number: int) -> Response:
        text = page_text(_page(jobs, sha256, number))
        return Response(text, media_type="text/plain; charset=utf-8", headers=FOREVER)

    return router


def _page(jobs: Jobs, sha256: str, number: int) -> Page:
    for page in jobs.pages(sha256):
        if page.number == number:
            return page
    raise NotFound(f"The document {sha256[:12]} has no page {number}; choose another page.")


def _picture_type(data: bytes) -> str:
    if data.startswith(b"\x89PNG"):
        return "image/png"
    if data.startswith(b"\xff\xd8"):
        return "image/jpeg"
    return "image/webp"


def _downloads(jobs: Jobs) -> APIRouter:
    router = APIRouter()

    @router.get("/jobs/{job_id}")
    def job(job_id: str) -> Response:
        found = jobs.get(job_id)
        return RedirectResponse(f"/{PAGE_OF[found.task]}?job={found.id}", status_code=302)

    @router.get("/jobs/{job_id}/result.json")
    def result(job_id: str) -> Response:
        return JSONResponse(_result_json(jobs.result(job_id)))

    @router.get("/jobs/{job_id}/result.md")
    def result_as_markdown(job_id: str) -> Response:
        text = exports.markdown(jobs.get(job_id), jobs.result(job_id))
        return _download(text.encode(), f"{job_id}.md", "text/markdown; charset=utf-8")

    @router.get("/jobs/{job_id}/fields.csv")
    def fields_as_csv(job_id: str) -> Response:
        payload = _fields(jobs, job_id)
        return _csv(f"{job_id}.csv", lambda out: write_fields(payload, out))

    @router.get("/jobs/{job_id}/fields.xlsx")
    def fields_as_workbook(job_id: str) -> Response:
        return _download(fields_workbook(_fields(jobs, job_id)), f"{job_id}.xlsx", WORKBOOK)

    @router.get("/jobs/{job_id}/annotated.pdf")
    def annotated(job_id: str) -> Response:
        return _download(jobs.annotated(job_id), f"{job_id}.pdf", "application/pdf")

    @router.get("/batches/{batch_id}/results.csv")
    def batch_results(batch_id: str) -> Response:
        batch = jobs.batch(batch_id)
        rows, is_reviewed = jobs.batch_rows(batch_id), jobs.is_reviewed(batch_id)
        return _csv(
            f"batch-{batch.id}.csv",
            lambda out: write_results(rows, batch.task, out, is_reviewed=is_reviewed),
        )

    @router.get("/batches/{batch_id}/report.html")
    def report_of_batch(batch_id: str) -> Response:
        report = batch_report(jobs.batch(batch_id), jobs, lambda _done, _total: None)
        name = f'attachment; filename="batch-{batch_id}.html"'
        return HTMLResponse(report, headers={"Content-Disposition": name})

    @router.get("/results.csv")
    def results(
        q: str = "",
        task: TaskName | None = None,
        status: Status | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> Response:
        filters = {"task": task, "status": status, "since": since, "until": until}
        rows = _all_results(jobs, q, filters)
        return _csv("results.csv", lambda out: _write_jobs(rows, out))

    @router.get("/source.tar.gz")
    def source() -> Response:
        """The source that runs here, as the AGPL asks of a network service."""
        disposition = {"Content-Disposition": 'attachment; filename="mmapp-source.tar.gz"'}
        return Response(_source_archive(), media_type="application/gzip", headers=disposition)

    return router


class Said(BaseModel):
    """What a person says of a verdict, as the pages send it."""

    #: From 1; None: the listing as a whole.
    claim: int | None = None
    #: None: as the model says.
    label: Label | None = None
    note: str = ""
    by: str


def _reviews(jobs: Jobs) -> APIRouter:
    router = APIRouter()

    @router.post("/jobs/{job_id}/reviews", status_code=201)
    def review(job_id: str, said: Said) -> dict[str, Any]:
        """The one thing that is written here; `web.security` refuses it from other sites."""
        kept = jobs.review(job_id, claim=said.claim, label=said.label, note=said.note, by=said.by)
        return {"job": job_id, "label": kept.label, **reviews.as_json(kept)}

    return router


def _fields(jobs: Jobs, job_id: str) -> Mapping[str, Any]:
    """The payload of an extraction; refuses jobs that made no table."""
    result = jobs.result(job_id)
    if result.task is not TaskName.EXTRACT:
        raise NotPossible(f"Job {job_id} extracted no fields; export it as Markdown or JSON")
    return result.payload


def _download(data: bytes, name: str, media_type: str) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(data, media_type=media_type, headers=headers)


def _all_results(jobs: Jobs, query: str, filters: dict[str, Any]) -> Iterator[ResultRow]:
    for offset in itertools.count(0, EXPORT_CHUNK):
        rows = jobs.results(query, **filters, limit=EXPORT_CHUNK, offset=offset)
        yield from rows
        if len(rows) < EXPORT_CHUNK:
            return


def _write_jobs(rows: Iterator[ResultRow], out: TextIO) -> None:
    """One line of CSV for each job, with the same columns as `mmapp results --export csv`."""
    table = csv.writer(out, lineterminator="\n")
    table.writerow((*EXPORT_COLUMNS, "result", *reviews.COLUMNS))
    for row in rows:
        job = row.job
        result = json.dumps(_result_json(row.result), ensure_ascii=False) if row.result else ""
        moments = (
            moment.isoformat() if moment else "" for moment in (job.created_at, job.finished_at)
        )
        cells = (job.id, job.task, job.status, job.label, *moments, row.headline, job.error, result)
        table.writerow(map(harmless, (*cells, *reviews.cells(row.result))))


def _result_json(result: Result) -> dict[str, Any]:
    return {
        "job": result.job_id,
        **result.payload,
        **reviews.in_json(result),
        "record": dict(result.record),
    }


def _csv(name: str, write: Callable[[TextIO], None]) -> Response:
    """A table of any length, marked as UTF-8, which spreadsheets ask for."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  (closed when it has been sent)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    write(text)
    text.flush()
    file.seek(0)

    def chunks() -> Iterator[bytes]:
        with text:
            while chunk := file.read(65536):
                yield chunk

    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(chunks(), media_type="text/csv; charset=utf-8", headers=disposition)


@lru_cache(maxsize=1)
def _source_archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        folders = (REPOSITORY / name for name in SOURCE_FOLDERS)
        inside = [file for folder in folders for file in sorted(folder.rglob("*"))]
        for file in [*sorted(REPOSITORY.iterdir()), *inside]:
            wanted = file.suffix in SOURCE_SUFFIXES or file.name in ("LICENSE", "setup", "run")
            if file.is_file() and wanted and not file.name.startswith(".env"):
                archive.add(file, arcname=f"mmapp/{file.relative_to(REPOSITORY)}")
    return packed.getvalue()

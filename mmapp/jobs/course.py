"""The course of a job: which roles it needs, in order, told when it is submitted.

Whoever submits looks at what the database and the checkpoint's config tell and opens no file of a
document, so that this costs a batch next to nothing. A role for which nothing turns out to be done
passes the job on. Called by `submitting`; refuses nothing.
"""

from __future__ import annotations

from mmapp import records
from mmapp.checkpoints import Checkpoint
from mmapp.config import Settings
from mmapp.db.repository import Repository
from mmapp.types import CompareParams, FiguresParams, Listing, Params, Role, TaskName


def course(
    repository: Repository,
    task: TaskName,
    params: Params,
    checkpoint: Checkpoint | None,
    settings: Settings,
) -> tuple[Role, ...]:
    """`checkpoint`: None where it is not known here; then the engine sees pictures by itself."""
    if task in records.WITHOUT_MODEL:
        return (Role.INGEST,)
    reads_pictures = checkpoint is not None and bool(checkpoint.profile.get("page_images"))
    ingest = _has_to_be_prepared(repository, params, settings.ocr, reads_pictures)
    encode = (
        checkpoint is not None
        and checkpoint.has_encoder
        and _shows_pictures(repository, params, reads_pictures)
    )
    needed = {Role.INGEST: ingest, Role.ENCODE: encode, Role.GENERATE: True}
    return tuple(role for role, is_needed in needed.items() if is_needed)


def _has_to_be_prepared(
    repository: Repository, params: Params, ocr: str, reads_pictures: bool
) -> bool:
    """Whether words have to be recognised, or pages to be drawn, before a task runs."""
    if isinstance(params, Listing | CompareParams):
        return False
    if isinstance(params, FiguresParams):
        return True
    if _is_text(repository, params.document):
        return False
    if ocr == "always" or (ocr == "auto" and repository.documents.wanting(params.document)):
        return True
    return repository.documents.has_undrawn(params.document, all_pages=reads_pictures)


def _shows_pictures(repository: Repository, params: Params, reads_pictures: bool) -> bool:
    """Whether the task shows pictures to the model."""
    if isinstance(params, Listing):
        return bool(params.photos)
    if isinstance(params, FiguresParams):
        return True
    if isinstance(params, CompareParams):
        return False
    return reads_pictures and not _is_text(repository, params.document)


def _is_text(repository: Repository, sha256: str) -> bool:
    document = repository.documents.find(sha256)
    return document is not None and document.media_type.is_text

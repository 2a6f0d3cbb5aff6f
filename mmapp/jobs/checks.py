"""What can't become a result is refused when it is given. Called by `submitting`."""

from __future__ import annotations

from mmapp import records
from mmapp.checkpoints import Checkpoint
from mmapp.db.repository import Repository
from mmapp.errors import BadInput, NoText
from mmapp.jobs.found import found
from mmapp.types import (
    AskParams,
    CompareParams,
    Document,
    ExtractParams,
    FiguresParams,
    Listing,
    MediaType,
    Params,
    SummarizeParams,
    TaskName,
)

#: Characters that a question may have.
MOST_QUESTION = 2_000


def check_checkpoint(task: TaskName, params: Params, checkpoint: Checkpoint | None) -> None:
    """Refuses at once what the worker would refuse; without a checkpoint here, the worker does."""
    if checkpoint is None:
        return
    if isinstance(params, SummarizeParams) and params.mode == "abstractive":
        from mmapp.tasks.abstractive import refuse_unable

        refuse_unable(checkpoint.name, checkpoint.profile)
    if task is TaskName.ASK:
        from mmapp.tasks.ask import refuse_untrained

        refuse_untrained(checkpoint.name, checkpoint.profile)


def check_params(repository: Repository, task: TaskName, params: Params, max_photos: int) -> str:
    """What a person calls the input; raises when it can't become a result."""
    if task is TaskName.SUMMARIZE and isinstance(params, SummarizeParams):
        return _check_summarize(repository, params)
    if task is TaskName.CHECK_LISTING and isinstance(params, Listing):
        return _check_listing(repository, params, max_photos)
    if task is TaskName.ASK and isinstance(params, AskParams):
        return _check_ask(repository, params)
    if task is TaskName.EXTRACT and isinstance(params, ExtractParams):
        return _check_extract(repository, params)
    if task is TaskName.COMPARE and isinstance(params, CompareParams):
        return _check_compare(repository, params)
    if task is TaskName.FIGURES and isinstance(params, FiguresParams):
        return _check_figures(repository, params)
    raise BadInput(f"{task} can't be done with {type(params).__name__}")


def _check_summarize(repository: Repository, params: SummarizeParams) -> str:
    from mmapp.tasks.summarize import refuse_impossible

    refuse_impossible(params)
    return _readable(repository, params.document).name


def _check_ask(repository: Repository, params: AskParams) -> str:
    question = " ".join(params.question.split())
    if not question:
        raise BadInput("The question is empty; ask something about the document")
    if len(params.question) > MOST_QUESTION:
        raise BadInput(
            f"A question has at most {MOST_QUESTION:,} characters; this one has"
            f" {len(params.question):,}"
        )
    if records.plain(question) != question:
        raise BadInput("The question has characters that are no text; write it again")
    name = _readable(repository, params.document).name
    return f"{name}: {question[: records.HEADLINE]}"


def _check_extract(repository: Repository, params: ExtractParams) -> str:
    from mmapp.tasks.extract import check_fields

    check_fields(params.fields)
    name = _readable(repository, params.document).name
    return f"{name}: {', '.join(params.fields)}"[: records.HEADLINE] if params.fields else name


def _check_compare(repository: Repository, params: CompareParams) -> str:
    old, new = (_readable(repository, sha256).name for sha256 in (params.old, params.new))
    return f"{old} → {new}"


def _check_figures(repository: Repository, params: FiguresParams) -> str:
    document = found(repository.documents.find(params.document), "document", params.document)
    if document.media_type is not MediaType.PDF:
        raise BadInput(
            f"{document.name} is {document.media_type}; figures are looked for in PDFs. Check a"
            " photo with its words as a listing"
        )
    if document.encrypted:
        raise BadInput(
            f"{document.name} is encrypted, and its password is not kept; give it without a"
            " password to have its figures checked"
        )
    return document.name


def _readable(repository: Repository, sha256: str) -> Document:
    """The document, which has words to read, or pictures in which a run may find some."""
    document = found(repository.documents.find(sha256), "document", sha256)
    stored = repository.documents
    if not stored.characters(document.sha256) and not stored.wanting(document.sha256):
        raise NoText(f"{document.name}: no page has words to read; give a file with text")
    return document


def _check_listing(repository: Repository, listing: Listing, max_photos: int) -> str:
    title = " ".join(listing.title.split())
    if not title and not listing.propose:
        raise BadInput("The listing has no title; give one, or have one proposed")
    if listing.threshold is not None and not 0.5 <= listing.threshold < 1:
        raise BadInput(
            f"A threshold is a probability from 0.5 to below 1; {listing.threshold} is none"
        )
    if not 1 <= len(listing.photos) <= max_photos:
        raise BadInput(
            f"A listing has 1 to {max_photos} photos; this one has {len(listing.photos)}"
        )
    documents = repository.documents.find_many(listing.photos)
    for sha256 in listing.photos:
        photo = found(documents.get(sha256), "document", sha256)
        if not photo.media_type.is_image:
            raise BadInput(f"{photo.name} is {photo.media_type}, not a photo")
    return title or ", ".join(documents[sha256].name for sha256 in listing.photos)

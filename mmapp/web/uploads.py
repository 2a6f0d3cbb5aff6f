"""Documents out of a form: the files that were just uploaded, and those that were added before.

One file that can't be read never stops the others. Called by the pages Documents, Ask and Compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mmapp.errors import BadInput, EncryptedFile, MmappError, WrongPassword
from mmapp.records import document_hashes, params_from_json
from mmapp.types import Document, TaskName
from mmapp.web.frame import Site, delete_upload, file_problem, read_upload

#: Jobs whose documents are offered again, and how many of these.
RECENT_JOBS = 100
MOST_KNOWN = 30
#: Tasks whose documents are texts to be read.
READING = (
    TaskName.SUMMARIZE,
    TaskName.ASK,
    TaskName.EXTRACT,
    TaskName.COMPARE,
    TaskName.FIGURES,
)


@dataclass(slots=True)
class Uploaded:
    """What became of an upload."""

    documents: list[Document] = field(default_factory=list)
    #: (name, problem) of each file that could not be read.
    refused: list[tuple[str, str]] = field(default_factory=list)
    #: Paths that only lack the right password: they stay in the form.
    locked: list[str] = field(default_factory=list)


def add_documents(
    site: Site,
    paths: Sequence[str],
    password: str,
    use: Callable[[str, Document], object] | None = None,
) -> Uploaded:
    """Adds what can be read and tells what can't; refuses more files than may be sent at once.

    `use` is given the name and the document of each file, and may refuse it too.
    """
    limit = site.settings.max_upload_files
    if len(paths) > limit:
        raise BadInput(site.say("too_many_files", count=len(paths), limit=limit))
    uploaded = Uploaded()
    for path in paths:
        name, data = read_upload(path)
        try:
            document = site.jobs.add_document(name, data, password=password or None)
            if use is not None:
                use(name, document)
            uploaded.documents.append(document)
        except MmappError as problem:
            uploaded.refused.append((name, file_problem(site.say, problem)))
            if isinstance(problem, (EncryptedFile, WrongPassword)):
                uploaded.locked.append(path)
                continue
        delete_upload(path)
    return uploaded


def known_documents(site: Site, wanted: str = "") -> list[tuple[str, str]]:
    """(name, sha256) of the documents that recent jobs were about, newest first.

    `wanted`: the hash of one that is named before these.
    """
    hashes: dict[str, None] = {wanted: None} if wanted else {}
    for job in site.jobs.list(limit=RECENT_JOBS):
        if job.task in READING:
            hashes.update(dict.fromkeys(document_hashes(params_from_json(job.task, job.params))))
    documents = [site.jobs.document(sha256) for sha256 in list(hashes)[:MOST_KNOWN]]
    return [(document.name, document.sha256) for document in documents]

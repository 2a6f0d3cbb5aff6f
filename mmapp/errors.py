"""Every error that a person can meet.

An error says what is wrong with which thing, in numbers where there are any, and what to do about
it. `str(error)` is one line, ready for stderr, the web page and the `error` column of a batch.
`code` is stable, for programs. Any other exception is a defect of ours, logged with a trace.
"""

from __future__ import annotations


class MmappError(Exception):
    """A problem that a person can solve."""

    #: Stable name for programs.
    code = "error"
    #: Exit status of the command line.
    exit_code = 2
    #: The same may succeed a little later: a job that met it is tried again.
    may_pass = False


class BadInput(MmappError):
    """Something given by the user can't be used."""

    code = "bad_input"


class DocumentError(BadInput):
    """A file can't be read as a document."""

    code = "document"


class EmptyFile(DocumentError):
    """The file has no bytes, or no page in it."""

    code = "empty_file"


class UnsupportedFile(DocumentError):
    """The content is none of the kinds that can be read."""

    code = "unsupported_file"


class CorruptFile(DocumentError):
    """The content looks like a known kind but can't be opened."""

    code = "corrupt_file"


class EncryptedFile(DocumentError):
    """The PDF needs a password and none was given."""

    code = "encrypted_file"


class WrongPassword(DocumentError):
    """The password does not open the PDF."""

    code = "wrong_password"


class FileTooLarge(DocumentError):
    """More bytes, pages, frames or pixels than the settings allow."""

    code = "file_too_large"


class ParseTimeout(DocumentError):
    """Reading took longer than the settings allow; the reader was killed."""

    code = "parse_timeout"


class ParseCrash(DocumentError):
    """The reader process died (out of memory or a crash); nothing else was harmed."""

    code = "parse_crash"


class OcrFailed(DocumentError):
    """The words in a picture could not be recognised: too slow, too large, or no recogniser."""

    code = "ocr_failed"


class NoText(DocumentError):
    """No page has words to read."""

    code = "no_text"


class NotFound(MmappError):
    """No such job, document, batch or result."""

    code = "not_found"


class NotPossible(MmappError):
    """The job's status does not allow this."""

    code = "not_possible"


class TooManyWaiting(MmappError):
    """More jobs would wait than the settings allow, of one user or of all."""

    code = "too_many_waiting"


class BrokerDown(MmappError):
    """Redis does not answer. Jobs are kept in the database and are sent when it is back."""

    code = "broker_down"
    exit_code = 1


class DatabaseNotReady(MmappError):
    """The database does not answer or is not migrated."""

    code = "database_not_ready"
    exit_code = 1
    may_pass = True


class StorageProblem(MmappError):
    """A file can't be written or read: the disk is full, or the store of files does not answer."""

    code = "storage"
    exit_code = 1
    may_pass = True


class StorageRefused(StorageProblem):
    """The store of files is there and takes or gives none: wrong keys, or no such bucket."""

    code = "storage_refused"
    may_pass = False


class DamagedFile(MmappError):
    """A stored file holds other bytes than were stored."""

    code = "damaged_file"
    exit_code = 1


class OutOfMemory(MmappError):
    """The job needs more memory than the worker can get."""

    code = "out_of_memory"
    exit_code = 1
    may_pass = True


class DoesNotFit(BadInput):
    """No worker can hold even the smallest part of what the job would read."""

    code = "does_not_fit"


class JobStalled(MmappError):
    """The job made no progress for too long; its worker's process was ended."""

    code = "stalled"
    exit_code = 1
    may_pass = True


class CheckpointProblem(MmappError):
    """The checkpoint folder is missing, incomplete or does not fit."""

    code = "checkpoint"
    exit_code = 1


class JobFailed(MmappError):
    """The job ended without a result."""

    code = "job_failed"
    exit_code = 1


class JobCancelled(MmappError):
    """The job was cancelled by a person."""

    code = "job_cancelled"
    exit_code = 1


class LeaseLost(MmappError):
    """Another attempt owns the job now; this one stops without a trace."""

    code = "lease_lost"
    exit_code = 1

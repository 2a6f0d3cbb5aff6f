"""What went wrong with a run, as an error that a person can meet. Called by `running`.

An error that may pass lets the job be tried again after a pause; any other ends it at once.
"""

from __future__ import annotations

from mmapp.errors import DoesNotFit, JobFailed, MmappError, OutOfMemory, StorageProblem

#: Seconds until a job is tried again after its first, second and later attempts.
PAUSES_S = (1.0, 5.0, 30.0)

#: What torch says when memory ends: on a CPU, on a GPU, and from inside oneDNN.
MEMORY_WORDS = ("can't allocate memory", "out of memory", "could not create a primitive")
#: What engines say when a prompt is longer than their context.
CONTEXT_WORDS = "do not fit the context of"


def told(error: Exception) -> MmappError:
    """The error itself, or what it means."""
    if isinstance(error, MmappError):
        return error
    line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if _is_memory(error):
        return OutOfMemory(
            f"The job needs more memory than its worker can get ({line}); give it fewer pages, or"
            " the worker more memory"
        )
    if CONTEXT_WORDS in str(error):
        return DoesNotFit(
            f"The job needs more at once than its worker's engine holds ({line}); give it fewer"
            " photos, or the worker more memory (MMAPP_ENGINE_MEMORY_MB) or a checkpoint with a"
            " longer context"
        )
    # Without a number it is no word of the system: Pillow says so that a picture is broken.
    if isinstance(error, OSError) and error.errno is not None:
        return StorageProblem(f"A file can't be written or read ({line}); see worker.log")
    return JobFailed(f"The task stopped on an unforeseen error ({line}); see worker.log")


def pause_s(used: int) -> float:
    """Seconds until the next attempt, after `used` of them."""
    return PAUSES_S[min(used, len(PAUSES_S)) - 1]


def _is_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in MEMORY_WORDS)

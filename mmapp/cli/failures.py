"""Errors as one line on stderr that says what to do, and as an exit status.

The trace of a defect is shown only with MMAPP_LOG_LEVEL=DEBUG. Called by `mmapp.cli.app` for what
a verb raises, and by verbs that go on after a bad file.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

from mmapp.errors import EncryptedFile, MmappError

if TYPE_CHECKING:
    from pydantic import ValidationError

BAD_USAGE = 2
DEFECT = 1


def say(line: str) -> None:
    """One line on stderr, whatever the text held."""
    sys.stderr.write("mmapp: " + " ".join(line.split()) + "\n")
    sys.stderr.flush()


def report(error: Exception) -> int:
    """Says what went wrong; the exit status that belongs to it."""
    if is_debugging():
        traceback.print_exception(error)
    line, status = _explain(error)
    say(line)
    return status


def is_debugging() -> bool:
    return os.environ.get("MMAPP_LOG_LEVEL", "").upper() == "DEBUG"


def _explain(error: Exception) -> tuple[str, int]:
    from pydantic import ValidationError

    if isinstance(error, EncryptedFile):
        return f"{str(error).rstrip('.')} with --password.", error.exit_code
    if isinstance(error, MmappError):
        return str(error), error.exit_code
    if isinstance(error, ValidationError):
        return _bad_setting(error), BAD_USAGE
    if hasattr(error, "format_message"):
        return _bad_usage(error), BAD_USAGE
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path and its permissions", BAD_USAGE
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return (
        f"unforeseen error ({what}); run it again with MMAPP_LOG_LEVEL=DEBUG to see where, and look"
        " into the logs folder of the data folder",
        DEFECT,
    )


def _bad_usage(error: Exception) -> str:
    """An error of the parser: what it says, and where the help is."""
    message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "mmapp"
    return f"{message}; see `{command} --help`"


def _bad_setting(error: ValidationError) -> str:
    """The first wrong setting, by the name of its variable."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]).upper() if first["loc"] else "the settings"
    variable = name if name.startswith("MMAPP_") else f"MMAPP_{name}"
    if first["type"] == "extra_forbidden":
        return f"{variable} in .env is no setting; correct its name or remove it"
    return f"{variable}={first['input']!s:.80} can't be used: {first['msg']}"

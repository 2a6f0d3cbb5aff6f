"""The one error of the converters. Raised by all of them, caught by `cli`."""

from __future__ import annotations


class ConvertError(ValueError):
    """The files cannot be converted; the message names the file or value, and what to do."""

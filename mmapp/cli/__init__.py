"""The command line: thin verbs over `mmapp.jobs`; imports nothing heavy until a verb needs it."""

from __future__ import annotations


def main() -> None:
    """Console script `mmapp`."""
    raise SystemExit("mmapp: the command line is being written")

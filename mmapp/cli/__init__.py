"""The command line: thin verbs over `mmapp.jobs`; imports nothing heavy until a verb needs it.

`main` is the console script `mmapp`. Results go to stdout, everything else to stderr. Exit status:
0 done, 1 a job failed, 2 bad usage or input, 3 some rows of a batch failed, 130 interrupted.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Console script `mmapp`."""
    from mmapp.cli.app import run

    sys.exit(run(sys.argv[1:]))

"""One line on a terminal's stderr with the time left, for what takes more than a moment.

Elsewhere nothing is written. Called by the commands of `python -m model`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

QUIET_SECONDS = 2.0  #: what takes no longer shows no progress


class Progress:
    """`shown`: how far it is, in words, from what is done and what there is in all."""

    def __init__(self, doing: str, shown: Callable[[int, int], str]) -> None:
        self._doing, self._shown = doing, shown
        self._started = time.monotonic()
        self._is_shown = False

    def __call__(self, done: int, total: int) -> None:
        elapsed = time.monotonic() - self._started
        if not sys.stderr.isatty():
            return
        if done == total:
            self._clear()
        elif elapsed > QUIET_SECONDS and done:
            left = elapsed / done * (total - done)
            line = f"{self._doing} {self._shown(done, total)}, {left:.0f} s left"
            sys.stderr.write(f"\r\033[K{line}")
            sys.stderr.flush()
            self._is_shown = True

    def _clear(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r\033[K")

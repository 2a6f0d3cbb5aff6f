"""Ids of jobs and batches: short, unguessable enough for one deployment, and in order of time."""

from __future__ import annotations

import secrets
import threading
import time

#: Crockford's base 32: no i, l, o, u, so that nobody misreads one; sorts like the number.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 16
RANDOM_BITS = 32

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """48 bits of milliseconds, 32 random bits; a later id of the same process is always greater."""
    global _last
    with _lock:
        moment = time.time_ns() // 1_000_000
        _last = max(_last + 1, moment << RANDOM_BITS | secrets.randbits(RANDOM_BITS))
        value = _last
    digits = [ALPHABET[value >> 5 * place & 31] for place in range(LENGTH)]
    return "".join(reversed(digits))

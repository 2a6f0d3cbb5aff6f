"""One engine in a process of its own that reads a long text bit by bit, and tells what it took.

Called by `context`, through a pipe: a number of tokens in, what they cost out. A reader that would
take more memory than it is given says so in place of being killed, or killing others.

Letters: B batch, T tokens.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import torch

from benchmarks.runners import Ours, Transformers, peak_bytes, random_ids

WARM_TOKENS = 64  #: read before anything is measured: libraries load what they need when first used


@dataclass(frozen=True)
class Taken:
    """What reading a text took, from its first token on."""

    tokens: int
    cpu_seconds: float  #: of all threads
    wall_seconds: float
    peak_bytes: int  #: of memory, beyond what the process had when the weights were loaded
    cache_bytes: int  #: keys and values that are held; 0 where nothing goes on


class Reader(Protocol):
    """Reads a text of random tokens."""

    goes_on: bool  #: where it stopped; else each reading is of a new text

    def restart(self) -> None:
        """Forget what was read."""

    def read(self, tokens: int) -> None:
        """So many tokens, up to what predicts the next."""

    @property
    def cache_bytes(self) -> int:
        """Keys and values of what was read."""


class OurReader(Ours):
    """Ours, in pieces as `Engine` reads."""

    goes_on = True

    def restart(self) -> None:
        from model.cache import Cache

        self.cache = Cache(self.transformer.config.text, 1, self.dtype, "cpu")

    @torch.inference_mode()
    def read(self, tokens: int) -> None:
        from model.engine import PIECE_TOKENS

        for piece_BT in torch.split(random_ids(tokens, 1), PIECE_TOKENS, dim=1):
            self._read(piece_BT)

    @property
    def cache_bytes(self) -> int:
        return self.cache.nbytes


class PieceReader(Transformers):
    """transformers, in the same pieces: what it can do for long texts in little memory."""

    goes_on = True
    cache: Any = None

    def restart(self) -> None:
        self._set("sdpa")
        self.cache = None

    @torch.inference_mode()
    def read(self, tokens: int) -> None:
        from model.engine import PIECE_TOKENS

        for piece_BT in torch.split(random_ids(tokens, 1), PIECE_TOKENS, dim=1):
            _, self.cache = self._read(piece_BT, self.cache)

    @property
    def cache_bytes(self) -> int:
        layers = self.cache.layers
        return sum(x.nbytes for layer in layers for x in (layer.keys, layer.values))


class WholeReader(Transformers):
    """transformers, all in one pass, as it reads a prompt unless it is told otherwise."""

    goes_on = False

    def restart(self) -> None:
        self._set("sdpa")

    def read(self, tokens: int) -> None:
        self.prefill(tokens, "sdpa")
        self.states.clear()

    @property
    def cache_bytes(self) -> int:
        return 0


READERS: dict[str, Callable[[Path, str, int], Reader]] = {
    "ours": OurReader,
    "transformers, in pieces": PieceReader,
    "transformers, in one pass": WholeReader,
}


class OutOfMemory(Exception):
    """The reader would need more memory than it was given."""


class ReaderProcess:
    """A reader that waits for work; to be closed."""

    def __init__(self, name: str, path: Path, dtype: str, threads: int, memory_bytes: int) -> None:
        spawn = get_context("spawn")
        self.name = name
        self._pipe, theirs = spawn.Pipe()
        arguments = (theirs, name, path, dtype, threads, memory_bytes)
        self._process = spawn.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def read(self, tokens: int) -> Taken:
        """So many tokens, or so many more. Raises OutOfMemory; the process has ended then."""
        try:
            self._pipe.send(tokens)
            taken: Taken | str = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            status = self._process.exitcode
            raise SystemExit(f"error: {self.name} ended with status {status}") from None
        if isinstance(taken, str):
            self.close()
            raise OutOfMemory(taken)
        return taken

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


def _serve(
    pipe: Connection, name: str, path: Path, dtype: str, threads: int, memory_bytes: int
) -> None:
    torch.set_num_threads(threads)
    reader = READERS[name](path, dtype, 0)
    reader.restart()
    reader.read(WARM_TOKENS)
    reader.restart()
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    nothing = taken = Taken(0, 0.0, 0.0, 0, 0)
    loaded = peak_bytes()
    with suppress(EOFError):  # told to end
        while True:
            tokens = pipe.recv()
            try:
                taken = _timed(reader, tokens, taken if reader.goes_on else nothing, loaded)
            except (MemoryError, RuntimeError) as error:
                if "memory" not in str(error):
                    raise
                pipe.send(str(error))
                return
            pipe.send(taken)


def _timed(reader: Reader, tokens: int, before: Taken, loaded: int) -> Taken:
    cpu, wall = time.process_time(), time.perf_counter()
    reader.read(tokens)
    return Taken(
        before.tokens + tokens,
        before.cpu_seconds + time.process_time() - cpu,
        before.wall_seconds + time.perf_counter() - wall,
        peak_bytes() - loaded,
        reader.cache_bytes,
    )

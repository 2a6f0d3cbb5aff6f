"""`python -m benchmarks.prefix FOLDER`: what the second question on a document costs.

Three ways to ask again: about the same document; with the question as a part of the prompt, so that
prompts differ before they end; and in a new process that finds the reading in a folder. Each is
compared with the first question, which reads the document. Tokens are random: reading costs the
same whatever they say.

    python -m benchmarks.prefix checkpoints/nano --quick    4,096 tokens, else the whole context
    python -m benchmarks.prefix checkpoints/nano --json     rows of way, seconds, share, read
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import model
from model.engine import OnProgress
from model.progress import Progress

QUICK_TOKENS = 4_096
SPARE_TOKENS = 256  # for questions and turns
MEMORY_BYTES = DISK_BYTES = 4 * 2**30
QUESTIONS = ("What does the document say of the budget?", "Who wrote this, and when?")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prefix", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a checkpoint folder")
    parser.add_argument("--tokens", type=int, help="of the document; default: the whole context")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TOKENS:,} tokens")
    parser.add_argument("--json", action="store_true", help="rows as JSON on stdout")
    arguments = parser.parse_args(argv)
    rows = measure(arguments.folder, QUICK_TOKENS if arguments.quick else arguments.tokens)
    sys.stdout.write(json.dumps(rows, indent=2) + "\n" if arguments.json else table(rows))
    return 0


def measure(folder: Path, tokens: int | None) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as kept:
        store = model.PrefixStore(MEMORY_BYTES, kept, DISK_BYTES)
        engine = model.load(folder, prefixes=store)
        _ = engine.weights_sha256  # read once for each loaded checkpoint
        document = _document(engine, tokens or engine.context_length - SPARE_TOKENS)
        first, second = QUESTIONS
        rows = [_row("first question", engine, [document], first, Progress("reading", _shown))]
        rows.append(_row("second question, same document", engine, [document], second))
        engine.prefill([document, " ", first])
        inside = [document, " ", second]
        rows.append(_row("second question inside the prompt", engine, inside, ""))
        store.flush()
        fresh = model.load(folder, prefixes=model.PrefixStore(MEMORY_BYTES, kept, DISK_BYTES))
        _ = fresh.weights_sha256
        rows.append(_row("second question, read back from disk", fresh, [document], second))
    return [{**row, "share": row["cpu_seconds"] / rows[0]["cpu_seconds"]} for row in rows]


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"{row['way']:<38}{row['tokens']:>8,} tokens, {row['read']:>7,} read"
        f"{row['cpu_seconds']:>9.3f} CPU s {100 * row['share']:>7.2f} %"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _row(
    way: str,
    engine: model.Engine,
    parts: Sequence[str],
    question: str,
    watch: OnProgress | None = None,
) -> dict[str, Any]:
    seen: list[tuple[int, int]] = []

    def on_progress(done: int, total: int) -> None:
        seen.append((done, total))
        if watch is not None:
            watch(done, total)

    wall, cpu = time.perf_counter(), time.process_time()
    prefix = engine.prefill(parts, on_progress)
    engine.score(prefix, [(question, "yes"), (question, "no")])
    return {
        "way": way,
        "tokens": prefix.length,
        "read": seen[-1][1] - seen[0][0],
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
    }


def _document(engine: model.Engine, tokens: int) -> str:
    """Text of about so many tokens, and no more."""
    chance = random.Random(0)
    words = [f"{chance.choice('bcdfgklmnprst')}{chance.choice('aeiou')}" for _ in range(tokens)]
    text = " ".join(words)
    return text[: int(len(text) * tokens / engine.count_tokens(text) * 0.98)]


def _shown(done: int, total: int) -> str:
    return f"{done:,}/{total:,} tokens"


if __name__ == "__main__":
    sys.exit(main())

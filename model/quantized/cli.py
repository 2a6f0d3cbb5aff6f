"""`python -m model quantize FOLDER OUT --bits N`: a checkpoint with its weights in fewer bits.

    --bits 8    whole numbers, a scale for each row: half of bfloat16, hardly different
    --bits 4    whole numbers in groups of 128: a quarter; best with --calibrate
    --bits fp8  8-bit floats, for GPUs that multiply them
    --unembedding   the last matrix too, which published checkpoints leave as it is; in decoding a
                    model with a large vocabulary reads little else

It writes what compressed-tensors calls pack-quantized or float-quantized, which vLLM and others
read too. The perplexity before and after is measured, from the written files, on the text of
--held-out, or on the last tenth of --calibrate, which is then kept out of the calibration. It
refuses checkpoints that are quantized already and, unless forced, to write over what exists; what
is not finished leaves nothing behind. Called by `model.__main__`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint import load_config, load_transformer, save_checkpoint
from model.engine import EngineError, choose_device, choose_dtype
from model.outputs import (
    bytes_of,
    copy_companions,
    in_bytes,
    refuse_full_disk,
    refuse_output,
    whole,
)
from model.progress import Progress
from model.quantized.perplexity import WINDOW_TOKENS, perplexity, windows_of
from model.quantized.quantize import quantize
from model.quantized.rounding import Precision, RoundingError
from model.tokenizer import Tokenizer

GROUP = 128  #: weights of 4 bits that share a scale, unless told otherwise: as in published ones
SAMPLE_ROWS, SAMPLE_TOKENS = 32, 512  #: what is read to calibrate
HELD_OUT_PART = 10  #: one of so many tokens of the text to calibrate with


@dataclass(frozen=True)
class Loss:
    """What rounding cost, on text that it has not seen."""

    before: float  #: perplexity
    after: float
    tokens: int

    @property
    def percent(self) -> float:
        return 100 * (self.after / self.before - 1)


@dataclass(frozen=True)
class Texts:
    """Token ids of the text to calibrate with and of the text to measure on; empty: none."""

    sample: list[int]
    held_out: list[int]


def main(argv: Sequence[str]) -> int:
    """Returns the exit code: 0 done, 2 bad usage or input, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        run(arguments)
    except (ValueError, OSError, EngineError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return 0


def run(arguments: argparse.Namespace) -> None:
    source, out, started = arguments.folder, arguments.out, time.monotonic()
    precision = Precision(arguments.bits, _group(arguments))
    device = choose_device(arguments.device)
    config = load_config(source)
    if config.quantization is not None:
        raise RoundingError(
            f"{source} is quantized already ({config.quantization.method}): name the checkpoint "
            "that it was made from"
        )
    refuse_output(source, out, is_file=False, force=arguments.force)
    refuse_full_disk(out, bytes_of(source))
    texts = _texts(arguments)
    with whole(out) as partial:
        partial.mkdir(parents=True)
        sample_BT = _sample(texts.sample, config.text.bos_token_id)
        _write(source, partial, precision, device, sample_BT, arguments.unembedding)
        loss = _measure(source, partial, texts.held_out, device)
    seconds = time.monotonic() - started
    if arguments.json:
        sys.stdout.write(json.dumps(_as_json(source, out, precision, loss, seconds)) + "\n")
    else:
        sys.stdout.write(_as_text(source, out, loss, seconds))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model quantize",
        description="Write a checkpoint with its weights in fewer bits.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a checkpoint folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write")
    parser.add_argument(
        "--bits", choices=("8", "4", "fp8"), required=True, help="of each weight in the layers"
    )
    parser.add_argument(
        "--group", type=int, metavar="N",
        help=f"weights that share a scale; default: {GROUP} for 4 bits, else a whole row",
    )  # fmt: skip
    parser.add_argument(
        "--unembedding", action="store_true",
        help="also the matrix that makes logits; not every engine reads that",
    )  # fmt: skip
    parser.add_argument(
        "--calibrate", type=Path, metavar="TEXT",
        help="UTF-8 text like what will be read: rounding errors move to where they matter least",
    )  # fmt: skip
    parser.add_argument(
        "--held-out", type=Path, metavar="TEXT",
        help="UTF-8 text to measure perplexity on; default: the end of --calibrate",
    )  # fmt: skip
    parser.add_argument(
        "--tokens", type=int, default=20_000, metavar="N", help="to measure perplexity on, at most"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser


def _group(arguments: argparse.Namespace) -> int | None:
    return GROUP if arguments.group is None and arguments.bits == "4" else arguments.group


def _texts(arguments: argparse.Namespace) -> Texts:
    """Read now, so that a wrong file is told before the work."""
    if arguments.calibrate is None and arguments.held_out is None:
        return Texts([], [])
    tokenizer = Tokenizer.from_folder(arguments.folder)
    sample = _token_ids(arguments.calibrate, tokenizer)
    held_out = _token_ids(arguments.held_out, tokenizer)
    if arguments.held_out is None:
        kept = len(sample) - len(sample) // HELD_OUT_PART
        sample, held_out = sample[:kept], sample[kept:]
    return Texts(sample, held_out[: arguments.tokens])


def _token_ids(path: Path | None, tokenizer: Tokenizer) -> list[int]:
    if path is None:
        return []
    try:
        token_ids = tokenizer.encode(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise RoundingError(f"{path} is not UTF-8 text: convert it") from None
    if len(token_ids) < SAMPLE_TOKENS:
        raise RoundingError(
            f"{path} has {len(token_ids):,} tokens: give at least {SAMPLE_TOKENS:,}, better "
            f"{SAMPLE_ROWS * SAMPLE_TOKENS:,}"
        )
    return token_ids


def _sample(token_ids: list[int], bos: int | None) -> Tensor | None:
    """Rows from all parts of the text."""
    if not token_ids:
        return None
    windows = windows_of(token_ids, bos, min(SAMPLE_TOKENS, len(token_ids)))
    return torch.stack(windows[:: max(1, len(windows) // SAMPLE_ROWS)][:SAMPLE_ROWS])


def _write(
    source: Path,
    out: Path,
    precision: Precision,
    device: torch.device,
    sample_BT: Tensor | None,
    with_unembedding: bool,
) -> None:
    transformer = load_transformer(source, device=device)
    sample_BT = None if sample_BT is None else sample_BT.to(device)
    progress = Progress("quantizing", _in_layers)
    quantize(transformer, precision, sample_BT, progress, with_unembedding=with_unembedding)
    save_checkpoint(transformer, out)
    copy_companions(source, out)


def _measure(source: Path, out: Path, token_ids: list[int], device: torch.device) -> Loss | None:
    if not token_ids:
        return None
    text = load_config(source).text
    size = min(WINDOW_TOKENS, text.max_position_embeddings, len(token_ids))
    windows = windows_of(token_ids, text.bos_token_id, size)
    dtype = choose_dtype("auto", device)
    before, after = (
        perplexity(load_transformer(folder, dtype, device), windows, Progress(doing, _in_tokens))
        for folder, doing in ((source, "measuring before"), (out, "measuring after"))
    )
    return Loss(before, after, sum(len(window_T) - 1 for window_T in windows))


def _as_json(
    source: Path, out: Path, precision: Precision, loss: Loss | None, seconds: float
) -> dict[str, Any]:
    return {
        "out": str(out),
        "bits": precision.kind,
        "group": precision.group,
        "bytes": bytes_of(out),
        "bytes_before": bytes_of(source),
        "perplexity": None if loss is None else {**asdict(loss), "percent_lost": loss.percent},
        "seconds": round(seconds, 1),
    }


def _as_text(source: Path, out: Path, loss: Loss | None, seconds: float) -> str:
    sizes = f"{in_bytes(bytes_of(out))}, before {in_bytes(bytes_of(source))}"
    lost = "perplexity not measured: give --held-out TEXT"
    if loss is not None:
        lost = (
            f"perplexity {loss.after:.4g}, before {loss.before:.4g} ({loss.percent:+.2f} %), "
            f"on {loss.tokens:,} tokens"
        )
    return f"{out}: {sizes}, in {seconds:.0f} s\n{lost}\n"


def _in_layers(done: int, total: int) -> str:
    return f"layer {done} of {total}"


def _in_tokens(done: int, total: int) -> str:
    return f"{done:,} of {total:,} tokens"

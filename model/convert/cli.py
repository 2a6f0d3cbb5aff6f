"""`python -m model convert`: Meta's files or a checkpoint folder to a checkpoint folder or GGUF.

    python -m model convert META_FOLDER OUT           consolidated.NN.pth to a checkpoint
    python -m model convert FOLDER OUT                a checkpoint, saved again
    python -m model convert FOLDER OUT.gguf           for llama.cpp

It refuses to write over what exists, unless told to, and then only over a checkpoint or GGUF file;
what is not finished leaves nothing behind. Called by `model.__main__`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from model.checkpoint import CONFIG, load_transformer, save_checkpoint
from model.convert.errors import ConvertError
from model.convert.gguf import DTYPES, export_gguf
from model.convert.meta import VOCABULARY, convert_meta, read_meta
from model.convert.pickles import weight_files
from model.outputs import (
    bytes_of,
    copy_companions,
    in_bytes,
    refuse_full_disk,
    refuse_output,
    whole,
)
from model.progress import Progress

DTYPES_HF = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def main(argv: Sequence[str]) -> int:
    """Returns the exit code: 0 done, 2 bad usage or input, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    started = time.monotonic()
    try:
        convert(arguments)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    size, seconds = in_bytes(bytes_of(arguments.out)), time.monotonic() - started
    sys.stderr.write(f"{arguments.out}: {size} in {seconds:.0f} s\n")
    return 0


def convert(arguments: argparse.Namespace) -> None:
    source, out = arguments.source, arguments.out
    to = arguments.to or ("gguf" if out.suffix == ".gguf" else "hf")
    files = weight_files(source)
    if not files and not (source / CONFIG).is_file():
        raise ConvertError(
            f"{source} is no checkpoint: it has neither {CONFIG} nor Meta's consolidated.00.pth"
        )
    if files and to == "gguf":
        raise ConvertError(
            f"{source} holds Meta's files: convert them to a checkpoint folder first"
        )
    if files and arguments.dtype:
        raise ConvertError("--dtype is for checkpoints: Meta's weights are kept as they are")
    refuse_output(source, out, is_file=to == "gguf", force=arguments.force)
    with whole(out) as partial:
        if to == "gguf":
            _to_gguf(source, partial, arguments.dtype or "bf16")
        else:
            partial.mkdir(parents=True)
            if files:
                _from_meta(source, partial, files, arguments.context)
            else:
                _again(source, partial, arguments.dtype)


def in_sizes(done: int, total: int) -> str:
    """How far a writing is."""
    return f"{in_bytes(done)} of {in_bytes(total)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model convert",
        description="Meta's files or a checkpoint folder to a checkpoint folder or a GGUF file.",
    )
    parser.add_argument("source", type=Path, metavar="FOLDER", help="a checkpoint, or Meta's files")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder, or file that ends in .gguf")
    parser.add_argument(
        "--to", choices=("hf", "gguf"), help="default: gguf if OUT ends so, else a folder"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, help="default: bf16 for GGUF, for a folder as it is"
    )
    parser.add_argument(
        "--context", type=int, metavar="N", help="tokens, where Meta's files do not say"
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    return parser


def _from_meta(source: Path, out: Path, files: Sequence[Path], context: int | None) -> None:
    refuse_full_disk(out, sum(path.stat().st_size for path in files))
    meta = read_meta(source)
    convert_meta(meta, source / VOCABULARY, out, context, Progress("writing", in_sizes))


def _again(source: Path, out: Path, dtype: str | None) -> None:
    """As our own checkpoints are saved, which is as transformers names things."""
    if dtype == "q8_0":
        raise ConvertError("--dtype q8_0 is for GGUF: a checkpoint folder holds f32, bf16 or f16")
    refuse_full_disk(out, bytes_of(source))
    save_checkpoint(load_transformer(source, DTYPES_HF[dtype] if dtype else None), out)
    copy_companions(source, out)


def _to_gguf(source: Path, out: Path, dtype: str) -> None:
    refuse_full_disk(out.parent, bytes_of(source) // 2)
    done = export_gguf(source, out, dtype, Progress("writing", in_sizes))
    if done.left_out:
        sys.stderr.write(
            f"note: the vision encoder ({done.left_out:,} parameters) is left out; llama.cpp reads "
            "text only from this file\n"
        )
    if done.not_quantised:
        sys.stderr.write(
            f"note: {done.not_quantised} tensors have rows that are no multiple of 32 and are f16\n"
        )

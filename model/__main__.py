"""`python -m model`: generate, score and describe a checkpoint without the application; train,
evaluate and convert one.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 2 bad usage or input,
130 interrupted. An error is one line that says what to do.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from model.checkpoint import CheckpointError
from model.config import ConfigError
from model.describe import Description, Division, Place, Share, describe
from model.engine import (
    Continuation,
    Engine,
    EngineError,
    choose_cache_dtype,
    choose_devices,
    choose_dtype,
    load,
)
from model.experts import expert_use, plot, table
from model.image import ImageConfigError
from model.memory import Device, devices_named, gpus
from model.pages import CACHE_DTYPES
from model.placement import WAYS, PlacementError
from model.prefixes import PrefixStore
from model.progress import Progress
from model.prompt import Part, PromptError
from model.readings import Prefix
from model.sample import SamplingError
from model.tokenizer import TokenizerError

REMEMBERED_BYTES = 10 * 2**30  #: that --remember keeps, in memory and in its folder
DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130

KNOWN_ERRORS = (
    CheckpointError,
    ConfigError,
    EngineError,
    ImageConfigError,
    PlacementError,
    PromptError,
    SamplingError,
    TokenizerError,
)


class InputError(Exception):
    """A file that was named cannot be read; the message names it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in ("train", "evaluate"):
        from model.train.cli import main as train_main  # not loaded to generate

        return train_main(words[0], words[1:])
    if words and words[0] == "convert":
        from model.convert.cli import main as convert_main

        return convert_main(words[1:])
    if words and words[0] == "quantize":
        from model.quantized.cli import main as quantize_main

        return quantize_main(words[1:])
    arguments = _parser().parse_args(words)
    run: Callable[[argparse.Namespace], None] = arguments.run
    try:
        run(arguments)
    except (*KNOWN_ERRORS, InputError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    return DONE


def run_generate(arguments: argparse.Namespace) -> None:
    engine = _load(arguments, _store(arguments))
    started = time.monotonic()
    prefix = _prefill(engine, arguments)
    read = time.monotonic()
    text = engine.generate(
        prefix,
        arguments.prompt,
        max_tokens=arguments.max_tokens,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
        allowed=arguments.allowed,
        on_token=None if arguments.json else _say,
    )
    if not arguments.json:
        return _say("\n")
    seconds = {"prefill": read - started, "generate": time.monotonic() - read}
    tokens = {"prefix": prefix.length, "generated": engine.count_tokens(text)}
    return _say_json({"text": text, "tokens": tokens, "seconds": seconds, "model": _model(engine)})


def run_score(arguments: argparse.Namespace) -> None:
    engine = _load(arguments, _store(arguments))
    prefix = _prefill(engine, arguments)
    asked = [_continuation(arguments.prompt, text) for text in arguments.continuation]
    scores = engine.score(prefix, asked, Progress("scoring", in_tokens))
    results = [
        {"continuation": text, "log_probability": score}
        for text, score in zip(arguments.continuation, scores, strict=True)
    ]
    if arguments.json:
        tokens = {"prefix": prefix.length}
        return _say_json({"scores": results, "tokens": tokens, "model": _model(engine)})
    return _say("".join(f"{r['log_probability']:10.4f}  {r['continuation']}\n" for r in results))


def run_describe(arguments: argparse.Namespace) -> None:
    dtype = choose_dtype(arguments.dtype, choose_devices(arguments.device)[0])
    cache_dtype = choose_cache_dtype(arguments.cache_dtype, dtype)
    several = arguments.devices or (gpus() if len(gpus()) > 1 else ())
    description = describe(
        arguments.folder, dtype, arguments.context, cache_dtype, several, arguments.way
    )
    if arguments.json:
        return _say_json(description.as_json())
    return _say(_description_lines(description))


def run_experts(arguments: argparse.Namespace) -> None:
    engine = _load(arguments)
    documents = [[_read_either(path)] for path in arguments.file]
    uses = expert_use(engine, documents, Progress("reading", in_tokens))
    if arguments.plot:
        try:
            arguments.plot.write_text(plot(uses, engine.name), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{arguments.plot} cannot be written: {error.strerror}") from None
    if arguments.json:
        rows = [{**asdict(use), "experts_in_use": use.experts_in_use} for use in uses]
        return _say_json({"experts": rows, "model": _model(engine)})
    return _say(table(uses))


def in_tokens(done: int, total: int) -> str:
    """How far a reading is."""
    return f"[{'#' * (20 * done // total):20}] {done:,}/{total:,} tokens"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model", description=__doc__)
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    generate = _verb(verbs, "generate", run_generate, "write an answer to a prompt")
    _add_reading(generate)
    generate.add_argument("--prompt", required=True, metavar="TEXT", help="the question")
    generate.add_argument(
        "--max-tokens", type=_positive, default=256, metavar="N", help="end after so many tokens"
    )
    generate.add_argument(
        "--temperature", type=float, default=0.0, metavar="X", help="0 takes the likeliest token"
    )
    generate.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="draw among the likeliest only"
    )
    generate.add_argument("--seed", type=int, metavar="N", help="draw the same again")
    generate.add_argument(
        "--allowed", action="append", metavar="TEXT", help="the answer is one of these; repeatable"
    )
    score = _verb(verbs, "score", run_score, "log-probabilities of answers or continuations")
    _add_reading(score)
    score.add_argument(
        "--prompt", metavar="TEXT", help="the question; without it the text itself is continued"
    )
    score.add_argument(
        "--continuation",
        action="append",
        required=True,
        metavar="TEXT",
        help="what is scored; repeatable",
    )
    described = _verb(
        verbs, "describe", run_describe, "size, layers and memory of a checkpoint",
        "a checkpoint folder, or a model of the family such as llama-3.1-405b",
    )  # fmt: skip
    described.add_argument(
        "--context", type=_positive, metavar="N", help="tokens to count the cache for"
    )
    described.add_argument(
        "--devices", type=_devices, metavar="8x80GiB",
        help="divide the model among these; default: the GPUs here, if there are several",
    )  # fmt: skip
    used = _verb(verbs, "experts", run_experts, "which experts texts and images are sent to")
    used.add_argument(
        "file", type=Path, nargs="+", metavar="TEXT-OR-IMAGE", help="read one after another"
    )
    used.add_argument("--plot", type=Path, metavar="FILE", help="write a heat map as SVG")
    verbs.add_parser("convert", help="from Meta's files, to GGUF (its own --help)", add_help=False)
    verbs.add_parser("quantize", help="weights in fewer bits (its own --help)", add_help=False)
    verbs.add_parser("train", help="train a checkpoint (its own --help)", add_help=False)
    verbs.add_parser("evaluate", help="measure a checkpoint (its own --help)", add_help=False)
    return parser


def _verb(
    verbs: Any,
    name: str,
    run: Callable[[argparse.Namespace], None],
    explanation: str,
    folder: str = "a checkpoint folder",
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name, help=explanation, description=explanation
    )
    verb.set_defaults(run=run)
    verb.add_argument("folder", type=Path, metavar="FOLDER", help=folder)
    verb.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    verb.add_argument(
        "--cache-dtype", default="auto", metavar="DTYPE",
        help=f"of what was read: auto (as computed), {', '.join(CACHE_DTYPES)}",
    )  # fmt: skip
    verb.add_argument(
        "--device", default="auto", help="auto, cpu or cuda; several devices: cuda:0,cuda:1"
    )
    verb.add_argument(
        "--way", choices=WAYS, default=WAYS[0], help="how several devices share a model"
    )
    verb.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return verb


def _add_reading(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--document", type=Path, action="append", default=[], metavar="FILE",
        help="UTF-8 text read before the prompt; repeatable",
    )  # fmt: skip
    verb.add_argument(
        "--image", type=Path, action="append", default=[], metavar="FILE",
        help="image read before the prompt, after the documents; repeatable",
    )  # fmt: skip
    verb.add_argument(
        "--remember", type=Path, metavar="FOLDER",
        help="keep what was read in files there, and read nothing twice",
    )  # fmt: skip


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word} is not above 0")
    return number


def _devices(words: str) -> list[Device]:
    try:
        return devices_named(words)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _load(arguments: argparse.Namespace, prefixes: PrefixStore | None = None) -> Engine:
    return load(
        arguments.folder,
        arguments.dtype,
        arguments.device,
        cache_dtype=arguments.cache_dtype,
        prefixes=prefixes,
        way=arguments.way,
    )


def _store(arguments: argparse.Namespace) -> PrefixStore | None:
    if arguments.remember is None:
        return None
    try:
        return PrefixStore(REMEMBERED_BYTES, arguments.remember, REMEMBERED_BYTES)
    except OSError as error:
        raise InputError(f"--remember {arguments.remember}: {error.strerror}") from None


def _prefill(engine: Engine, arguments: argparse.Namespace) -> Prefix:
    prefix = engine.prefill(_parts(arguments), Progress("reading", in_tokens))
    if engine.prefixes is not None:
        engine.prefixes.flush()
    return prefix


def _parts(arguments: argparse.Namespace) -> list[Part]:
    documents = [_read_text(path) for path in arguments.document]
    return [*documents, *(_read_image(path) for path in arguments.image)]


def _continuation(prompt: str | None, text: str) -> Continuation:
    return text if prompt is None else (prompt, text)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text: convert it, or give it as --image") from None


def _read_image(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from None


def _read_either(path: Path) -> Part:
    """UTF-8 text, or else an image."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return _read_image(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _model(engine: Engine) -> dict[str, str]:
    return {
        "name": engine.name,
        "weights_sha256": engine.weights_sha256,
        "dtype": engine.dtype,
        "device": engine.device,
    }


def _description_lines(d: Description) -> str:
    sees = "none: reads text only"
    if d.tokens_per_tile:
        sees = f"{d.tokens_per_tile} tokens per tile"
    if d.features_per_image:
        sees = f"by cross-attention to at most {d.features_per_image:,} features per image"
    lines = [
        f"checkpoint   {d.name}",
        f"parameters   {d.parameters:,}; a text token passes {d.parameters_active:,}",
        f"vision       {sees}; {d.parameters_vision:,} parameters",
        f"vocabulary   {d.vocabulary:,} tokens",
        f"context      {d.context_length:,} tokens",
        f"weights      {_mebibytes(d.weights_bytes)} in {d.dtype}",
        f"cache        {_mebibytes(d.cache_bytes)} for {d.cache_tokens:,} tokens in "
        f"{d.cache_dtype}",
        *([_image_line(d)] if d.features_per_image else []),
        *(f"here         {_place_line(place)}" for place in d.devices),
        *(_division_lines(d.division, d.cache_tokens) if d.division else []),
        f"GPUs needed  {', or '.join(f'{n} of {size}' for size, n in d.gpus_needed.items())}",
        f"layers       {len(d.layers)}",
    ]
    place = 0
    for kind, same in groupby(d.layers):
        last = place + len(list(same)) - 1
        lines.append(f"  {place}-{last}: {kind}" if last > place else f"  {place}: {kind}")
        place = last + 1
    lines.append(f"cache by context, in {d.cache_dtype}; in brackets if all layers held everything")
    lines += [
        f"  {context.tokens:>10,} tokens {_mebibytes(context.cache_bytes):>15}"
        f"  ({_mebibytes(context.cache_bytes_in_full)})"
        for context in d.contexts
    ]
    return "\n".join(lines) + "\n"


def _image_line(d: Description) -> str:
    return f"             and at most {_mebibytes(d.cache_bytes_per_image)} for each image"


def _place_line(place: Place) -> str:
    verdict = "fits" if place.fits else "does not fit"
    return f"{verdict} {place.name}, {_mebibytes(place.memory_bytes)}"


def _division_lines(division: Division, tokens: int) -> list[str]:
    verdict = "fits" if division.fits else f"does not fit: {division.remedy}"
    among = f"on {len(division.shares)} devices, by {division.way}, with {tokens:,} tokens"
    return [f"{among}: {verdict}", *map(_share_line, enumerate(division.shares))]


def _share_line(numbered: tuple[int, Share]) -> str:
    number, share = numbered
    layers = f", layers {share.layers}" if share.layers else ""
    return (
        f"  {number}: {share.device}: {_mebibytes(share.weights_bytes):>15} of weights"
        f" {_mebibytes(share.cache_bytes):>15} of cache{layers}{'' if share.fits else '; too much'}"
    )


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _say_json(value: Mapping[str, Any]) -> None:
    _say(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def _fail(message: str) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())

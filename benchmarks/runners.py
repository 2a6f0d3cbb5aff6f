"""One engine in a process of its own: it loads a checkpoint and does the work that it is told.

    python -m benchmarks.runners NAME PATH --dtype D --threads N --context N

One JSON object for each line: on stdin the work, on stdout what it took. A process for each engine
keeps memory and threads apart, and lets `engine` give them work in turns. Seconds are told as wall
time and as CPU time of all threads. The first line on stdout tells the loading: from opening the
weights to the first token after a prompt of eight, without the import of libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

SLOTS = 8  #: most sequences at once
FIRST_PROMPT = 8  #: tokens read to the first token after loading
READ_AGAIN = 8  #: most tokens of a prompt in the cache that llama.cpp reads again
LOWEST_ID, HIGHEST_ID = 20, 250  #: tokens drawn for prompts: plain bytes in every vocabulary here


class Work(Protocol):
    """What an engine can be told to do. `variant` is one of its ways to compute, "" the first."""

    def prefill(self, tokens: int, variant: str) -> None:
        """Read a prompt, up to what predicts the token after it."""

    def begin(self, behind: int, batch: int, variant: str) -> None:
        """Make ready to decode: so many sequences of so many tokens."""

    def decode(self, steps: int, variant: str) -> None:
        """Write so many tokens more in each sequence."""

    def images(self, tiles: int, variant: str) -> None:
        """Features of random tiles."""


class Ours:
    """The model here, as `Engine` runs it: in pieces, with its cache."""

    def __init__(self, path: Path, dtype: str, context: int) -> None:
        from model.checkpoint import load_transformer
        from model.decoding import DecoderOf

        del context
        self.dtype = getattr(torch, dtype)
        self.transformer = load_transformer(path, self.dtype)
        self.decoder = DecoderOf(self.transformer)

    @torch.inference_mode()
    def prefill(self, tokens: int, variant: str) -> None:
        self.begin(tokens, 1, variant)

    @torch.inference_mode()
    def begin(self, behind: int, batch: int, variant: str) -> None:
        from model.cache import Cache
        from model.engine import PIECE_TOKENS

        del variant
        self.cache = Cache(self.transformer.config.text, batch, self.dtype, "cpu")
        for piece_BT in torch.split(random_ids(behind, batch), PIECE_TOKENS, dim=1):
            self._read(piece_BT)

    @torch.inference_mode()
    def decode(self, steps: int, variant: str) -> None:
        del variant
        for _ in range(steps):
            self._read(self.next_B1)

    @torch.inference_mode()
    def images(self, tiles: int, variant: str) -> None:
        del variant
        vision = self.transformer.config.vision
        assert vision is not None
        self.transformer.encode(random_tiles(tiles, vision.image_size, self.dtype))

    def _read(self, ids_BT: Tensor) -> None:
        from model.transformer import Layout

        x_BTD = self.transformer.embed(ids_BT)
        decoder = self.decoder([self.cache], [ids_BT.shape[1]])
        if decoder is not None:
            [h_BTD] = decoder.read([x_BTD], [self.cache])
        else:
            layout = Layout.consecutive(self.cache.length, ids_BT.shape[1], len(ids_BT))
            h_BTD = self.transformer(x_BTD, layout, self.cache)
        self.next_B1 = self.transformer.unembed(h_BTD[:, -1:]).argmax(-1)


class Transformers:
    """Hugging Face transformers. Llama 4 has one way to compute experts there: all for each token.
    Its variants are ways of attention."""

    def __init__(self, path: Path, dtype: str, context: int) -> None:
        del context
        transformers: Any = import_module("transformers")
        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
        config = transformers.AutoConfig.from_pretrained(path)
        sees = getattr(config, "vision_config", None) is not None
        kind = (
            transformers.Llama4ForConditionalGeneration if sees else transformers.Llama4ForCausalLM
        )
        self.dtype = getattr(torch, dtype)
        self.model = kind.from_pretrained(path, dtype=self.dtype).eval()
        self.states: dict[str, tuple[Tensor, Any]] = {}  #: of each variant

    @torch.inference_mode()
    def prefill(self, tokens: int, variant: str) -> None:
        self.begin(tokens, 1, variant)

    @torch.inference_mode()
    def begin(self, behind: int, batch: int, variant: str) -> None:
        self._set(variant)
        self.states[variant] = self._read(random_ids(behind, batch), None)

    @torch.inference_mode()
    def decode(self, steps: int, variant: str) -> None:
        self._set(variant)
        for _ in range(steps):
            next_B1, cache = self.states[variant]
            self.states[variant] = self._read(next_B1, cache)

    @torch.inference_mode()
    def images(self, tiles: int, variant: str) -> None:
        self._set(variant)
        size = self.model.config.vision_config.image_size
        seen = self.model.vision_model(random_tiles(tiles, size, self.dtype))
        self.model.multi_modal_projector(seen.last_hidden_state)

    def _set(self, attention: str) -> None:
        if attention:
            self.model.set_attn_implementation(attention)

    def _read(self, ids_BT: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """The next token of each sequence, and what has been read."""
        out = self.model(input_ids=ids_BT, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return out.logits[:, -1:].argmax(-1), out.past_key_values


class LlamaCpp:
    """llama.cpp, with its own defaults but for threads and context; tokens are asked for as a
    server is asked, without HTTP between."""

    def __init__(self, path: Path, dtype: str, context: int) -> None:
        del dtype  # the file has it
        xllamacpp: Any = import_module("xllamacpp")
        threads = torch.get_num_threads()
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context
        params.n_parallel = SLOTS
        params.kv_unified = True  # one long sequence, or several short ones
        params.warmup = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        self.server = xllamacpp.Server(params)
        self.prompts: list[list[int]] = []

    def prefill(self, tokens: int, variant: str) -> None:
        del variant
        [ids] = random_ids(tokens, 1).tolist()
        self._write(ids, 1, reuse=False)

    def begin(self, behind: int, batch: int, variant: str) -> None:
        del variant
        self.prompts = random_ids(behind, batch).tolist()
        self._write_all(1)

    def decode(self, steps: int, variant: str) -> None:
        """The prompts are in the cache but for a few tokens, read at once: as in one step."""
        del variant
        self._write_all(steps)

    def images(self, tiles: int, variant: str) -> None:
        raise NotImplementedError(f"{tiles} tiles for llama.cpp{variant}: our GGUF is of text only")

    def _write_all(self, steps: int) -> None:
        with ThreadPoolExecutor(len(self.prompts)) as pool:
            read = list(pool.map(lambda ids: self._write(ids, steps, reuse=True), self.prompts))
        if steps > 1 and max(read) > READ_AGAIN:
            raise RuntimeError(f"llama.cpp read {max(read)} tokens of the prompt again")

    def _write(self, ids: list[int], steps: int, *, reuse: bool) -> int:
        """Returns how many tokens of the prompt were read."""
        asked = {
            "prompt": ids, "max_tokens": steps, "n_predict": steps, "temperature": 0,
            "ignore_eos": True, "cache_prompt": reuse,
        }  # fmt: skip
        answer = self.server.handle_completions(asked)
        if "timings" not in answer:
            raise RuntimeError(f"llama.cpp answered {answer}")
        return int(answer["timings"]["prompt_n"])


RUNNERS: dict[str, Callable[[Path, str, int], Work]] = {
    "ours": Ours,
    "transformers": Transformers,
    "llama.cpp": LlamaCpp,
}


def random_ids(tokens: int, batch: int) -> Tensor:
    """New ones at each call, so that no engine knows them from before."""
    return torch.randint(LOWEST_ID, HIGHEST_ID, (batch, tokens))


def random_tiles(tiles: int, size: int, dtype: torch.dtype) -> Tensor:
    return (torch.rand(tiles, 3, size, size) * 2 - 1).to(dtype)


def main() -> None:
    arguments = _parser().parse_args()
    torch.set_num_threads(arguments.threads)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    _import(arguments.name)
    started = _now()
    runner = RUNNERS[arguments.name](arguments.path, arguments.dtype, arguments.context)
    if not arguments.sees:
        runner.prefill(FIRST_PROMPT, "")
    _tell(answers, _since(started))
    for line in sys.stdin:
        _tell(answers, do(runner, json.loads(line)))


def do(runner: Work, work: dict[str, Any]) -> dict[str, float]:
    """Does what a line of stdin says; decoding is prepared before the clock runs."""
    kind, variant = work["kind"], work.get("variant", "")
    if kind == "begin":
        runner.begin(work["behind"], work["batch"], variant)
        return {}
    started = _now()
    if kind == "prefill":
        runner.prefill(work["tokens"], variant)
    elif kind == "decode":
        runner.decode(work["steps"], variant)
    else:
        runner.images(work["tiles"], variant)
    return _since(started)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runners", description=__doc__)
    parser.add_argument("name", choices=RUNNERS, help="the engine")
    parser.add_argument("path", type=Path, help="a checkpoint folder; for llama.cpp a GGUF file")
    parser.add_argument("--dtype", required=True, help="float32 or bfloat16")
    parser.add_argument("--threads", type=int, default=1, help="threads that compute")
    parser.add_argument("--context", type=int, default=4096, help="tokens that memory is kept for")
    parser.add_argument("--sees", action="store_true", help="the checkpoint is for images alone")
    return parser


def _import(name: str) -> None:
    """What a program that serves has long since imported."""
    if name == "transformers":
        _ = import_module("transformers").Llama4ForCausalLM  # loaded when it is first named
    else:
        import_module("model.engine" if name == "ours" else "xllamacpp")


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(started: tuple[float, float]) -> dict[str, float]:
    wall, cpu = (now - then for now, then in zip(_now(), started, strict=True))
    return {"wall": wall, "cpu": cpu, "peak_bytes": float(peak_bytes())}


def peak_bytes() -> int:
    """The most memory that this process ever held. `getrusage` would count what the process held
    that started it, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _tell(answers: Any, value: dict[str, float]) -> None:
    answers.write(json.dumps(value) + "\n")


if __name__ == "__main__":
    main()

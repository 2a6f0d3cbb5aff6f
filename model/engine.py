"""The engine: a loaded checkpoint that reads a document once, then scores and generates.

`prefill` reads text and images in pieces into a `Prefix`; `score` and `generate` continue it and
leave it as it was, so that any number of questions share one reading. Memory is bounded: pieces,
rows of branches and slices of logits have fixed sizes whatever the length of the document.

Refuses: what does not fit the context, images for a checkpoint without vision encoder, tiles that
do not match the image tokens. A callback that raises cancels; nothing is left half done.
Called by: the application's worker, `python -m model`, the trainer's evaluation.

Shapes: B batch, T tokens, D hidden size, V vocabulary, N tiles, S side of a tile, 3 colours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import compress, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.batching import Found, Piece, Request, Result, Tally, Wanted, alone, together
from model.branches import Continued, Row, pack
from model.cache import Cache, cache_bytes
from model.checkpoint import (
    load_config,
    load_transformer,
    stored_tensor_bytes,
)
from model.config import TextConfig
from model.decoding import Decoder, DecoderOf
from model.eyes import image_hash, processor_of
from model.features import FeatureStore
from model.gaze import Gaze, View
from model.image import ImageProcessor, Size, Tiles
from model.loaded import Loaded
from model.memory import device_of
from model.pages import CACHE_DTYPES
from model.placement import PlacementError, Plan, plan
from model.prefixes import Identity, PrefixStore, pixel_hash
from model.products import computes_bfloat16
from model.prompt import Part, Prompt, ask, go_on, open_turn, reply
from model.readings import Prefix, code_sha256
from model.sample import Choices, Sampling, choose
from model.tokenizer import IMAGE, PATCH, TOKENIZER, TextStream, Tokenizer
from model.transformer import Layout, Transformer

Continuation = str | tuple[str, str]
OnProgress = Callable[[int, int], None]
Allowed = Callable[[Sequence[int]], Sequence[int] | None] | Sequence[str]

PIECE_TOKENS = 1024  #: tokens read at once in prefill, and most tokens in a row of branches
PLANNED_TOKENS = 131_072  #: at most, of the text whose cache several devices make room for
AT_ONCE = 16  #: most prompts whose caches are held at a time by `score_many` and its like
FEATURE_BYTES = 2**28  #: for features of images that may be seen again
IMAGES_AT_ONCE = 4  #: encoded for one piece, where images are looked at by cross-attention
LOGITS_AT_ONCE = 2**24  #: numbers in a slice of logits: 64 MiB of float32

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class EngineError(Exception):
    """The engine cannot do what it was asked; the message says why and what to do."""


class ContextOverflow(EngineError):
    """More tokens than the context holds; the message has both numbers."""


class TileMismatch(EngineError):
    """Image tokens and tiles do not match; the message has both numbers."""


class CheckpointMismatch(EngineError):
    """The files of a checkpoint contradict each other; the message names them."""


def load(
    folder: str | Path,
    dtype: str = "auto",
    device: str = "auto",
    *,
    cache_dtype: str = "auto",
    prefixes: PrefixStore | None = None,
    piece_tokens: int = PIECE_TOKENS,
    feature_bytes: int = FEATURE_BYTES,
    context_length: int | None = None,
    way: str = "layers",
) -> Engine:
    """Loads a checkpoint folder in Hugging Face layout.

    `dtype` "auto" is bfloat16 where the machine computes with it, else float32; `device` "auto"
    is the GPU if there is one. Several devices, as in "cuda:0,cuda:1", share the model in a `way`
    of `model.placement`. `cache_dtype` is how keys and values of what was read are kept:
    "auto" as they are computed, else one of `model.pages.CACHE_DTYPES`; fp8 and int8 take half the
    memory of bfloat16. With `prefixes`, what prompts have in common is read once. Images that are
    seen again are not encoded again, as far as `feature_bytes` hold what was made of them. A folder
    of weights without a tokenizer.json gives `logits` and nothing else.
    memory of bfloat16. With `prefixes`, what prompts have in common is read once. A folder of
    weights without a tokenizer.json gives `logits` and nothing else. `context_length` above what
    the config says is for models whose positions mean something there (`TextConfig.reads_beyond`).
    """
    chosen_devices = choose_devices(device)
    chosen_dtype = choose_dtype(dtype, chosen_devices[0])
    kept_dtype = choose_cache_dtype(cache_dtype, chosen_dtype)
    _require_positions(Path(folder).name, load_config(folder).text, context_length or 0)
    places = None
    if len(chosen_devices) > 1:
        places = place(folder, chosen_devices, chosen_dtype, kept_dtype, way)
    transformer = load_transformer(folder, chosen_dtype, chosen_devices, places)
    engine = Engine(
        Path(folder),
        transformer,
        cache_dtype=kept_dtype,
        prefixes=prefixes,
        piece_tokens=piece_tokens,
        feature_bytes=feature_bytes,
        context_length=context_length,
    )
    if (engine.folder / TOKENIZER).exists():
        engine.prepare()
    return engine


def place(
    folder: str | Path,
    devices: Sequence[torch.device],
    dtype: torch.dtype,
    cache_dtype: torch.dtype,
    way: str,
) -> Plan:
    """A plan for these devices, with room for the caches of a long text."""
    text = load_config(folder).text
    context = min(text.max_position_embeddings, PLANNED_TOKENS)
    sizes = stored_tensor_bytes(folder, dtype)
    try:
        return plan(
            text, sizes, [device_of(device) for device in devices], context, cache_dtype, way
        )
    except PlacementError as error:
        raise EngineError(f"{folder}: {error}") from error


class Engine(Loaded):
    """A loaded checkpoint."""

    def __init__(
        self,
        folder: Path,
        transformer: Transformer,
        *,
        cache_dtype: torch.dtype | None = None,  #: None: that of the weights
        prefixes: PrefixStore | None = None,
        piece_tokens: int = PIECE_TOKENS,
        feature_bytes: int = FEATURE_BYTES,
        context_length: int | None = None,  #: None: max_position_embeddings
    ) -> None:
        weight = next(transformer.parameters())
        features = FeatureStore(feature_bytes)
        super().__init__(
            folder, read_profile(folder), transformer.eval(), weight.device, weight.dtype, features
        )
        self.prefixes = prefixes
        self.piece_tokens = piece_tokens
        self._text = transformer.config.text
        self._cache_dtype = cache_dtype or weight.dtype
        self._decoder = DecoderOf(transformer)
        self._context_length = context_length or self.trained_length
        _require_positions(self.name, self._text, self._context_length)

    def prepare(self) -> None:
        """Read what text and images need now, so that a wrong folder is told at once."""
        _ = self.tokenizer, self.image_processor, self._unspeakable

    @property
    def transformer(self) -> Transformer:
        """The model itself, for those who look inside."""
        return self._transformer

    @cached_property
    def tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_folder(self.folder)
        _require_agreement(self.folder, self._transformer, tokenizer)
        return tokenizer

    @cached_property
    def image_processor(self) -> ImageProcessor | None:
        """None for a checkpoint that reads text only."""
        return processor_of(self.folder, self._transformer.config)

    @property
    def cache_dtype(self) -> str:
        """How keys and values of what was read are kept: a name among `CACHE_DTYPES`."""
        return next(name for name, dtype in CACHE_DTYPES.items() if dtype == self._cache_dtype)

    @property
    def device(self) -> str:
        """Where it is; several devices with commas between."""
        homes = (str(weight.device) for weight in self._transformer.parameters())
        return ",".join(dict.fromkeys(homes))

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        return self._context_length

    @context_length.setter
    def context_length(self, tokens: int) -> None:
        """As where memory holds no more; refuses more than the positions go up to."""
        _require_positions(self.name, self._text, tokens)
        self._context_length = tokens

    def cache_bytes(self, tokens: int) -> int:
        """Memory of the keys and values of so many tokens, as they are kept here."""
        return cache_bytes(self._text, tokens, self._cache_dtype)

    @property
    def trained_length(self) -> int:
        """Tokens that the config promises to be read well (max_position_embeddings)."""
        return self._text.max_position_embeddings

    def count_tokens(self, text: str) -> int:
        return len(self.tokenizer.encode(text))

    @torch.no_grad()  # and not inference_mode: the caller may change the result
    def logits(
        self,
        token_ids: Sequence[int],
        tiles: Tensor | None = None,
        grids: Sequence[Size] = (),
    ) -> Tensor:
        """Float32 (T, V): row t scores every token as the one after token t. One pass, no cache.

        `tiles` are those of all images; `grids`, which cross-attention needs, tell how many are of
        each image.
        """
        self._require_room(len(token_ids))
        pieces = list(self._pieces(Prompt(list(token_ids), tiles, tuple(grids))))
        x_BTD = torch.cat([self._embed(piece) for piece in pieces], dim=1)
        whole = Piece(token_ids, None, [image for piece in pieces for image in piece.images])
        view = self._view(whole, Gaze())
        h_BTD = self._transformer(x_BTD, self._layout(0, len(token_ids)), view=view)
        logits_TV: Tensor = self._transformer.unembed(h_BTD[0])
        return logits_TV

    @torch.inference_mode()
    def prefill(
        self,
        parts: Sequence[Part],
        on_progress: OnProgress | None = None,
        *,
        after: Prefix | None = None,
    ) -> Prefix:
        """Reads text and images, the beginning of a user's turn, or more of it after a prefix,
        which stays as it was.

        `on_progress` gets the tokens read and their total, before the first piece and after each;
        if it raises, reading ends there. What the engine's `prefixes` know counts as read; they
        keep what begins a turn, not what is read after it.
        """
        if after is None:
            return self._alone(self._open(parts, on_progress))
        return self._alone(self._continue(after, parts, on_progress))

    @torch.inference_mode()
    def score(
        self,
        prefix: Prefix,
        continuations: Sequence[Continuation],
        on_progress: OnProgress | None = None,
    ) -> list[float]:
        """The log-probability of each continuation, from one batched reading.

        A string continues the user's turn. Of (question, answer) the question ends that turn and
        only the answer counts. `on_progress` works as in `prefill`.
        """
        return self._alone(self._scores(prefix, continuations, on_progress))

    @torch.inference_mode()
    def generate(
        self,
        prefix: Prefix,
        prompt: str,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        allowed: Allowed | None = None,
        on_token: Callable[[str], None] | None = None,
    ) -> str:
        """Writes the answer to `prompt`, which ends the user's turn; the prefix stays as it was.

        `allowed`: strings, of which the answer will be exactly one; or a function from the token
        ids written so far to those that may follow (None: any; none: the end). `on_token` gets
        each bit of text as it is written; if it raises, writing ends there.
        """
        sampling = Sampling(temperature, top_p, seed)
        return self._alone(self._write(prefix, prompt, max_tokens, sampling, allowed, on_token))

    @torch.inference_mode()
    def prefill_many(
        self, prompts: Sequence[Sequence[Part]], on_progress: OnProgress | None = None
    ) -> list[Prefix]:
        """As `prefill` of each, several in one step. `on_progress` gets the tokens read and the
        total of all prompts that were begun."""
        tally = Tally(on_progress)
        return self._together(
            [self._open(parts, tally.of(number)) for number, parts in enumerate(prompts)]
        )

    @torch.inference_mode()
    def score_many(
        self,
        asked: Sequence[tuple[Prefix | Sequence[Part], Sequence[Continuation]]],
        on_progress: OnProgress | None = None,
    ) -> list[list[float]]:
        """As `score` of each pair, several in one step.

        A prompt that is given as parts is read for this and forgotten, so that memory does not
        grow with the number of pairs. `on_progress` works as in `prefill_many`; tokens of prompts
        given as parts count.
        """
        tally = Tally(on_progress)
        return self._together(
            [self._scores(*pair, tally.of(number)) for number, pair in enumerate(asked)]
        )

    @torch.inference_mode()
    def generate_many(
        self,
        asked: Sequence[tuple[Prefix | Sequence[Part], str]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        allowed: Allowed | None = None,
        on_end: OnProgress | None = None,
    ) -> list[str]:
        """As `generate` of each pair of a prefix, or of parts to read, and a prompt. Prompts are
        read in the steps in which other answers are written. `on_end` gets how many answers have
        ended, and all."""
        sampling = Sampling(temperature, top_p, seed)
        requests = [self._write(*pair, max_tokens, sampling, allowed) for pair in asked]
        return self._together(requests, on_end)

    def _alone(self, request: Request[Result]) -> Result:
        return alone(request, self._read_wanted)

    def _together(
        self, requests: Sequence[Request[Result]], on_end: OnProgress | None = None
    ) -> list[Result]:
        report = on_end or _ignore
        return together(
            requests,
            self._read_wanted,
            room=self.piece_tokens,
            at_once=AT_ONCE,
            on_end=lambda ended: report(ended, len(requests)),
        )

    def _read_wanted(self, wanted: list[Wanted]) -> list[Found]:
        """What several requests want: what can be compiled in one pass, and the rest in another."""
        decoder, are_compiled = self._decoder_for(wanted)
        marked = list(zip(wanted, are_compiled, strict=True))
        compiled = self._decode(decoder, [each for each, is_compiled in marked if is_compiled])
        others = self._read_plainly([each for each, is_compiled in marked if not is_compiled])
        reads = {True: iter(compiled), False: iter(others)}
        parts = [next(reads[is_compiled]) for is_compiled in are_compiled]
        logits = self._logits_after([h for h, w in zip(parts, wanted, strict=True) if w.predicts])
        return [
            Found(h_TD, next(logits) if each.predicts else None)
            for h_TD, each in zip(parts, wanted, strict=True)
        ]

    def _decoder_for(self, wanted: list[Wanted]) -> tuple[Decoder | None, list[bool]]:
        """Which of them it is to read: all that follow what their caches hold; if these are not for
        it, the next tokens of answers; or nothing."""
        for chosen in ([each.follows for each in wanted], [each.is_step for each in wanted]):
            served = list(compress(wanted, chosen))
            lengths = [len(each.piece.token_ids) for each in served]
            if decoder := self._decoder([each.cache for each in served], lengths):
                return decoder, chosen
        return None, [False] * len(wanted)

    def _decode(self, decoder: Decoder | None, wanted: list[Wanted]) -> list[Tensor]:
        if decoder is None:
            return []
        x_1TD = self._embed_side_by_side(wanted)
        new = torch.split(x_1TD, [len(each.piece.token_ids) for each in wanted], dim=1)
        return [h_1TD[0] for h_1TD in decoder.read(new, [each.cache for each in wanted])]

    def _read_plainly(self, wanted: list[Wanted]) -> list[Tensor]:
        """In one pass; one after another with cross-attention."""
        if len(wanted) < 2 or self._transformer.config.cross_vision is not None:
            return [self._read_alone(each) for each in wanted]
        return self._read_side_by_side(wanted)

    def _read_alone(self, wanted: Wanted) -> Tensor:
        piece, layout, cache = wanted.piece, wanted.layout, wanted.cache
        h_BTD: Tensor = self._transformer(
            self._embed(piece),
            layout,
            cache,
            extend_cache=wanted.extend_cache,
            view=self._view(piece, cache.gaze),
        )
        return h_BTD[0]

    def _read_side_by_side(self, wanted: list[Wanted]) -> list[Tensor]:
        h_1TD = self._transformer.read_side_by_side(
            self._embed_side_by_side(wanted),
            [each.layout for each in wanted],
            [each.cache for each in wanted],
            [each.extend_cache for each in wanted],
        )
        return list(torch.split(h_1TD[0], [len(each.piece.token_ids) for each in wanted]))

    def _embed_side_by_side(self, wanted: list[Wanted]) -> Tensor:
        ids = [token_id for each in wanted for token_id in each.piece.token_ids]
        tiles = [x for each in wanted if (x := each.piece.tiles_N3SS) is not None]
        return self._embed(Piece(ids, torch.cat(tiles) if tiles else None))

    def _logits_after(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """For the last token of each, with the weights of the vocabulary read once for all."""
        if parts:
            yield from self._spoken(torch.stack([h_TD[-1] for h_TD in parts]))

    def _spoken(self, h_xD: Tensor) -> Tensor:
        """Logits without those that no answer may have."""
        logits_xV: Tensor = self._transformer.unembed(h_xD)
        return logits_xV.index_fill(-1, self._unspeakable, -torch.inf)

    def _open(
        self, parts: Sequence[Part], on_progress: OnProgress | None = None, *, keeps: bool = True
    ) -> Request[Prefix]:
        """`keeps`: for the next prompt that begins alike."""
        prompt = open_turn(parts, self.tokenizer, self.image_processor)
        self._require_room(len(prompt.token_ids))
        if self.prefixes is not None:
            return (yield from self._go_on(self.prefixes, prompt, on_progress, keeps))
        prefix = self._nothing_read()
        yield from self._read(prefix, prompt, on_progress)
        return prefix

    def _go_on(
        self, store: PrefixStore, prompt: Prompt, on_progress: OnProgress | None, keeps: bool
    ) -> Request[Prefix]:
        """Reads what the store does not know, and lets it know where each piece ended if it is to
        keep that."""
        identity = self._identity(prompt)
        known = store.find(identity, self._device)
        after = known[-1].clone() if known else self._nothing_read()
        yield from self._read(
            after, prompt, on_progress, keep=lambda prefix: known.append(prefix.clone())
        )
        if keeps:
            store.keep(identity, known)
        return known[-1].clone()

    def _continue(
        self, before: Prefix, parts: Sequence[Part], on_progress: OnProgress | None
    ) -> Request[Prefix]:
        """Reads more of a turn, of which the store is told nothing."""
        prompt = go_on(parts, self.tokenizer, self.image_processor)
        self._require_room(before.length, len(prompt.token_ids))
        prefix = before.clone()
        yield from self._read(prefix, prompt, on_progress, start=0)
        return prefix

    def _nothing_read(self) -> Prefix:
        return Prefix(Cache(self._text, 1, self._cache_dtype, self._device), torch.empty(0))

    def _read(
        self,
        after: Prefix,
        prompt: Prompt,
        on_progress: OnProgress | None = None,
        keep: Callable[[Prefix], None] | None = None,
        start: int | None = None,
    ) -> Request[None]:
        """Adds a prompt from its token `start` on, by default what the prefix does not hold of it,
        to the prefix, in place, piece by piece; `keep` is given the prefix after each, and may keep
        a clone."""
        report, end_piece = on_progress or _ignore, keep or _forget
        start = after.length if start is None else start
        total = after.length + len(prompt.token_ids) - start
        for piece in self._pieces(prompt, start):
            report(after.length, total)
            layout = self._layout(after.length, len(piece.token_ids))
            found = yield Wanted(piece, layout, after.cache)
            after.last_D = found.h_TD[-1].clone()
            end_piece(after)
        report(after.length, total)

    def _scores(
        self,
        before: Prefix | Sequence[Part],
        continuations: Sequence[Continuation],
        on_progress: OnProgress | None = None,
    ) -> Request[list[float]]:
        report, done = on_progress or _ignore, 0
        if isinstance(before, Prefix):
            prefix = before
        else:
            prefix = yield from self._open(before, report, keeps=False)
            done = prefix.length
        rows = self._rows(prefix, continuations)
        total = done + sum(len(row.token_ids) for row in rows)
        scores = [0.0] * len(continuations)
        for row in rows:
            report(done, total)
            h_ED = prefix.last_D[None]  # E: the prefix's end, then the row's tokens
            if row.token_ids:
                piece, layout = Piece(row.token_ids), row.layout(prefix.length, self._device)
                found = yield Wanted(piece, layout, prefix.cache, extend_cache=False)
                h_ED = torch.cat([h_ED, found.h_TD])
            self._add_scores(h_ED, row, scores)
            done += len(row.token_ids)
        report(done, total)
        return scores

    def _write(
        self,
        before: Prefix | Sequence[Part],
        prompt: str,
        max_tokens: int,
        sampling: Sampling,
        allowed: Allowed | None,
        on_token: Callable[[str], None] | None = None,
    ) -> Request[str]:
        if isinstance(before, Prefix):
            after = before.clone()
        else:
            after = yield from self._open(before, keeps=False)
        generator = sampling.generator()
        choices, max_tokens = self._constraint(allowed, max_tokens)
        unread = ask(prompt, self.tokenizer)
        self._require_room(after.length, len(unread), max_tokens)
        stream, text = TextStream(self.tokenizer), _Writer(on_token, self.tokenizer.gap)
        written: list[int] = []
        while len(written) < max_tokens:
            options = choices(written)
            if options is not None and len(options) == 1:
                token_id = options[0]  # nothing to choose: it is read together with what follows
            elif options is not None and not options:
                break
            else:
                logits_V = yield from self._predict(after, unread)
                unread = []
                token_id = choose(logits_V, options, sampling, generator)
            if token_id in self.tokenizer.stop_ids:
                break
            written.append(token_id)
            unread.append(token_id)
            text.write(stream.push(token_id))
        text.write(stream.flush())
        return text.all

    def _predict(self, after: Prefix, unread: Sequence[int]) -> Request[Tensor]:
        """Lengthens a prefix in place, a clone, by these tokens; the logits after them."""
        logits_V = None
        for start in range(0, len(unread), self.piece_tokens):
            ids = unread[start : start + self.piece_tokens]
            layout, is_last = self._layout(after.length, len(ids)), start + len(ids) == len(unread)
            found = yield Wanted(Piece(ids), layout, after.cache, predicts=is_last)
            after.last_D, logits_V = found.h_TD[-1].clone(), found.logits_V
        return logits_V if logits_V is not None else self._spoken(after.last_D)

    def _identity(self, prompt: Prompt) -> Identity:
        return Identity(self._reader, prompt.token_ids, dict(self._pixels(prompt)))

    def _pixels(self, prompt: Prompt) -> Iterator[tuple[int, bytes]]:
        """The places from which on pixels matter, and a hash of these: the first token of each
        tile, or the one that stands for an image."""
        config = self._transformer.config
        if prompt.tiles_N3SS is None:
            return
        ids = enumerate(prompt.token_ids)
        places = [place for place, token_id in ids if token_id == config.image_token_index]
        if config.vision is not None:
            starts = places[:: config.vision.tokens_per_tile]
            yield from zip(starts, map(pixel_hash, prompt.tiles_N3SS), strict=True)
        else:
            for place, image in zip(places, _images(prompt, len(places)), strict=True):
                yield place, image_hash(image)

    @cached_property
    def _reader(self) -> str:
        """All that decides what is remembered of a prompt."""
        config = json.dumps(self._transformer.config.to_hf(), sort_keys=True)
        return "\n".join([code_sha256(), self.weights_sha256, config, self.dtype, self.cache_dtype])

    def _rows(self, prefix: Prefix, continuations: Sequence[Continuation]) -> list[Row]:
        rows = pack([self._continued(c) for c in continuations], self.piece_tokens)
        longest = max((len(branch) for row in rows for branch in row.branches), default=0)
        self._require_room(prefix.length, longest)
        return rows

    def _add_scores(self, h_ED: Tensor, row: Row, scores: list[float]) -> None:
        """Adds to each continuation's score what this row knows; unembeds only what is asked."""
        for sources, rows, targets in row.slices(max(1, LOGITS_AT_ONCE // self._text.vocab_size)):
            logits_SV = self._transformer.unembed(h_ED[sources.to(self._device)])
            token_ids = torch.tensor([target.token_id for target in targets])
            found = logits_SV[rows, token_ids] - logits_SV.logsumexp(dim=-1)[rows]
            for target, log_probability in zip(targets, found.tolist(), strict=True):
                scores[target.continuation] += log_probability

    def _continued(self, continuation: Continuation) -> Continued:
        if isinstance(continuation, str):
            before, answer_ids = [], self.tokenizer.encode(continuation)
        else:
            before = ask(continuation[0], self.tokenizer)
            answer_ids = reply(continuation[1], self.tokenizer)
        if not answer_ids:
            raise EngineError("an empty continuation has no probability; give it at least a letter")
        return Continued((*before, *answer_ids), len(before))

    def _constraint(
        self, allowed: Allowed | None, max_tokens: int
    ) -> tuple[Callable[[Sequence[int]], Sequence[int] | None], int]:
        """What may follow what is written, and the most tokens that can be written."""
        if allowed is None:
            return _anything, max_tokens
        if callable(allowed):
            return allowed, max_tokens
        choices = Choices.among(reply(text, self.tokenizer) for text in allowed)
        if choices.longest > max_tokens:
            raise EngineError(
                f"the longest allowed string has {choices.longest:,} tokens and max_tokens is "
                f"{max_tokens:,}: raise it, or leave that string out"
            )
        stop = sorted(self.tokenizer.stop_ids)
        return lambda written: choices.after(written, stop), choices.longest

    def _pieces(self, prompt: Prompt, start: int = 0) -> Iterator[Piece]:
        """Cuts a prompt, from its token `start` on, into pieces to read at once; a tile is never
        cut in two."""
        if self._transformer.config.cross_vision is not None:
            yield from self._pieces_beside_images(prompt, start)
            return
        vision = self._transformer.config.vision
        tile = vision.tokens_per_tile if vision else 1
        image_token = self._transformer.config.image_token_index if vision else -1
        ids, tiles_N3SS, _ = prompt
        _require_tiles(ids.count(image_token), tile, tiles_N3SS)
        features = ids[:start].count(image_token)
        first_tile = features // tile
        for end, token_id in enumerate(ids[start:], start=start + 1):
            features += token_id == image_token
            is_full = end - start >= self.piece_tokens and features % tile == 0
            if is_full or end == len(ids):
                last_tile = features // tile
                some = tiles_N3SS[first_tile:last_tile] if tiles_N3SS is not None else None
                yield Piece(ids[start:end], some if last_tile > first_tile else None)
                start, first_tile = end, last_tile

    def _pieces_beside_images(self, prompt: Prompt, start: int) -> Iterator[Piece]:
        """The same where one token stands for an image, which is encoded with its piece."""
        image_token = self._transformer.config.image_token_index
        images = _images(prompt, prompt.token_ids.count(image_token))
        images = islice(images, prompt.token_ids[:start].count(image_token), None)
        piece: list[int] = []
        seen: list[Tiles] = []
        for token_id in prompt.token_ids[start:]:
            piece.append(token_id)
            if token_id == image_token:
                seen.append(next(images))
            if len(piece) == self.piece_tokens or len(seen) == IMAGES_AT_ONCE:
                yield Piece(piece, None, seen)
                piece, seen = [], []
        if piece:
            yield Piece(piece, None, seen)

    def _view(self, piece: Piece, gaze: Gaze) -> View | None:
        """What the tokens of the piece see, if the model looks at images by cross-attention."""
        if self._transformer.config.cross_vision is None:
            return None
        return self._transformer.view_of(piece.token_ids, self.eyes.of_images(piece.images), gaze)

    def _embed(self, piece: Piece) -> Tensor:
        token_ids_BT = torch.tensor([piece.token_ids], device=self._device)
        tiles_N3SS = piece.tiles_N3SS
        features_VD = None if tiles_N3SS is None else self.eyes.of_tiles(tiles_N3SS)
        return self._transformer.place(token_ids_BT, features_VD)

    def _layout(self, start: int, length: int) -> Layout:
        return Layout(positions_BT=torch.arange(start, start + length, device=self._device)[None])

    def _require_room(self, *tokens: int) -> None:
        if sum(tokens) > self.context_length:
            parts = " + ".join(f"{count:,}" for count in tokens)
            total = f" = {sum(tokens):,}" if len(tokens) > 1 else ""
            raise ContextOverflow(
                f"{parts}{total} tokens do not fit the context of {self.context_length:,} tokens: "
                "read the document in parts, or use a checkpoint with a longer context"
            )
        if tokens[0] == 0:
            raise EngineError("there is nothing to read: give at least one token")

    @cached_property
    def _unspeakable(self) -> Tensor:
        """Control tokens that end nothing, and rows of the vocabulary that no token has."""
        ids = self.tokenizer.control_ids - self.tokenizer.stop_ids
        nameless = range(self.tokenizer.vocab_size, self._text.vocab_size)
        unspeakable = sorted({*ids, *nameless} & set(range(self._text.vocab_size)))
        return torch.tensor(unspeakable, dtype=torch.long, device=self._device)


class _Writer:
    """Collects an answer and passes each bit of it on, without the gap before its first word."""

    def __init__(self, on_token: Callable[[str], None] | None, gap: str) -> None:
        self._on_token = on_token
        self._gap = gap
        self.all = ""

    def write(self, text: str) -> None:
        if text:
            text, self._gap = text.removeprefix(self._gap), ""
        self.all += text
        if text and self._on_token is not None:
            self._on_token(text)


def _anything(written: Sequence[int]) -> None:
    """No constraint."""


def _ignore(done: int, total: int) -> None:
    """Nobody watches."""


def _forget(prefix: Prefix) -> None:
    """Nobody keeps prefixes."""


def _require_positions(name: str, text: TextConfig, context_length: int) -> None:
    if context_length > text.max_position_embeddings and not text.reads_beyond:
        raise ContextOverflow(
            f"{name} cannot read {context_length:,} tokens: its positions go up to "
            f"{text.max_position_embeddings:,} (max_position_embeddings), and only models with "
            "layers that need none, as Llama 4, go on from there"
        )


def _require_tiles(features: int, tokens_per_tile: int, tiles_N3SS: Tensor | None) -> None:
    tiles = 0 if tiles_N3SS is None else len(tiles_N3SS)
    if features != tiles * tokens_per_tile:
        raise TileMismatch(
            f"the text has {features:,} <|patch|> tokens, and {tiles:,} tiles make "
            f"{tiles * tokens_per_tile:,} features: give as many tiles as the text has images"
        )


def _images(prompt: Prompt, image_tokens: int) -> Iterator[Tiles]:
    """The images of a prompt, one by one; it must have as many image tokens."""
    counts = [grid.height * grid.width for grid in prompt.grids]
    tiles_N3SS = prompt.tiles_N3SS
    tiles = 0 if tiles_N3SS is None else len(tiles_N3SS)
    if image_tokens != len(counts) or tiles != sum(counts):
        raise TileMismatch(
            f"the text has {image_tokens:,} {IMAGE} tokens, and there are {len(counts):,} grids of "
            f"{sum(counts):,} tiles with {tiles:,} tiles: give one grid and all its tiles for each "
            "image token"
        )
    if tiles_N3SS is None:
        return iter(())
    return map(Tiles, torch.split(tiles_N3SS, counts), prompt.grids)


def _require_agreement(folder: Path, transformer: Transformer, tokenizer: Tokenizer) -> None:
    config = transformer.config
    if tokenizer.vocab_size > config.text.embeddings:
        raise CheckpointMismatch(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size:,} tokens, the model only "
            f"{config.text.embeddings:,}: they are of two checkpoints"
        )
    if config.vision is None and config.cross_vision is None:
        return
    name = PATCH if config.vision is not None else IMAGE
    if tokenizer.id(name) != config.image_token_index:
        raise CheckpointMismatch(
            f"{folder}: {name} is token {tokenizer.id(name):,} in tokenizer.json and "
            f"{config.image_token_index:,} in config.json (image_token_index): correct one of them"
        )


def read_profile(folder: Path) -> Mapping[str, Any]:
    """What was measured of this checkpoint after training (profile.json), if anything was."""
    path = folder / "profile.json"
    if not path.exists():
        return {}
    try:
        profile = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise EngineError(f"{path} is not valid JSON: {error}; mend it or delete it") from None
    if not isinstance(profile, dict):
        raise EngineError(f"{path} must hold an object; mend it or delete it")
    return profile


def choose_devices(device: str) -> list[torch.device]:
    """One device, or several with commas between."""
    return [choose_device(word.strip()) for word in device.split(",")]


def choose_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise EngineError(f"device {device!r} is not known: use auto, cpu or cuda") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise EngineError(f"device {device!r} is not there: use cpu, or install a driver for it")
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.bfloat16 if _computes_bfloat16(device) else torch.float32
    if dtype not in DTYPES:
        raise EngineError(f"dtype {dtype!r} is not known: use auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def choose_cache_dtype(cache_dtype: str, dtype: torch.dtype) -> torch.dtype:
    """`dtype` is what is computed in, and what "auto" means."""
    if cache_dtype == "auto":
        return dtype
    if cache_dtype not in CACHE_DTYPES:
        raise EngineError(
            f"cache dtype {cache_dtype!r} is not known: use auto, {', '.join(CACHE_DTYPES)}"
        )
    return CACHE_DTYPES[cache_dtype]


def _computes_bfloat16(device: torch.device) -> bool:
    return device.type != "cpu" or computes_bfloat16()

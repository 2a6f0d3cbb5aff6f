"""The training loop: from a recipe and a data folder to a checkpoint folder.

State is saved every few minutes, whole and at once, so that a run killed at any moment goes on
from the last save and ends with the same weights as one that was never killed. Called by the
command line. Refuses to go on with a state of another recipe's shape, and a data folder with
nothing that the recipe reads.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as Vocabulary
from torch import Tensor, nn
from torch.nn import functional

from model.checkpoint import load_config, load_transformer, save_checkpoint
from model.config import ModelConfig
from model.engine import choose_dtype
from model.image import ImageProcessor
from model.tokenizer import TOKENIZER, Tokenizer
from model.train.crew import Crew
from model.train.curriculum import Curriculum
from model.train.documents import read_documents
from model.train.listings import read_listings, read_product_photos
from model.train.optimizer import Optimizer, rate_at
from model.train.recipe import Phase, Prompts, Recipe, read_prompts
from model.train.rows import Batch, Row, collate, pack
from model.train.tables import DOCUMENTS, LISTINGS, DataError, splits_in_words
from model.train.vocabulary import train_tokenizer, write_tokenizer
from model.transformer import Transformer

MOST_TOKENS = 8192  # of one pass, filled up: bounds memory
LABEL_SMOOTHING = 0.1
ANSWER_SMOOTHING = 0.02
DISTILLED_SHARE = 0.5  # of the target shares of product names, what the classifier says
HIDDEN_SHARE = 0.3  # of the image features, those that the text is not shown
KINDS = ("labels", "listings", "drawn", "summaries", "passages", "asks")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Kit:
    """What a checkpoint needs beside its weights."""

    config: ModelConfig
    vocabulary: Vocabulary
    image_processor: ImageProcessor | None  #: None: it reads text only


class Run:
    """One run in one folder: `tokenizer.json`, `state.pt`, `losses.jsonl`."""

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        folder: Path,
        say: Say = print,
        start: Path | None = None,
        crew: Crew | None = None,
    ) -> None:
        """`start`: a checkpoint folder to go on from, whose shape then counts, not the recipe's."""
        self.recipe, self.folder, self.say, self.crew = recipe, folder, say, crew or Crew()
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        random.seed(recipe.seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        documents, photos = read_documents(data, "train"), read_product_photos(data, "train")
        listings = read_listings(data, "train")
        if not (documents or photos or listings):
            raise DataError(
                f"{data} has nothing to train on; put {LISTINGS} or {DOCUMENTS[0]} there"
            )
        prompts = read_prompts(recipe.prompts)
        if start is None:
            self.kit = make_kit(recipe, self._vocabulary(documents, photos, prompts))
        else:
            self.kit = read_kit(start)
        tokenizer = Tokenizer(self.kit.vocabulary)
        self.curriculum = Curriculum(
            documents,
            photos,
            prompts,
            tokenizer,
            self.kit.image_processor,
            recipe.seed,
            listings,
        )
        self._say_what_is_read(data)
        self.dtype = choose_dtype("auto", self.device)
        self.transformer = self._transformer(start)
        products = len(self.curriculum.catalogue.products)
        self.labeller = nn.Linear(self.kit.config.text.hidden_size, max(1, products))
        self.labeller.to(self.device, self.dtype)
        modules = {"transformer": self.transformer, "labeller": self.labeller}
        self.optimizer = Optimizer(modules, recipe.optimizer, self.crew)
        self.drawn: dict[str, int] = defaultdict(int)  # rows of each kind drawn so far
        self.step = 0
        self._stopping = False
        self._restore()

    def train(self, until: float = float("inf")) -> None:
        """All steps that are left, or those that begin before the clock time `until` or SIGTERM."""
        before = signal.signal(signal.SIGTERM, self._stop)
        tally, saved = Tally(self), time.monotonic()
        while self.step < self.recipe.steps and self._goes_on(until):
            losses = self._one_step()
            self.step += 1
            if self.recipe.steps - self.step < self.recipe.optimizer.averaged_steps:
                self.optimizer.average()
            tally.add(losses)
            if self.step % self.recipe.log_steps == 0 or self.step == self.recipe.steps:
                tally.say()
            if time.monotonic() - saved > 60 * self.recipe.save_minutes:
                self.save()
                saved = time.monotonic()
        self.save()
        signal.signal(signal.SIGTERM, before)

    def _goes_on(self, until: float) -> bool:
        return self.crew.agree(time.time() < until and not self._stopping)

    def export(self, folder: Path) -> None:
        """The checkpoint as Hugging Face files in bfloat16, its weights the mean of the last
        steps'."""
        self.optimizer.settle()
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(deepcopy(self.transformer).to(torch.bfloat16), folder)
        write_tokenizer(self.kit.vocabulary, folder, self.kit.config.text.max_position_embeddings)
        if self.kit.image_processor is not None:
            write_json(folder / "preprocessor_config.json", self.kit.image_processor.to_hf())
        write_json(folder / "generation_config.json", generation_config(self.kit.config))

    def _stop(self, _signal: int, _frame: object) -> None:
        self._stopping = True

    def save(self) -> None:
        """Write the state beside the old one, then put it in its place."""
        if not self.crew.leads:
            return
        state = {
            "step": self.step,
            "drawn": dict(self.drawn),
            "optimizer": self.optimizer.state(),
        }
        path = self.folder / "state.pt"
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def _restore(self) -> None:
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.optimizer.restore(state["optimizer"])
        self.step = state["step"]
        self.drawn.update(state["drawn"])
        if self.crew.leads:
            self.say(f"going on from step {self.step} of {self.recipe.steps}")

    def _say_what_is_read(self, data: Path) -> None:
        """Each table of the user's own, and what the recipe asks for and the data lacks."""
        asked = [kind for kind in KINDS if any(getattr(p, kind) for p in self.recipe.phases)]
        lacking = {k: what for k, what in self.curriculum.lacking.items() if k in asked}
        if len(lacking) == len(asked):
            wants = ", ".join(dict.fromkeys(lacking.values()))
            raise DataError(
                f"{data} has nothing that {self.recipe.name} trains on: for want of {wants}"
            )
        if self.crew.leads:
            for line in splits_in_words(data):
                self.say(line)
            for kind, what in lacking.items():
                self.say(f"{kind}: none, for want of {what}")

    def _count(self, kind: str, phase: Phase) -> int:
        """Rows of a kind in each step: none where the data has none."""
        count: int = getattr(phase, kind)
        return 0 if kind in self.curriculum.lacking else count

    def _vocabulary(self, documents: Any, photos: Any, prompts: Prompts) -> Vocabulary:
        path = self.folder / "tokenizer.json"
        if self.crew.leads and not path.exists():
            vocabulary = train_tokenizer(
                documents,
                photos,
                prompts.phrases(),
                size=self.recipe.shape.tokenizer.vocabulary,
                characters=self.recipe.shape.tokenizer.sample_characters,
                seed=self.recipe.seed,
            )
            vocabulary.save(str(path))
        self.crew.agree(True)  # the others wait here until it is written
        return Vocabulary.from_file(str(path))

    def _transformer(self, start: Path | None) -> Transformer:
        if start is None:
            return Transformer(self.kit.config).to(self.device, self.dtype)
        transformer = load_transformer(start, self.dtype, self.device).train()
        return transformer.requires_grad_(True)

    def _one_step(self) -> dict[str, float]:
        phase = self.recipe.phase_at(self.step)
        losses: dict[str, float] = defaultdict(float, self._labels(phase))
        for kind, draw in (
            ("listings", self.curriculum.listings),
            ("drawn", self.curriculum.drawn),
            ("summaries", self.curriculum.summaries),
            ("passages", self.curriculum.passages),
            ("asks", self.curriculum.asks),
        ):
            first, count, share = self._next(kind, phase)
            if count:
                rows = draw(first, count, phase)
                for name, value in self._rows(kind, rows, share, phase).items():
                    losses[name] += value  # tokens and experts are counted over all kinds
        rate = phase.rate * rate_at(self.step, self.recipe.steps, self.recipe.optimizer)
        losses["gradient"] = self.optimizer.step(rate)
        losses["rate"] = rate
        return losses

    def _next(self, kind: str, phase: Phase) -> tuple[int, int, float]:
        """This process's rows of the step's of a kind: the first one's number, how many, and what
        share of the step's they are."""
        whole = self._count(kind, phase)
        first, count = self.crew.part(self.drawn[kind], whole)
        self.drawn[kind] += whole
        return first, count, count / max(1, whole)

    def _labels(self, phase: Phase) -> dict[str, float]:
        first, count, share = self._next("labels", phase)
        if not count:
            return {}
        labelled = self.curriculum.labelled(first, count)
        features = self._encode(labelled.tiles_N3SS)
        logits_NC = self._classify(features, len(labelled.labels_N))
        loss, right = label_loss(logits_NC, labelled.labels_N.to(self.device))
        torch.autograd.backward(phase.label_weight * loss * share)
        self.optimizer.gather()
        return {"labels": float(loss.detach()), "labels right": right}

    def _encode(self, tiles_N3SS: Tensor) -> Tensor:
        return self.transformer.encode(tiles_N3SS.to(self.device, self.dtype))

    def _partly(self, features_VD: Tensor) -> Tensor:
        """The features without some of them, others each time: so that the text learns to rest on
        the whole photo, as the classifier does, and not on a few of its patches."""
        generator = torch.Generator().manual_seed(hash((self.recipe.seed, self.step)))
        kept_V1 = torch.rand(len(features_VD), 1, generator=generator) >= HIDDEN_SHARE
        return features_VD * kept_V1.to(features_VD)

    def _classify(self, features_VD: Tensor, tiles: int) -> Tensor:
        """Logits over products by the throw-away classifier, from the mean of each tile's
        features."""
        means_ND = features_VD.view(tiles, -1, self.labeller.in_features).mean(1)
        logits_NC: Tensor = self.labeller(means_ND)
        return logits_NC.float()

    def _rows(self, kind: str, rows: list[Row], part: float, phase: Phase) -> dict[str, float]:
        """Learn from rows that are `part` of the step's rows of their kind."""
        batches = [collate(group, self.device) for group in pack(rows, MOST_TOKENS)]
        totals: dict[str, float] = defaultdict(float)
        for batch in batches:
            share = len(batch.real_BT) / len(rows)
            loss, parts = self._loss(kind, batch, phase)
            torch.autograd.backward(loss * share * part)
            self.optimizer.gather()
            for name, value in parts.items():
                totals[name] += value * (1 if name.startswith(("tokens", "expert")) else share)
        return dict(totals)

    def _loss(self, kind: str, batch: Batch, phase: Phase) -> tuple[Tensor, dict[str, float]]:
        transformer = self.transformer
        x_BTD = transformer.embedding(batch.token_ids_BT)
        loss, parts = x_BTD.new_zeros(()).float(), {"tokens": float(batch.real_BT.sum())}
        ranked_A = batch.ranked_A
        if batch.tiles_N3SS is not None:  # encoded here, and not by embed: labels use it too
            features = self._encode(batch.tiles_N3SS)
            is_patch_BT = batch.token_ids_BT == self.kit.config.image_token_index
            x_BTD = x_BTD.masked_scatter(is_patch_BT[..., None], self._partly(features))
            if len(batch.labels_N):
                logits_NC = self._classify(features, len(batch.labels_N))
                label, right = label_loss(logits_NC, batch.labels_N)
                ranked_A = softened(batch, logits_NC.detach())
                loss = loss + phase.label_weight * label
                parts |= {f"{kind} labels": float(label.detach()), f"{kind} right": right}
        log: list[tuple[int, Tensor]] = []
        h_BTD = transformer(x_BTD, batch.layout, router_log=log)
        h_MD = h_BTD.flatten(0, 1)
        balance, use = balance_loss(log, batch.real_BT.flatten())
        loss = loss + self.recipe.optimizer.balance_weight * balance
        parts |= use
        if len(batch.answered_A):
            logits_AV = transformer.unembed(h_MD[batch.answering_A])
            answer = functional.cross_entropy(
                logits_AV, batch.answered_A, label_smoothing=ANSWER_SMOOTHING
            )
            yes, no = self.curriculum.yes_no
            margin_A = logits_AV[:, yes] - logits_AV[:, no]
            rank, hit = rank_loss(margin_A, ranked_A, batch.groups_A)
            loss = loss + answer + rank
            parts |= {kind: float(answer.detach()), f"{kind} rank": float(rank.detach())}
            parts |= {f"{kind} hit": hit}
        if len(batch.predicted_P) and phase.language_weight:
            logits_PV = transformer.unembed(h_MD[batch.predicting_P])
            language = functional.cross_entropy(logits_PV, batch.predicted_P)
            loss = loss + phase.language_weight * language
            parts[f"{kind} language"] = float(language.detach())
        return loss, parts


def label_loss(logits_NC: Tensor, labels_N: Tensor) -> tuple[Tensor, float]:
    """Of the throw-away classifier; and how often it is right."""
    loss = functional.cross_entropy(logits_NC, labels_N, label_smoothing=LABEL_SMOOTHING)
    return loss, float((logits_NC.argmax(-1) == labels_N).float().mean())


def softened(batch: Batch, logits_NC: Tensor) -> Tensor:
    """The answers' target shares, of which a part is what the classifier gives the products that
    they name (distillation, Hinton et al. 2015): it tells the likely mistakes from the absurd."""
    named_A = batch.names_A >= 0
    if not bool(named_A.any()):
        return batch.ranked_A
    rows = len(batch.real_BT)
    sums_RC = logits_NC.new_zeros(rows, logits_NC.shape[1]).index_add(0, batch.rows_N, logits_NC)
    tiles_R1 = batch.rows_N.bincount(minlength=rows).clamp(min=1)[:, None]
    row_A = batch.answering_A // batch.real_BT.shape[1]
    logits_A = (sums_RC / tiles_R1)[row_A[named_A], batch.names_A[named_A]]
    groups_A, targets_A = batch.groups_A[named_A], batch.ranked_A[named_A]
    spread_GA, index_A = in_groups(logits_A, groups_A)
    shares_A = spread_GA.softmax(1)[index_A, torch.arange(len(groups_A))]
    taught_A = DISTILLED_SHARE * shares_A + (1 - DISTILLED_SHARE) * targets_A
    return batch.ranked_A.masked_scatter(named_A, taught_A)


def in_groups(values_A: Tensor, groups_A: Tensor) -> tuple[Tensor, Tensor]:
    """A row for each group with its members' values, minus infinity elsewhere; and each member's
    row."""
    kinds, index_A = torch.unique(groups_A, return_inverse=True)
    places_GA = values_A.new_full((len(kinds), len(groups_A)), -torch.inf)
    return places_GA.scatter(0, index_A[None], values_A[None]), index_A


def rank_loss(margin_A: Tensor, ranked_A: Tensor, groups_A: Tensor) -> tuple[Tensor, float]:
    """Cross-entropy of the rivals' softmax over margins against their target shares; and how often
    the highest margin is the highest share."""
    rivals_A = ranked_A >= 0
    if not bool(rivals_A.any()):
        return margin_A.new_zeros(()), 0.0
    margins, shares, groups = margin_A[rivals_A], ranked_A[rivals_A], groups_A[rivals_A]
    spread_GA, index_A = in_groups(margins, groups)
    targets_GA, _ = in_groups(shares, groups)
    log_shares = spread_GA.log_softmax(1)[index_A, torch.arange(len(groups))]
    hit = (spread_GA.argmax(1) == targets_GA.argmax(1)).float().mean()
    return -(shares * log_shares).sum() / len(spread_GA), float(hit)


def balance_loss(log: list[tuple[int, Tensor]], real_N: Tensor) -> tuple[Tensor, dict[str, float]]:
    """The Switch loss (Fedus et al. 2021), mean over layers: 1 when all experts are used alike."""
    total = torch.zeros((), device=real_N.device)
    use: dict[str, float] = {}
    for layer, logits_NE in log:
        logits_NE = logits_NE[real_N]
        experts = logits_NE.shape[-1]
        share_E = logits_NE.argmax(-1).bincount(minlength=experts) / len(logits_NE)
        total = total + experts * (share_E * logits_NE.softmax(-1).mean(0)).sum() / len(log)
        for expert in range(experts):
            use[f"expert {layer}.{expert}"] = float(share_E[expert]) * len(logits_NE)
    return total, use


class Tally:
    """Collects the losses of some steps, says them in one line and appends them to losses.jsonl."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sums: dict[str, list[float]] = defaultdict(list)
        self._since = time.monotonic()

    def add(self, losses: Mapping[str, float]) -> None:
        """The losses of one step."""
        for name, value in losses.items():
            self._sums[name].append(value)

    def say(self) -> None:
        """One line about the whole crew, then begin again."""
        run, seconds = self._run, time.monotonic() - self._since
        steps = len(self._sums["rate"])
        left = (run.recipe.steps - run.step) * seconds / steps
        sums = merged(run.crew.collect(dict(self._sums)))
        means = {name: sum(values) / len(values) for name, values in sums.items()}
        speed = sum(sums.get("tokens", [])) / seconds
        plain = {n: v for n, v in means.items() if not n.startswith(("expert", "tokens"))}
        self._sums.clear()
        self._since = time.monotonic()
        if not run.crew.leads:
            return
        run.say(
            f"step {run.step}/{run.recipe.steps} {run.recipe.phase_at(run.step - 1).name}: "
            + ", ".join(f"{name} {value:.3f}" for name, value in plain.items())
            + f"; {speed:,.0f} tokens/s, {seconds / steps:.2f} s a step, "
            + f"{left / 60:.0f} min left; {experts_in_words(means)}"
        )
        with (run.folder / "losses.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": run.step, **means}) + "\n")


def merged(parts: Sequence[Mapping[str, list[float]]]) -> dict[str, list[float]]:
    """The values of all parts under each name."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: [value for part in parts for value in part.get(name, [])] for name in names}


def experts_in_words(means: Mapping[str, float]) -> str:
    """The share of the tokens that each expert of each layer was given."""
    layers: dict[str, list[float]] = defaultdict(list)
    for name, value in means.items():
        if name.startswith("expert "):
            layers[name.split()[1].split(".")[0]].append(value)
    return "experts " + " ".join(
        f"{layer}:" + "/".join(f"{100 * value / max(1.0, sum(values)):.0f}" for value in values)
        for layer, values in layers.items()
    )


def make_kit(recipe: Recipe, vocabulary: Vocabulary) -> Kit:
    """Config and image processor of a recipe's model; token ids come from the vocabulary."""
    shape = recipe.shape
    ids = {name: vocabulary.token_to_id(name) for name in vocabulary.get_vocab()}
    text = {
        **shape.text,
        "vocab_size": vocabulary.get_vocab_size(),
        "max_position_embeddings": shape.context_length,
        "bos_token_id": ids["<|begin_of_text|>"],
        "eos_token_id": ids["<|eot|>"],
        "pad_token_id": ids["<|finetune_right_pad|>"],
    }
    config = ModelConfig.from_hf(
        {
            "model_type": "llama4",
            "text_config": text,
            "vision_config": dict(shape.vision),
            "boi_token_index": ids["<|image_start|>"],
            "eoi_token_index": ids["<|image_end|>"],
            "image_token_index": ids["<|patch|>"],
            "tie_word_embeddings": shape.text.get("tie_word_embeddings", False),
        }
    )
    assert config.vision is not None
    processor = ImageProcessor(
        tile_size=config.vision.image_size,
        tokens_per_tile=config.vision.tokens_per_tile,
        max_patches=1,
        resize_to_max_canvas=True,
    )
    return Kit(config, vocabulary, processor)


def read_kit(folder: Path) -> Kit:
    """What a checkpoint folder has beside its weights."""
    config = load_config(folder)
    processor = None if config.vision is None else ImageProcessor.from_folder(folder)
    return Kit(config, Vocabulary.from_file(str(folder / TOKENIZER)), processor)


def generation_config(config: ModelConfig) -> dict[str, Any]:
    """generation_config.json: greedy, ending at the end of a turn."""
    text = config.text
    return {
        "bos_token_id": text.bos_token_id,
        "eos_token_id": text.eos_token_id,
        "pad_token_id": text.pad_token_id,
        "do_sample": False,
    }


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """As people write it."""
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")

"""What each training step reads: rows of every kind, drawn from the data by step number and seed.

The n-th row of a kind is always the same row, so that a resumed run reads what an uninterrupted
one would have read. The words come from the application's prompts file and the tokens from
`model.prompt`, so that training and serving ask alike. Called by the training loop.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from model.image import ImageProcessor
from model.prompt import Part, ask, end_turn, open_turn
from model.tokenizer import Tokenizer
from model.train.documents import TextDocument, gain, sentences
from model.train.listings import Catalogue, Claim, Photo, augment
from model.train.recipe import Phase, Prompts
from model.train.rows import Answer, Row

T = TypeVar("T")
RANK_TEMPERATURE = 0.07  # of the gains that become shares of the rivals' probability
GOOD_SHARE = 0.9  # of the best sentence's gain: as good an answer as the best
MOST_SENTENCES = 60  # of a document, those that may be offered
LEAST_GAIN = 0.12  # a summary of which no sentence says more teaches nothing
ANSWERED_SHARE = 0.12  # of the branches, those that show the answer and the end of the turn
SECOND_PHOTO_SHARE = 0.12  # of the listings, those with another photo of the same product
SUMMARY_MIX = ("papers", "en", "zh", "papers", "en", "zh", "papers", "en", "zh", "papers")


@dataclass(frozen=True)
class Labelled:
    """Photos for the throw-away classifier."""

    tiles_N3SS: Tensor
    labels_N: Tensor


class Stream(Generic[T]):
    """An endless sequence over items: shuffle after shuffle, every item once in each."""

    def __init__(self, items: Sequence[T], seed: str) -> None:
        self._items = items
        self._seed = seed
        self._epoch = -1
        self._order: list[int] = []

    def item(self, number: int) -> T:
        """The item at a place of the sequence."""
        epoch, place = divmod(number, len(self._items))
        if epoch != self._epoch:
            self._order = list(range(len(self._items)))
            random.Random(f"{self._seed}/{epoch}").shuffle(self._order)
            self._epoch = epoch
        return self._items[self._order[place]]


class Curriculum:
    """The data of a run, and the rows of each of its steps."""

    def __init__(
        self,
        documents: Sequence[TextDocument],
        photos: Sequence[Photo],
        prompts: Prompts,
        tokenizer: Tokenizer,
        image_processor: ImageProcessor,
        seed: int,
    ) -> None:
        self.catalogue = Catalogue(photos)
        self.prompts = prompts
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self._seed = seed
        self._yes, self._no = (prompts["summarize"][name] for name in ("yes", "no"))
        self._truths = {
            "yes": prompts["check_listing"]["supported"],
            "no": prompts["check_listing"]["refuted"],
            "unclear": prompts["check_listing"]["unseen"],
        }
        self._token = {
            words: single_token(tokenizer, words)
            for words in {self._yes, self._no, *self._truths.values()}
        }
        self._photos = Stream(photos, f"{seed}/photos")
        self._photos_of: dict[str, list[Photo]] = defaultdict(list)
        for photo in photos:
            self._photos_of[photo.product].append(photo)
        self._labels = Stream(photos, f"{seed}/labels")
        self._texts = Stream(documents, f"{seed}/texts")
        groups = {name: [d for d in documents if _group(d) == name] for name in set(SUMMARY_MIX)}
        self._summaries = {name: Stream(group, f"{seed}/{name}") for name, group in groups.items()}
        self._mix = [name for name in SUMMARY_MIX if groups[name]]

    @property
    def yes_no(self) -> tuple[int, int]:
        """The tokens between which margins are taken."""
        return self._token[self._yes], self._token[self._no]

    def labelled(self, first: int, count: int) -> Labelled:
        """Photos number `first` and on, altered, with the place of their product among all."""
        tiles, labels = [], []
        for number in range(first, first + count):
            photo = self._labels.item(number)
            chance = random.Random(f"{self._seed}/label/{number}")
            tiles.append(self.image_processor(augment(photo.open(), chance)).tiles_N3SS)
            labels.append(self.catalogue.products.index(photo.product))
        return Labelled(torch.cat(tiles), torch.tensor(labels))

    def listings(self, first: int, count: int, phase: Phase) -> list[Row]:
        """Photos with claims."""
        return [self._listing(number, phase) for number in range(first, first + count)]

    def summaries(self, first: int, count: int, phase: Phase) -> list[Row]:
        """Documents with their sentences offered; those that teach nothing are passed over."""
        rows = (self._summary(number, phase) for number in range(first, first + count))
        return [row for row in rows if row is not None]

    def passages(self, first: int, count: int, phase: Phase) -> list[Row]:
        """Documents to be read word by word."""
        return [self._passage(number, phase) for number in range(first, first + count)]

    def asks(self, first: int, count: int, phase: Phase) -> list[Row]:
        """Documents with a question made of one of their headings, and passages that may answer."""
        rows = (self._ask(number, phase) for number in range(first, first + count))
        return [row for row in rows if row is not None]

    def _listing(self, number: int, phase: Phase) -> Row:
        photo = self._photos.item(number)
        chance = random.Random(f"{self._seed}/listing/{number}")
        words = self.prompts["check_listing"]
        shown = [photo]
        if chance.random() < SECOND_PHOTO_SHARE:
            shown.append(chance.choice(self._photos_of[photo.product]))
        parts: list[Part] = []
        for place, one in enumerate(shown, start=1):
            parts += [words["photo"].format(number=place), augment(one.open(), chance)]
        opened = open_turn(parts, self.tokenizer, self.image_processor)
        labels = [self.catalogue.products.index(one.product) for one in shown]
        row = Row(opened.token_ids, opened.tiles_N3SS, labels=labels)
        claims = self.catalogue.claims(photo, phase.claims, chance)
        chance.shuffle(claims)
        for claim in claims:
            question = words["question"].format(attribute=claim.attribute, claim=claim.text)
            self._branch(row, question, self._truths[claim.truth], _claim_rank(claim), chance)
        return row

    def _summary(self, number: int, phase: Phase) -> Row | None:
        chance = random.Random(f"{self._seed}/summary/{number}")
        document = self._summarised(number)
        text = self._cut(document.text, chance.choice(phase.trunk_tokens))
        found = [sentence for sentence in sentences(text) if not sentence.heading]
        gain_of = [gain(s.text, document.references) for s in found[:MOST_SENTENCES]]
        if len(gain_of) < 2 or max(gain_of) < LEAST_GAIN:
            return None
        offered = choose_candidates(gain_of, phase.candidates, chance)
        gains = [gain_of[index] for index in offered]
        # What the document would offer had it not been cut.
        count = round(len(found) * max(1.0, len(document.text) / len(text)))
        row = self._open_document(text, chance)
        shares = _softmax([value / RANK_TEMPERATURE for value in gains])
        best = max(gains)
        for index, value, share in zip(offered, gains, shares, strict=True):
            question = self.prompts["summarize"]["question"].format(
                sentence=found[index].text, place=index + 1, count=count
            )
            answer = self._yes if value >= GOOD_SHARE * best else self._no
            start = self._branch(row, question, answer, share, chance)
            self._predict(row, range(start, len(row) - 1), phase.language_share, chance)
        self._predict(row, range(row.trunk - 1), phase.language_share, chance)
        return row

    def _summarised(self, number: int) -> TextDocument:
        """Streams take turns as the mix says, and each advances by one when it is its turn."""
        rounds, place = divmod(number, len(self._mix))
        name = self._mix[place]
        turns = rounds * self._mix.count(name) + self._mix[:place].count(name)
        return self._summaries[name].item(turns)

    def _passage(self, number: int, phase: Phase) -> Row:
        chance = random.Random(f"{self._seed}/passage/{number}")
        text = self._texts.item(number).text
        start = chance.randrange(max(1, len(text) - 200)) if chance.random() < 0.3 else 0
        cut = self._cut(text[start:], chance.choice(phase.trunk_tokens))
        row = self._open_document(cut, chance)
        self._predict(row, range(row.trunk - 1), phase.language_share, chance)
        return row

    def _ask(self, number: int, phase: Phase) -> Row | None:
        chance = random.Random(f"{self._seed}/ask/{number}")
        text = self._cut(self._texts.item(number).text, chance.choice(phase.trunk_tokens))
        found = sentences(text)
        headed = [i for i, s in enumerate(found[:-1]) if s.heading and not found[i + 1].heading]
        passages = [sentence for sentence in found if not sentence.heading]
        if not headed or len(passages) < 3:
            return None
        asked = chance.choice(headed)
        right = found[asked + 1]
        others = [sentence for sentence in passages if sentence is not right]
        offered = [right, *chance.sample(others, min(len(others), phase.candidates // 2))]
        chance.shuffle(offered)
        row = self._open_document(text, chance)
        heading = found[asked].text.lstrip("# ")
        for sentence in offered:
            question = self.prompts["ask"]["question"].format(
                question=heading, passage=sentence.text
            )
            answers = sentence is right
            self._branch(row, question, self._yes if answers else self._no, float(answers), chance)
        return row

    def _open_document(self, text: str, chance: random.Random) -> Row:
        words = self.prompts["document"]["page"]
        pages = paginate(text, chance)
        parts = [words.format(page=n, text=page) for n, page in enumerate(pages, start=1)]
        return Row(open_turn(parts, self.tokenizer, None).token_ids)

    def _branch(
        self, row: Row, question: str, answer: str, rank: float | None, chance: random.Random
    ) -> int:
        tokens = ask(question, self.tokenizer)
        right = self._token[answer]
        shown = chance.random() < ANSWERED_SHARE
        start = row.add_branch([*tokens, right, *end_turn(self.tokenizer)] if shown else tokens)
        at = start + len(tokens) - 1
        row.answers.append(Answer(at, right, group=1, rank=rank))
        if shown:
            row.predictions.append(at + 1)
        return start

    def _predict(self, row: Row, places: range, share: float, chance: random.Random) -> None:
        row.predictions += [place for place in places if chance.random() < share]

    def _cut(self, text: str, tokens: int) -> str:
        """About the first `tokens` tokens of a text, ended at a blank."""
        most = tokens * 6
        ids = self.tokenizer.encode(text[:most])[:tokens]
        cut = self.tokenizer.decode(ids).rstrip("\N{REPLACEMENT CHARACTER}")
        return text if len(cut) >= len(text) else cut


def choose_candidates(gains: Sequence[float], most: int, chance: random.Random) -> list[int]:
    """Up to `most` sentences by number, in random order: always the best and the first."""
    best = max(range(len(gains)), key=gains.__getitem__)
    chosen = sorted({best, 0})
    rest = [index for index in range(len(gains)) if index not in chosen]
    chosen += chance.sample(rest, min(len(rest), most - len(chosen)))
    chance.shuffle(chosen)
    return chosen


def paginate(text: str, chance: random.Random) -> list[str]:
    """A text as one page, or cut into pages of random length at line ends."""
    if len(text) < 1200 or chance.random() < 0.5:
        return [text]
    length = chance.randint(700, 3000)
    pages, page = [], ""
    for line in text.splitlines(keepends=True):
        if page and len(page) + len(line) > length:
            pages.append(page.rstrip("\n"))
            page = ""
        page += line
    return [*pages, page.rstrip("\n")]


def single_token(tokenizer: Tokenizer, words: str) -> int:
    """The token of an answer; answers are one token each, so that they are compared in one step."""
    ids = tokenizer.encode(words)
    if len(ids) != 1:
        raise ValueError(f"the answer {words!r} is {len(ids)} tokens; it must be one")
    return ids[0]


def _claim_rank(claim: Claim) -> float | None:
    return None if not claim.rivals else float(claim.truth == "yes")


def _group(document: TextDocument) -> str:
    if not document.references or document.source == "QMSum":
        return ""
    return "papers" if document.source == "SciTLDR-A" else document.lang


def _softmax(values: Sequence[float]) -> list[float]:
    highest = max(values)
    weights = [math.exp(value - highest) for value in values]
    return [weight / sum(weights) for weight in weights]

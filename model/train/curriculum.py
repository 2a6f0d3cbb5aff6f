"""What each training step reads: rows of every kind, drawn from the data by step number and seed.

The n-th row of a kind is always the same row, so that a resumed run reads what an uninterrupted
one would have read. The words come from the application's prompts file and the tokens from
`model.prompt`, so that training and serving ask alike. Called by the training loop.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from model.image import ImageProcessor
from model.lexical import shared_words
from model.prompt import Part, ask, end_turn, open_turn
from model.tokenizer import Tokenizer
from model.train.documents import TextDocument, choice_shares, gain, sentences, title
from model.train.drawn import draw_page, draw_product
from model.train.listings import Catalogue, Claim, Listing, Photo, augment
from model.train.own import Questioned, claims_about
from model.train.questions import Asked, Questions
from model.train.recipe import Phase, Prompts
from model.train.rows import Answer, Row
from model.train.tables import OWN

T = TypeVar("T")
GOOD_SHARE = 0.9  # of the best sentence's gain: as good an answer as the best
MOST_CHARACTERS = 20_000  # of a document, those whose sentences are counted
MOST_SENTENCES = 60  # of a document, those that may be offered with their context
LEAST_GAIN = 0.12  # a summary of which no sentence says more teaches nothing
UNTITLED_SHARE = 0.12  # of the summaries, those whose title is not to be relied on
ANSWERED_SHARE = 0.12  # of the branches, those that show the answer and the end of the turn
CHARACTERS_PER_TOKEN = 4  # of English; Chinese has fewer
SECOND_PHOTO_SHARE = 0.12  # of the listings, those with another photo of the same product
OWN_SHARE = 0.5  # of the listings and questions, the user's own where there are others too
OWN_MIX = ("own en", "own zh")
SUMMARY_MIX = ("papers", "en", "zh", "papers", "en", "zh", "papers", "en", "zh", "zh")


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

    def __len__(self) -> int:
        return len(self._items)

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
        image_processor: ImageProcessor | None,
        seed: int,
        listings: Sequence[Listing] = (),
    ) -> None:
        """`listings`: the user's own. A checkpoint that reads text only has no image processor."""
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
        self._backgrounds = photos
        self._questions = Questions(documents, f"{seed}/questions")
        self._labels = Stream(photos, f"{seed}/labels")
        self._texts = Stream(documents, f"{seed}/texts")
        names = dict.fromkeys((*SUMMARY_MIX, *OWN_MIX))
        groups = {name: [d for d in documents if _group(d) == name] for name in names}
        self._summaries = {name: Stream(group, f"{seed}/{name}") for name, group in groups.items()}
        self._mix = _mix([name for name, group in groups.items() if group])
        self._listings = Stream(listings, f"{seed}/listings")
        self._titles = [listing.title for listing in listings if listing.consistent]
        questioned = [Questioned(document) for document in documents if document.question]
        self._questioned = Stream(questioned, f"{seed}/questioned")

    @property
    def yes_no(self) -> tuple[int, int]:
        """The tokens between which margins are taken."""
        return self._token[self._yes], self._token[self._no]

    @property
    def lacking(self) -> dict[str, str]:
        """The kinds of rows that there is nothing for, and what there would have to be."""
        sees = self.image_processor is not None
        needs = {
            "labels": ("products", sees and bool(self._photos)),
            "listings": ("listings with photos", sees and bool(self._photos or self._listings)),
            "drawn": ("a checkpoint that sees", sees),
            "summaries": ("documents with summaries", bool(self._mix)),
            "passages": ("documents", bool(self._texts)),
            "asks": ("documents", bool(self._texts)),
        }
        return {kind: what for kind, (what, is_there) in needs.items() if not is_there}

    def labelled(self, first: int, count: int) -> Labelled:
        """Photos number `first` and on, altered, with the place of their product among all."""
        assert self.image_processor is not None
        tiles, labels = [], []
        for number in range(first, first + count):
            photo = self._labels.item(number)
            chance = random.Random(f"{self._seed}/label/{number}")
            tiles.append(self.image_processor(augment(photo.open(), chance)).tiles_N3SS)
            labels.append(self.catalogue.products.index(photo.product))
        return Labelled(torch.cat(tiles), torch.tensor(labels))

    def listings(self, first: int, count: int, phase: Phase) -> list[Row]:
        """Photos with claims."""
        return [
            self._own_listing(number, phase)
            if self._is_own(f"listing/{number}", self._listings, self._photos)
            else self._listing(number, phase)
            for number in range(first, first + count)
        ]

    def drawn(self, first: int, count: int, phase: Phase) -> list[Row]:
        """Drawn products with claims."""
        return [self._drawn(number, phase) for number in range(first, first + count)]

    def summaries(self, first: int, count: int, phase: Phase) -> list[Row]:
        """Documents with their sentences offered; those that teach nothing are passed over."""
        rows = (self._summary(number, phase) for number in range(first, first + count))
        return [row for row in rows if row is not None]

    def passages(self, first: int, count: int, phase: Phase) -> list[Row]:
        """Documents to be read word by word."""
        return [self._passage(number, phase) for number in range(first, first + count)]

    def asks(self, first: int, count: int, phase: Phase) -> list[Row]:
        """Documents with a question and passages that may answer it."""
        rows = (self._ask(number, phase) for number in range(first, first + count))
        return [row for row in rows if row is not None]

    def _drawn(self, number: int, phase: Phase) -> Row:
        chance = random.Random(f"{self._seed}/drawn/{number}")
        picture, claims = draw_product(chance, self._backgrounds, phase.claims)
        parts: list[Part] = [self.prompts["check_listing"]["photo"].format(number=1), picture]
        opened = open_turn(parts, self.tokenizer, self.image_processor)
        return self._claimed(Row(opened.token_ids, opened.tiles_N3SS), claims, chance)

    def _is_own(self, row: str, own: Sized, others: Sized) -> bool:
        """Whether a row is of the user's own data."""
        share = OWN_SHARE if others else 1.0
        return bool(own) and random.Random(f"{self._seed}/own/{row}").random() < share

    def _own_listing(self, number: int, phase: Phase) -> Row:
        listing = self._listings.item(number)
        chance = random.Random(f"{self._seed}/own listing/{number}")
        row = self._open_photos(listing.photos, chance)
        return self._claimed(row, claims_about(listing, self._titles, phase.claims, chance), chance)

    def _listing(self, number: int, phase: Phase) -> Row:
        photo = self._photos.item(number)
        chance = random.Random(f"{self._seed}/listing/{number}")
        shown = [photo]
        if chance.random() < SECOND_PHOTO_SHARE:
            shown.append(chance.choice(self._photos_of[photo.product]))
        row = self._open_photos(shown, chance)
        if not self._listings:  # whose photos have no labels: a batch has some of all or of none
            row.labels = [self.catalogue.products.index(one.product) for one in shown]
        return self._claimed(row, self.catalogue.claims(photo, phase.claims, chance), chance)

    def _open_photos(self, photos: Sequence[Photo], chance: random.Random) -> Row:
        words = self.prompts["check_listing"]["photo"]
        parts: list[Part] = []
        for place, photo in enumerate(photos, start=1):
            parts += [words.format(number=place), augment(photo.open(), chance)]
        opened = open_turn(parts, self.tokenizer, self.image_processor)
        return Row(opened.token_ids, opened.tiles_N3SS)

    def _claimed(self, row: Row, claims: list[Claim], chance: random.Random) -> Row:
        """The row with a branch for each claim, in any order."""
        chance.shuffle(claims)
        for claim in claims:
            question = self.prompts["check_listing"]["question"].format(
                attribute=claim.attribute, claim=claim.text
            )
            label = self.catalogue.products.index(claim.product) if claim.product else -1
            answer = self._truths[claim.truth]
            self._branch(row, question, answer, _claim_rank(claim), chance, label)
        return row

    def _summary(self, number: int, phase: Phase) -> Row | None:
        chance = random.Random(f"{self._seed}/summary/{number}")
        document = self._summarised(number)
        text = self._cut(document.text, chance.choice(phase.trunk_tokens))
        found = [s for s in sentences(document.text[:MOST_CHARACTERS]) if not s.heading]
        near = sum(sentence.end <= len(text) for sentence in found[:MOST_SENTENCES])
        # Those beyond the cut teach how seldom a late sentence is the one.
        far = chance.sample(range(near, len(found)), min(phase.far_candidates, len(found) - near))
        gain_of = {i: gain(found[i].text, document.references) for i in [*range(near), *far]}
        if near < 2 or max(gain_of.values()) < LEAST_GAIN:
            return None
        offered = choose_candidates([gain_of[i] for i in range(near)], phase.candidates, chance)
        offered += far
        gains = [gain_of[index] for index in offered]
        row = self._open_document(text, chance, phase)
        shares = choice_shares(gains)
        best = max(gains)
        shown = "" if chance.random() < UNTITLED_SHARE else title(document.text)
        shared = shared_words(shown, [found[index].text for index in offered])
        for index, value, share, percent in zip(offered, gains, shares, shared, strict=True):
            question = self.prompts["summarize"]["question"].format(
                sentence=found[index].text, place=index + 1, count=len(found), shared=percent
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
        row = self._open_document(cut, chance, phase)
        self._predict(row, range(row.trunk - 1), phase.language_share, chance)
        return row

    def _ask(self, number: int, phase: Phase) -> Row | None:
        chance = random.Random(f"{self._seed}/ask/{number}")
        characters = chance.choice(phase.trunk_tokens) * CHARACTERS_PER_TOKEN
        asked = self._asked(number, characters, phase.candidates, chance)
        if asked is None:
            return None
        offered = [(text, True) for text in asked.right] + [(text, False) for text in asked.wrong]
        chance.shuffle(offered)
        row = self._open_document(asked.text, chance, phase)
        for passage, answers in offered:
            question = self.prompts["ask"]["question"].format(
                question=asked.question, passage=passage
            )
            share = answers / len(asked.right) if asked.right else None
            self._branch(row, question, self._yes if answers else self._no, share, chance)
        return row

    def _asked(
        self, number: int, characters: int, passages: int, chance: random.Random
    ) -> Asked | None:
        """The user's own questions take turns with those made of documents, which keep up what the
        checkpoint knows of others."""
        if self._is_own(f"ask/{number}", self._questioned, self._texts):
            return self._questioned.item(number).asked(characters, passages, chance)
        return self._questions.asked(number, characters, passages)

    def _open_document(self, text: str, chance: random.Random, phase: Phase) -> Row:
        """The pages of a document; some begin with their picture, as pages may in service."""
        words = self.prompts["document"]["page"]
        pages = paginate(text, chance)
        parts: list[Part] = []
        for number, page in enumerate(pages, start=1):
            if self.image_processor and chance.random() < phase.pictured_share / len(pages):
                parts.append(draw_page(page, chance))
            parts.append(words.format(page=number, text=page))
        opened = open_turn(parts, self.tokenizer, self.image_processor)
        return Row(opened.token_ids, opened.tiles_N3SS)

    def _branch(
        self,
        row: Row,
        question: str,
        answer: str,
        rank: float | None,
        chance: random.Random,
        label: int = -1,
    ) -> int:
        tokens = ask(question, self.tokenizer)
        right = self._token[answer]
        shown = chance.random() < ANSWERED_SHARE
        start = row.add_branch([*tokens, right, *end_turn(self.tokenizer)] if shown else tokens)
        at = start + len(tokens) - 1
        row.answers.append(Answer(at, right, group=1, rank=rank, label=label))
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


def _mix(names: Sequence[str]) -> list[str]:
    """Whose turn it is: the user's own summaries about as often as all others together."""
    others = [name for name in SUMMARY_MIX if name in names]
    own = [name for name in OWN_MIX if name in names]
    return others + own * max(1, len(others) // max(1, len(own)))


def _group(document: TextDocument) -> str:
    if not document.references or document.source == "QMSum":
        return ""
    if document.source == OWN:
        return f"own {document.lang}"
    return "papers" if document.source == "SciTLDR-A" else document.lang

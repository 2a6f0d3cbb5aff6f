"""How much a task will have an engine read and ask, told from its input before anything is asked.

The questions of a task are made by the task's own rules, from the whole document where it is short
and from a sample of its pages where it is long; what the sample has is multiplied. Nothing is
loaded: tokens are counted by the checkpoint's tokenizer alone. What depends on the model's answers
(parts of photos that are looked at again) is counted as if all answers wanted it, so a listing
takes this much at most. Called by jobs when one is submitted; refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmapp.documents.quotes import PageText
from mmapp.tasks import prompts
from mmapp.tasks.abstractive import FEWEST_OF_PORTION, most_tokens
from mmapp.tasks.ask import Calibration, Matched, is_trained, middles
from mmapp.tasks.claims import take_claims
from mmapp.tasks.extract import asked_of_model
from mmapp.tasks.passages import passages
from mmapp.tasks.portions import FEWEST_TOKENS, SPARE_TOKENS
from mmapp.tasks.propose import asked_names
from mmapp.tasks.reading import IMAGE_TOKENS
from mmapp.tasks.regions import MOST_PHOTOS, WINDOWS
from mmapp.tasks.sentences import candidates, is_chinese, without_repeats
from mmapp.tasks.summarize import MOST_SENTENCES, wanted
from mmapp.types import AskParams, ExtractParams, Listing, Page, SummarizeParams
from model.framings import framings
from model.lexical import Lexical

#: Control tokens of a turn in the chat format of Llama 3 and 4 (`model.prompt`): the end of the one
#: before, or the beginning of the text, and two around the role.
TURN_MARKS = 3

#: Tokens of a text.
Count = Callable[[str], int]
#: What is asked of a document.
DocumentParams = SummarizeParams | AskParams | ExtractParams


@dataclass(frozen=True, slots=True)
class Sample:
    """Pages of a document that stand for all of it."""

    pages: tuple[Page, ...]
    #: How many times the characters of these pages the document has; 1: they are all of it.
    times: float
    #: Pages of the whole document.
    page_count: int


@dataclass(frozen=True, slots=True)
class Size:
    """Tokens that an engine is given."""

    read: int
    #: Asked about, or written.
    asked: int
    #: Held at once: the document with its longest question.
    reading: int
    #: The same of the smallest part that can be read, at least.
    least: int
    #: The longest question with its answer.
    longest: int


NOTHING = Size(0, 0, 0, 0, 0)


def document_size(
    sample: Sample, params: DocumentParams, profile: Mapping[str, Any], count: Count
) -> Size:
    """Of a task about one document; nothing where no page of the sample has words."""
    pages = [page for page in map(PageText, sample.pages) if page.text.strip()]
    if not pages:
        return NOTHING
    own = prompts.document_parts([(page.page.number, page.text) for page in pages])
    picture = int(profile.get("image_tokens", IMAGE_TOKENS)) if profile.get("page_images") else 0
    read = round(sample.times * sum(map(count, own))) + picture * sample.page_count
    read += _turn("user", count)
    if isinstance(params, SummarizeParams) and params.mode == "abstractive":
        return _written(pages, params, read, sample.times, count)
    asked, longest = _questions(pages, params, profile, sample.times, count)
    if not longest:
        return NOTHING
    least = longest + SPARE_TOKENS + FEWEST_TOKENS + picture
    return Size(read, asked, max(read + longest, least), least, longest)


def _questions(
    pages: Sequence[PageText],
    params: DocumentParams,
    profile: Mapping[str, Any],
    times: float,
    count: Count,
) -> tuple[int, int]:
    """Tokens of all questions, and of the longest; 0 where the model is asked nothing."""
    if isinstance(params, SummarizeParams):
        texts = _about_sentences(pages)
        return _counted(texts, times * len(texts), count)
    offered = passages(pages)
    texts = [passage.text for passage in offered]
    lexical = Lexical(texts, middles(offered, pages))
    most = Calibration.of(profile).closest
    there = round(times * len(offered))
    each = there if most is None else min(there, most)

    def closest(question: str) -> list[str]:
        return [texts[place] for place in Matched(question, offered, lexical).closest(most)]

    if isinstance(params, AskParams):
        stem = count(prompts.ask_stem(params.question))
        asked, longest = _counted(
            [prompts.ask_rest(text) for text in closest(params.question)], each, count
        )
        return stem + asked, stem + longest
    counted = [
        _counted([prompts.ask_question(question, text) for text in closest(question)], each, count)
        for question in _fields(pages, params, profile)
    ]
    return sum(asked for asked, _ in counted), max((one for _, one in counted), default=0)


def _about_sentences(pages: Sequence[PageText]) -> list[str]:
    offered = without_repeats(candidates(pages))
    return [
        prompts.summarize_question(sentence.text, place, len(offered), 0)
        for place, sentence in enumerate(offered, start=1)
    ]


def _fields(
    pages: Sequence[PageText], params: ExtractParams, profile: Mapping[str, Any]
) -> list[str]:
    if not is_trained(profile):
        return []
    chinese = is_chinese(" ".join(page.text[:2_000] for page in pages))
    return asked_of_model(params.fields, chinese=chinese)


def _counted(texts: Sequence[str], asked: float, count: Count) -> tuple[int, int]:
    """Tokens of so many questions like these, and of the longest of these."""
    turn = _turn("assistant", count)
    tokens = [count(text) + turn for text in texts]
    return round(asked * sum(tokens) / max(1, len(tokens))), max(tokens, default=0)


def _turn(role: str, count: Count) -> int:
    """Tokens that open a turn."""
    return TURN_MARKS + count(role) + count("\n\n")


def _written(
    pages: Sequence[PageText], params: SummarizeParams, read: int, times: float, count: Count
) -> Size:
    """Of a summary that the model writes: read once, and once more where each section has one."""
    sentences = round(times * len(without_repeats(candidates(pages))))
    sentences = min(wanted(params, sentences), MOST_SENTENCES)
    chinese = is_chinese("".join(page.text[:1_000] for page in pages))
    longest = count(prompts.write_question(sentences, chinese=chinese))
    longest += most_tokens(max(sentences, FEWEST_OF_PORTION))
    least = longest + SPARE_TOKENS + FEWEST_TOKENS
    rounds = 1 + params.sections
    return Size(rounds * read, longest, max(read + longest, least), least, longest)


def listing_size(
    listing: Listing, profile: Mapping[str, Any], image_tokens: tuple[int, int], count: Count
) -> Size:
    """Of a listing's photos in all their framings, and of the claims about them; `image_tokens` of
    one photo, at least and at most."""
    claims = [claim for claim in take_claims(listing)[0] if claim.kind.is_visible]
    asked = [prompts.listing_question(claim.attribute, claim.text) for claim in claims]
    rounds, photos = len(framings(profile)), len(listing.photos)
    caption = count(prompts.listing_photo(1))
    view = image_tokens[1] + caption
    once, longest = _counted(asked, len(asked), count)
    opening = _turn("user", count)
    reading = photos * view + opening
    size = Size(rounds * reading, rounds * once, reading, 0, longest)
    if asked and profile.get("regions", True):
        views = (photos if photos > 1 else 0) + WINDOWS**2 * min(photos, len(asked), MOST_PHOTOS)
        size = _added(size, views * (view + opening), views * once, longest)
    if listing.propose:
        names = [prompts.listing_question(*each) for each in asked_names(profile)]
        once, longest = _counted(names, len(names), count)
        size = _added(size, rounds * reading, rounds * once, longest)
    least = photos * (image_tokens[0] + caption) + opening + size.longest
    return Size(size.read, size.asked, size.reading + size.longest, least, size.longest)


def _added(size: Size, read: int, asked: int, longest: int) -> Size:
    longest = max(size.longest, longest)
    return Size(size.read + read, size.asked + asked, size.reading, size.least, longest)

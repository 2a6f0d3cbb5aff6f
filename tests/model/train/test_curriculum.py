import random
import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Vocabulary

from mmapp.tasks import prompts as served
from model.lexical import shared_words
from model.prompt import ask, open_turn
from model.tokenizer import Tokenizer
from model.train.curriculum import Curriculum, Stream, choose_candidates
from model.train.documents import read_documents, title
from model.train.listings import Catalogue, augment, colour_shares, read_photos
from model.train.loop import make_kit
from model.train.recipe import Phase, Recipe, read_prompts
from model.train.rows import Row, collate, pack
from model.train.vocabulary import train_tokenizer

PHASE = Phase("all", 1, claims=5, candidates=4, trunk_tokens=(64, 96))


@pytest.fixture(scope="module")
def vocabulary(data: Path, recipe: Recipe) -> Vocabulary:
    return train_tokenizer(
        read_documents(data, "train"),
        read_photos(data, "train"),
        read_prompts(recipe.prompts).phrases(),
        size=700,
        characters=20_000,
        seed=1,
    )


@pytest.fixture(scope="module")
def curriculum(data: Path, recipe: Recipe, vocabulary: Vocabulary) -> Curriculum:
    kit = make_kit(recipe, vocabulary)
    return Curriculum(
        read_documents(data, "train"),
        read_photos(data, "train"),
        read_prompts(recipe.prompts),
        Tokenizer(vocabulary),
        kit.image_processor,
        seed=3,
    )


def branches(row: Row) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for token, branch in zip(row.token_ids, row.branches, strict=True):
        found.setdefault(branch, []).append(token)
    return [found[number] for number in sorted(found) if number]


def test_any_text_comes_back_from_the_tokenizer(vocabulary: Vocabulary) -> None:
    tokenizer = Tokenizer(vocabulary)
    for text in ("Printer drivers, 2nd édition\n\n  done", "安装打印机 🖨 <|eot|>", "\tx = 'y'\r\n"):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert not tokenizer.control_ids & set(ids)


def test_each_answer_is_one_token(vocabulary: Vocabulary) -> None:
    for task in served.ANSWERS:
        for answer in served.answers(task):
            assert len(Tokenizer(vocabulary).encode(answer)) == 1


def test_a_documents_row_is_what_the_application_would_send(
    curriculum: Curriculum,
) -> None:
    tokenizer = curriculum.tokenizer
    rows = curriculum.summaries(0, 6, PHASE)
    assert rows
    for row in rows:
        page = re.search(r"\[1\]\n(.*)\n\n$", tokenizer.decode(row.token_ids[: row.trunk]), re.S)
        assert page
        opened = open_turn(served.document_parts([(1, page[1])]), tokenizer, None)
        assert row.token_ids[: row.trunk] == opened.token_ids
        for branch, answer in zip(branches(row), row.answers, strict=True):
            question = tokenizer.decode(branch).split("assistant")[0]
            parts = re.match(
                r"Does sentence (\d+) of (\d+), with (\d+) % .*? about\? (.*)", question, re.S
            )
            assert parts
            place, count, shared, sentence = *map(int, parts.groups()[:3]), parts[4]
            assert sentence in page[1]
            assert 1 <= place <= count
            assert shared in (0, *shared_words(title(page[1]), [sentence]))
            asked = ask(served.summarize_question(sentence, place, count, shared), tokenizer)
            assert branch[: len(asked)] == asked
            assert branch[len(asked) :][:1] in ([], [answer.right])


def test_a_listings_row_is_what_the_application_would_send(curriculum: Curriculum) -> None:
    tokenizer = curriculum.tokenizer
    photo = read_photos_of(curriculum)
    opened = open_turn(served.listing_parts([photo]), tokenizer, curriculum.image_processor)
    for row in curriculum.listings(0, 4, PHASE):
        assert row.token_ids[: len(opened.token_ids)] == opened.token_ids
        for branch in branches(row):
            text = tokenizer.decode(branch).split("assistant")[0]
            attribute, claim = text.removeprefix("Do the photos show this? ").split(": ", 1)
            asked = ask(served.listing_question(attribute, claim), tokenizer)
            assert branch[: len(asked)] == asked


def read_photos_of(curriculum: Curriculum):  # type: ignore[no-untyped-def]
    return curriculum._photos.item(0).open()


def test_rivals_share_one_certainty(curriculum: Curriculum) -> None:
    for row in [*curriculum.summaries(0, 4, PHASE), *curriculum.listings(0, 4, PHASE)]:
        assert sum(a.rank for a in row.answers if a.rank is not None) == pytest.approx(1.0)


def test_the_same_number_is_always_the_same_row(curriculum: Curriculum) -> None:
    for draw in (curriculum.summaries, curriculum.listings, curriculum.passages, curriculum.asks):
        apart = draw(2, 1, PHASE) + draw(3, 1, PHASE)
        assert [row.token_ids for row in apart] == [row.token_ids for row in draw(2, 2, PHASE)]


def test_a_stream_shows_every_item_once_before_any_twice() -> None:
    stream = Stream(list("abcde"), "seed")
    first, second = ([stream.item(i) for i in range(n, n + 5)] for n in (0, 5))
    assert sorted(first) == sorted(second) == list("abcde")
    assert first != second


def test_the_best_sentence_and_the_first_are_always_offered() -> None:
    gains = [0.1, 0.0, 0.7, 0.2, 0.0, 0.1]
    for seed in range(5):
        offered = choose_candidates(gains, 3, random.Random(seed))
        assert {0, 2} < set(offered)
        assert len(offered) == 3


def test_claims_hold_or_not_as_they_say(data: Path) -> None:
    photos = read_photos(data, "train")
    catalogue, chance = Catalogue(photos), random.Random(5)
    for photo in photos:
        for claim in catalogue.claims(photo, 9, chance):
            if claim.rivals:
                says_own = photo.product.lower() in claim.text.lower()
                assert says_own == (claim.truth == "yes") or not claim.text.isascii()


def test_colours_are_those_of_the_pixels(data: Path) -> None:
    shares = {photo.product: colour_shares(photo.open()) for photo in read_photos(data, "train")}
    assert shares["T-Shirt"]["blue"] == 1.0
    assert shares["Shoes"]["black"] == 1.0
    assert shares["Granny Smith"]["green"] == 1.0


def test_an_altered_photo_is_still_a_photo(data: Path) -> None:
    picture = read_photos(data, "train")[0].open()
    sizes = {augment(picture, random.Random(seed)).size for seed in range(20)}
    assert len(sizes) > 5
    assert all(16 <= width <= 60 and 16 <= height <= 45 for width, height in sizes)


def test_rows_of_unlike_length_keep_their_answers_in_place(curriculum: Curriculum) -> None:
    rows = curriculum.summaries(0, 4, PHASE) + curriculum.asks(0, 2, PHASE)
    batch = collate(rows)
    flat = batch.token_ids_BT.flatten()
    ends = {ask("", curriculum.tokenizer)[-1]}
    assert set(flat[batch.answering_A].tolist()) == ends
    assert int(batch.real_BT.sum()) == sum(len(row) for row in rows)
    assert flat[batch.predicting_P + 1].equal(batch.predicted_P)


def test_packing_bounds_each_pass() -> None:
    rows = [Row(list(range(n))) for n in (50, 10, 30, 20, 40)]
    groups = pack(rows, 80)
    assert sorted(len(row) for group in groups for row in group) == [10, 20, 30, 40, 50]
    assert all(len(group) * max(map(len, group)) <= 80 for group in groups)

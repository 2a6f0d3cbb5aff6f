from PIL import Image

from mmapp.tasks import prompts


def test_each_page_is_a_part_with_its_number_and_words_as_they_stand():
    parts = prompts.document_parts([(1, "Braces {stay} put."), (2, "蜜蜂")])
    assert parts == ["[1]\nBraces {stay} put.\n\n", "[2]\n蜜蜂\n\n"]


def test_each_photo_has_its_number_before_it():
    photos = [Image.new("RGB", (8, 8)), Image.new("RGB", (9, 9))]
    assert prompts.listing_parts(photos) == ["Photo 1: ", photos[0], "Photo 2: ", photos[1]]


def test_questions_hold_the_words_they_ask_about():
    asked = prompts.summarize_question("{Bees} fly.", 3, 41, 60)
    assert asked.endswith(" {Bees} fly.")
    assert "3 of 41" in asked
    assert "60 %" in asked
    assert prompts.listing_question("颜色", "红").endswith("颜色: 红")
    asked = prompts.ask_question("Who?", "Bees.")
    assert "Who?" in asked
    assert "Bees." in asked
    assert prompts.ask_stem("Who?") + prompts.ask_rest("Bees.") == asked


def test_answers_come_yes_first_then_no_then_unseen():
    assert prompts.answers("summarize") == ("yes", "no")
    assert prompts.answers("check_listing") == ("yes", "no", "unclear")
    assert prompts.answers("ask") == ("yes", "no")


def test_the_hash_is_that_of_the_file():
    assert len(prompts.prompt_sha256()) == 64

"""Fine-tuning on a user's own data: `listings.csv` and `documents.jsonl` in a folder."""

import csv
import json
import lzma
import random
import shutil
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

import model
from mmapp.tasks.claims import take_claims
from mmapp.types import Listing as ServedListing
from model.checkpoint import load_config, save_checkpoint
from model.config import ModelConfig
from model.train.cli import main
from model.train.documents import TextDocument, read_documents
from model.train.listings import Listing, read_listings, read_photos
from model.train.loop import Run
from model.train.own import Questioned, claims_about, claims_of
from model.train.recipe import read_recipe
from model.train.tables import DataError, is_held_out, of_split
from model.transformer import Transformer
from tests.model.train.conftest import SENTENCES

RECIPES = Path(__file__).parents[3] / "model" / "recipes"
TINY, FINETUNE = (str(RECIPES / name) for name in ("tiny.toml", "finetune.toml"))
COLUMNS = ("id", "Image", "title", "description", "label", "colour", "price", "verdict")
LISTINGS = (
    ("a", "blue.png", "Blue mug", "A mug. Holds tea.", "consistent", "blue", "3", "uncertain"),
    ("b", "red.png|blue.png", "Red bowl", "", "Consistent", "red", "", ""),
    ("c", "red.png", "Green plate", "", "inconsistent", "green", "", ""),
)
QUESTION = {"en": "Which port is to be chosen?", "zh": "应该选择哪个端口？"}
ANSWER = {"en": "port that the printer is connected to", "zh": "打印机所连接的端口"}


def silent(_line: str) -> None:
    """Nobody reads."""


def write_listings(folder: Path, rows: tuple[tuple[str, ...], ...] = LISTINGS) -> None:
    for name in ("red", "blue"):
        Image.new("RGBA", (60, 45), name).save(folder / f"{name}.png")
    with (folder / "listings.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def write_documents(folder: Path, count: int = 12) -> None:
    rows = []
    for number in range(count):
        lang = ("en", "zh")[number % 2]
        first, *rest = SENTENCES[lang]
        row = {"id": number, "text": "\n\n".join([rest[0], first, *rest[1:]]), "summary": first}
        if number % 3 == 0:
            row |= {"question": QUESTION[lang], "answer": [ANSWER[lang]] if number else None}
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    (folder / "documents.jsonl").write_text("".join(rows), encoding="utf-8")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    write_listings(folder)
    write_documents(folder)
    return folder


@pytest.fixture(scope="module")
def start(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint, with the profile of one that was measured."""
    folder = tmp_path_factory.mktemp("start")
    run = Run(read_recipe(Path(TINY)), data, folder / "run", silent)
    run.train()
    out = folder / "first"
    run.export(out)
    profile = {
        "page_images": True,
        "calibration": {task: {"temperature": 2.5, "bias": 0.5} for task in ("ask", "summarize")},
        "skills": {"en": "Much.", "zh": "很多。"},
        "limits": {"en": "Little.", "zh": "很少。"},
        "figures": {"papers": {"ROUGE-1": 0.3}},
    }
    (out / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    (out / "README.md").write_text("---\nlicense: mit\n---\n\n# first\n\nSources.\n")
    return out


@pytest.fixture
def quick(tmp_path: Path) -> str:
    """The shipped recipe with three steps, of rows that fit a tiny context."""
    text = (RECIPES / "finetune.toml").read_text(encoding="utf-8")
    prompts = (RECIPES / "../../mmapp/tasks/prompts.toml").resolve()
    for old, new in (
        ('"../../mmapp/tasks/prompts.toml"', f'"{prompts}"'),
        ("steps = 100", "steps = 3"),
        ("log_steps = 10", "log_steps = 1"),
        ("[256, 384, 512]", "[64, 96]"),
        ("listings = 8", "listings = 2"),
        ("summaries = 6", "summaries = 2"),
        ("asks = 6", "asks = 3"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "quick.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def tune(recipe: str, folder: Path, start: Path) -> Path:
    out = folder.parent / "tuned"
    arguments = [recipe, "--data", str(folder), "--run", str(folder.parent / "run")]
    arguments += ["--start", str(start), "--out", str(out), "--threads", "1"]
    assert main("train", arguments) == 0
    return out


def profile_of(folder: Path) -> dict[str, dict[str, object]]:
    profile: dict[str, dict[str, object]] = json.loads((folder / "profile.json").read_text())
    return profile


def test_a_checkpoint_learns_from_a_folder_of_ones_own_and_keeps_what_is_not_measured(
    quick: str, own: Path, start: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tune(quick, own, start)
    said = capsys.readouterr().out
    assert "listings.csv: 3 rows, fewer than 10: all are trained on and measured" in said
    for kind in ("listings", "summaries", "asks"):
        assert f" {kind} hit " in said

    before, after = (load_file(folder / "model.safetensors") for folder in (start, out))
    still = {name for name, tensor in before.items() if tensor.equal(after[name])}
    assert all("norm" in name for name in still)  # small steps round away in bfloat16 at one
    engine = model.load(out, device="cpu")
    photo = read_photos(own, "train")[0].open()
    prefix = engine.prefill(["Photo 1: ", photo])
    assert all(score < 0 for score in engine.score(prefix, [("Is it?", "yes"), ("Is it?", "no")]))

    old, new = profile_of(start), profile_of(out)
    assert new["calibration"] == old["calibration"]  # too few rows to fit another
    for key in ("skills", "limits", "page_images"):
        assert new[key] == old[key]
    assert "papers" not in new["figures"]
    card = (out / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: mit\n---\n")
    assert "# first, fine-tuned" in card
    assert card.endswith("# first\n\nSources.\n")


def test_kinds_that_the_data_lacks_are_left_out(
    quick: str, own: Path, start: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "listings.csv").unlink()
    out = tune(quick, own, start)
    said = capsys.readouterr().out
    assert "listings: none, for want of listings with photos" in said
    assert "summaries hit" in said
    assert "listings" not in profile_of(out)["figures"]


def test_listings_alone_are_enough(
    quick: str, own: Path, start: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "documents.jsonl").unlink()
    out = tune(quick, own, start)
    assert "asks: none, for want of documents" in capsys.readouterr().out
    assert set(profile_of(out)["figures"]) == {"listings"}


def test_own_rows_stand_beside_the_splits(quick: str, own: Path, data: Path, start: Path) -> None:
    for name in ("documents", "listings"):
        shutil.copytree(data / name, own / name)
    recipe = read_recipe(Path(quick))
    run = Run(recipe, own, own.parent / "run", silent, start)
    tokenizer = run.curriculum.tokenizer
    rows = run.curriculum.listings(0, 12, recipe.phases[0])
    texts = [tokenizer.decode(row.token_ids) for row in rows]
    assert 2 < sum(any(row[2] in text for row in LISTINGS) for text in texts) < 10
    assert len(read_photos(own, "train")) == len(read_photos(data, "train")) + 2
    for draw in (run.curriculum.listings, run.curriculum.asks, run.curriculum.summaries):
        again = draw(2, 1, recipe.phases[0]) + draw(3, 1, recipe.phases[0])
        assert [row.token_ids for row in again] == [
            row.token_ids for row in draw(2, 2, recipe.phases[0])
        ]
    run.train()


def test_a_checkpoint_that_reads_text_only_learns_from_documents(
    quick: str, own: Path, start: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = own.parent / "blind"
    save_checkpoint(Transformer(ModelConfig(load_config(start).text)), blind)
    shutil.copy(start / "tokenizer.json", blind)
    recipe = read_recipe(Path(quick))
    run = Run(recipe, own, own.parent / "run", print, blind)
    before = run.transformer.embedding.weight.clone()
    run.train()
    said = capsys.readouterr().out
    assert "listings: none" in said
    assert "summaries hit" in said
    assert not before.equal(run.transformer.embedding.weight)
    run.export(own.parent / "out")
    assert model.load(own.parent / "out", device="cpu").image_processor is None


def test_an_empty_folder_is_refused(
    quick: str, tmp_path: Path, start: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [quick, "--data", str(tmp_path), "--run", str(tmp_path / "run")]
    assert main("train", [*arguments, "--start", str(start)]) == 2
    assert "put listings.csv or documents.jsonl there" in capsys.readouterr().err


def test_a_recipe_without_a_shape_needs_a_checkpoint(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [FINETUNE, "--data", str(own), "--run", str(tmp_path / "run")]
    assert main("train", arguments) == 2
    assert "finetune has no [tokenizer], [text], [vision]" in capsys.readouterr().err


def test_a_row_is_held_out_by_its_id_alone(own: Path) -> None:
    write_documents(own, 200)
    train, val = (read_documents(own, split) for split in ("train", "val"))
    assert {d.id for d in val} == {str(n) for n in range(200) if is_held_out(str(n))}
    assert len(train) + len(val) == 200
    assert 8 <= len(val) <= 32
    packed = own / "documents.jsonl.xz"
    packed.write_bytes(lzma.compress((own / "documents.jsonl").read_bytes()))
    (own / "documents.jsonl").unlink()
    assert read_documents(own, "val") == val
    assert {d.lang for d in val} == {"en", "zh"}


def test_a_small_table_is_whole_in_both_splits(own: Path) -> None:
    assert read_listings(own, "train") == read_listings(own, "val")
    assert len(read_listings(own, "val")) == 3
    assert of_split([], "val") == []


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", "", "The row a of listings.csv has no label"),
        ("label", "fine", "has the label “fine”"),
        ("title", "", "has no title"),
        ("Image", "", "has no photo"),
        ("Image", "../secret.png", "not inside"),
        ("Image", "/etc/hostname", "not inside"),
        ("Image", "link.png", "not inside"),
        ("Image", "green.png", "check the path"),
        ("Image", "listings.csv", "is no photo"),
        ("id", "b", "is there twice"),
    ],
)
def test_a_bad_listing_is_refused_by_name(own: Path, column: str, value: str, message: str) -> None:
    Image.new("RGB", (9, 9)).save(own.parent / "secret.png")
    (own / "link.png").symlink_to(own.parent / "secret.png")
    row = dict(zip(COLUMNS, LISTINGS[0], strict=True)) | {column: value}
    write_listings(own, (tuple(row.values()), *LISTINGS[1:]))
    with pytest.raises(DataError, match=message):
        read_listings(own, "train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "Line 1 of documents.jsonl is no JSON object"),
        ('{"id": "x"}', "The row x of documents.jsonl has no text under “text”"),
        (
            '{"id": "x", "text": "A.", "summary": 3}',
            "The row x of documents.jsonl has neither a text nor a list of texts under “summary”",
        ),
    ],
)
def test_a_bad_document_is_refused_by_name(own: Path, line: str, message: str) -> None:
    (own / "documents.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_documents(own, "train")


def test_a_table_of_a_chinese_spreadsheet_is_read(own: Path) -> None:
    text = "image;title;label;颜色\nred.png;红碗;consistent;红色\n"
    (own / "listings.csv").write_bytes(text.encode("gb18030"))
    (listing,) = read_listings(own, "train")
    assert (listing.id, listing.title, listing.attributes) == ("1", "红碗", (("颜色", "红色"),))


def test_a_photo_is_shown_on_white_and_upright(own: Path) -> None:
    picture = Image.new("RGBA", (40, 20), (255, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(own / "red.png", exif=exif)
    photo = read_listings(own, "train")[1].photos[0].open()
    assert photo.size == (20, 40)
    assert photo.getpixel((5, 5)) == (255, 255, 255)


WORDS = {
    "title": "Blue mug (350 ml) - dishwasher safe",
    "description": "- Colour: blue\nHolds tea. Two-year warranty.\n釉面光滑。适合日常使用！",
}
TITLES_AS_SERVED = [
    "Blue mug",
    "Blue mug, glazed, large",
    "Red, white and blue flag",
    "【新款】红色连衣裙 | 夏季",
    "Golden Delicious / 1 kg",
]


def listing_of(title: str, description: str = "", *, consistent: bool = True) -> Listing:
    return Listing("x", (), title, description, (("colour", "blue"), ("price", "3")), consistent)


@pytest.mark.parametrize("title", [WORDS["title"], *TITLES_AS_SERVED])
def test_a_listing_is_cut_into_the_claims_that_the_application_checks(title: str) -> None:
    listing = listing_of(title, WORDS["description"])
    served = ServedListing(("0" * 64,), title, listing.description, dict(listing.attributes))
    claims, _ = take_claims(served)
    assert claims_of(listing) == [(c.attribute, c.text) for c in claims if not c.is_detail]


def test_what_agrees_is_taught_as_yes_and_other_titles_as_no() -> None:
    listing = listing_of("Blue mug", "Holds tea.")
    for seed in range(20):
        others = ["Blue mug", "Large blue mug", "Red bowl", "Green plate", "Fork"]
        claims = claims_about(listing, others, 6, random.Random(seed))
        truths = {claim.text: claim.truth for claim in claims if claim.truth != "unclear"}
        assert truths.pop("Blue mug") == truths.pop("blue") == truths.pop("Holds tea.") == "yes"
        assert set(truths.values()) == {"no"}
        assert len(truths) == 2
        assert truths.keys() < {"Red bowl", "Green plate", "Fork"}
        assert sum(claim.rivals for claim in claims) == 3


def test_of_what_does_not_agree_only_the_title_is_taught() -> None:
    for seed in range(20):
        listing = listing_of("Blue mug", "Holds tea.", consistent=False)
        first, *rest = claims_about(listing, ["Red bowl"], 6, random.Random(seed))
        assert (first.text, first.truth, first.rivals) == ("Blue mug", "no", 0)
        assert all(claim.truth == "unclear" for claim in rest)


def document_of(answers: tuple[str, ...], sentences: int = 60) -> TextDocument:
    told = [f"Part number {n} of this text says nothing at all." for n in range(sentences)]
    told[40] = "The code that opens the door is Seven-Nine."
    return TextDocument("x", "own", "en", "\n".join(told), (), (), "What opens it?", answers)


@pytest.mark.parametrize("seed", range(10))
def test_the_passage_with_the_answers_words_is_right(seed: int) -> None:
    questioned = Questioned(document_of(("seven nine", "eight")))
    asked = questioned.asked(600, 8, random.Random(seed))
    assert asked
    assert len(asked.text) <= 600
    assert asked.right
    assert all("Seven-Nine" in passage for passage in asked.right)
    assert not any("Seven-Nine" in passage for passage in asked.wrong)
    assert len(asked.right) + len(asked.wrong) == 8
    assert asked == questioned.asked(600, 8, random.Random(seed))


def test_a_question_without_an_answer_has_no_right_passage() -> None:
    asked = Questioned(document_of(())).asked(600, 8, random.Random(1))
    assert asked
    assert asked.right == ()
    assert len(asked.wrong) == 8


def test_an_answer_that_stands_nowhere_is_not_asked_for() -> None:
    assert Questioned(document_of(("nowhere",))).asked(600, 8, random.Random(1)) is None

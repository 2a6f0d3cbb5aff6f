"""Listings, drawn products and summaries measured, and what is written of them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import model
from model.checkpoint import weights_sha256
from model.engine import Engine
from model.train.calibration import AnswerCalibration, Calibration
from model.train.card import (
    code_version,
    measured_line,
    read_earlier,
    read_profile,
    table,
    write_card,
    write_profile,
)
from model.train.evaluate import Measured, evaluate
from model.train.listings import Claim
from model.train.measure.common import spread
from model.train.measure.drawn import Asked, drawn_figures
from model.train.recipe import Prompts, Recipe, read_prompts
from model.train.tables import LISTINGS

RECIPES = Path(__file__).parents[3] / "model" / "recipes"
FIGURES = {
    "listings": {"AUROC, other category": 0.8956},
    "papers": {"ROUGE-1": 0.3267, "first sentence ROUGE-1": 0.2322},
    "key facts en": {
        "questions": 53.0,
        "chance right passage first": 0.002,
        "right passage first": 0.9,
        "BM25 alone right passage first": 0.5,
    },
}


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Path) -> Engine:
    return model.load(tiny_checkpoint, dtype="float32")


@pytest.fixture(scope="module")
def prompts(recipe: Recipe) -> Prompts:
    return read_prompts(recipe.prompts)


def asked(picture: int, kind: str, truth: str, margin: float, rivals: int = 0) -> Asked:
    claim = Claim("description", f"{margin}", truth, rivals, kind)
    return Asked(picture, claim, yes=margin - 1, no=-1.0, unclear=-1.5)


def test_what_is_asked_for_is_measured(engine: Engine, prompts: Prompts, data: Path) -> None:
    measured = evaluate(engine, prompts, data, only=["drawn", "listings"], limit=2)
    assert list(measured.figures) == ["listings", "drawn products"]
    assert set(measured.calibration) == {"check_listing"}
    assert any(name.endswith("yes or no") for name in measured.figures["drawn products"])


def test_what_the_data_lacks_is_left_out(
    engine: Engine, prompts: Prompts, tmp_path: Path, text_checkpoint: Path
) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "red.png")
    rows = "image,title,label\nred.png,A red cup,consistent\n"
    (tmp_path / LISTINGS).write_text(rows, encoding="utf-8")
    subjects = ["listings", "summaries", "answers"]
    assert evaluate(engine, prompts, tmp_path, only=subjects).figures == {}
    blind = model.load(text_checkpoint, dtype="float32")
    assert evaluate(blind, prompts, tmp_path).figures == {}


def test_claims_alone_are_decided_by_their_margins_and_rivals_by_the_highest() -> None:
    figures = drawn_figures(
        [
            asked(0, "colour", "yes", 2.0),
            asked(0, "colour", "no", 1.0),
            asked(1, "colour", "no", -1.0),
            *(asked(1, "text", truth, 1.0 + (truth == "yes"), 1) for truth in ("no", "yes")),
            *(asked(2, "text", truth, 1.0 - (truth == "yes"), 1) for truth in ("no", "yes")),
        ]
    )
    assert figures["colour, yes or no"] == pytest.approx(2 / 3)
    assert figures["chance colour, yes or no"] == pytest.approx(2 / 3)
    assert figures["text, one of several"] == 0.5
    assert figures["chance text, one of several"] == 0.5
    assert math.isnan(figures["unclear, recall"])


def test_unclear_is_said_where_it_is_likelier_than_both() -> None:
    hidden = [asked(0, "", "unclear", margin) for margin in (-1.0, 1.0)]
    said = replace(asked(0, "colour", "yes", 1.0), unclear=0.5)
    likely = [replace(one, unclear=0.5) for one in hidden]
    figures = drawn_figures([likely[0], hidden[1], said])
    assert figures["unclear, recall"] == 0.5
    assert figures["unclear, precision"] == 0.5


def test_figures_of_nothing_are_left_out() -> None:
    measured = Measured()
    measured.add(Measured({"listings": {"one": math.nan, "two": 0.5}}))
    assert measured.figures == {"listings": {"two": 0.5}}


def test_the_items_drawn_are_spread_evenly() -> None:
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread(range(2), 3) == [0, 1]


def test_the_table_has_sections_and_what_to_compare_with() -> None:
    shown = table(FIGURES)
    headings = [line for line in shown.splitlines() if line.startswith("#")]
    assert headings == ["### Listings", "### Summaries", "### Answers"]
    assert "| papers | ROUGE-1 | 32.7 | first sentence 23.2 |" in shown
    assert "| key facts en | questions | 53 |  |" in shown
    assert "| right passage first | 0.900 | BM25 alone 0.500, chance 0.002 |" in shown


def test_figures_name_the_day_and_the_code() -> None:
    assert code_version().startswith(("commit ", "mmapp "))
    assert code_version() in measured_line()


def test_the_card_tells_how_the_run_went(
    tiny_checkpoint: Path, recipe: Recipe, tmp_path: Path
) -> None:
    folder = _copied(tiny_checkpoint, tmp_path)
    write_card(folder, replace(recipe, notes="It was stopped twice.\n"), Measured(FIGURES), 4)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "**How this run went.** It was stopped twice.\n\n## Figures" in card
    assert "after 4 of 6 steps of the recipe" in card
    write_card(folder, recipe, Measured(FIGURES), 4)
    assert "How this run went" not in (folder / "README.md").read_text(encoding="utf-8")


def test_constants_fitted_elsewhere_stay_only_with_the_same_weights(
    tiny_checkpoint: Path, recipe: Recipe, tmp_path: Path
) -> None:
    folder = _copied(tiny_checkpoint, tmp_path)
    elsewhere = '{"calibration": {"check_listing": {"temperature": 9, "score_bias": 0.5}}}'
    (folder / "profile.json").write_text(elsewhere, encoding="utf-8")
    earlier = read_earlier(folder)
    assert earlier.weights == weights_sha256(folder)
    measured = Measured(calibration={"check_listing": Calibration(2.0, 0.1)})
    measured.calibration["ask"] = AnswerCalibration(64)
    write_profile(folder, recipe, measured, earlier)
    kept = read_profile(folder)["calibration"]
    assert kept["check_listing"] == {"temperature": 2.0, "score_bias": 0.5, "bias": 0.1}
    assert kept["ask"]["closest"] == 64
    write_profile(folder, recipe, measured, replace(earlier, weights="others"))
    assert "score_bias" not in read_profile(folder)["calibration"]["check_listing"]


def test_nothing_is_known_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert read_earlier(tmp_path / "out").weights is None


def _copied(checkpoint: Path, folder: Path) -> Path:
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder

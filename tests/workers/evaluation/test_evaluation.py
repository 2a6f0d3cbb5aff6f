"""Evaluations of small data with a tiny checkpoint that is never right, through the real tasks."""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import model
from mmapp.config import Settings
from mmapp.errors import BadInput
from mmapp.types import Engine
from tests.e2e.checkpoint import seeing_checkpoint
from workers.evaluation.kinds import KindName
from workers.evaluation.run import Options, Outcome, evaluate

HARBOUR = "The harbour of Emden had twelve cranes in 1914. Grain and coal were what they moved."
PORT = "上海港昨天完成了四百万标准箱的吞吐量。下个月，港区将新增三个深水泊位。"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = seeing_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")
    loaded: Engine = model.load(folder, dtype="float32", device="cpu")
    return loaded


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", max_characters=1000, _env_file=None)


class Evaluation:
    """Runs evaluations in one folder."""

    def __init__(self, folder: Path, settings: Settings, engine: Engine) -> None:
        self.folder, self.settings, self.engine = folder, settings, engine
        self.told: list[tuple[int, int]] = []

    def __call__(self, kind: KindName, data: Path, **options: Any) -> Outcome:
        given = Options(kind, data, self.folder / "out", **options)
        return evaluate(
            given, self.settings, lambda: self.engine, lambda *far: self.told.append(far)
        )

    @property
    def predictions(self) -> list[dict[str, Any]]:
        text = (self.folder / "out" / "predictions.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n") if line]

    @property
    def metrics(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "out" / "metrics.json").read_text())
        return value

    @property
    def report(self) -> str:
        return (self.folder / "out" / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def evaluation(tmp_path: Path, settings: Settings, engine: Engine) -> Evaluation:
    return Evaluation(tmp_path, settings, engine)


def listings(folder: Path, *rows: str) -> Path:
    Image.new("RGB", (60, 40), (200, 30, 30)).save(folder / "red.png")
    Image.new("RGB", (40, 60), (30, 30, 200)).save(folder / "blue.png")
    path = folder / "listings.csv"
    path.write_text("\n".join(["id,image,title,colour,label", *rows]), encoding="utf-8")
    return path


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    opened = lzma.open if path.suffix == ".xz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.write(text)
    return path


def test_listings_get_a_score_and_a_verdict_each(evaluation: Evaluation, tmp_path: Path) -> None:
    data = listings(
        tmp_path,
        "a,red.png,Red cup,red,consistent",
        "b,red.png|blue.png,蓝色的杯子,蓝色,Consistent",
        "c,blue.png,Red cup,red,inconsistent",
        "d,gone.png,Red cup,red,inconsistent",
    )
    outcome = evaluation(KindName.LISTINGS, data)
    assert (outcome.inputs, outcome.failed) == (4, 1)
    *good, bad = evaluation.predictions
    assert [one["id"] for one in good] == ["a", "b", "c"]
    assert all(one.keys() == {"id", "score", "verdict"} for one in good)
    assert bad["id"] == "d"
    assert "gone.png" in bad["error"]
    metrics = evaluation.metrics
    scores = [one["score"] for one in good]
    above = [(score > scores[2]) + (score == scores[2]) / 2 for score in scores[:2]]
    assert metrics["auroc"] == sum(above) / 2
    assert 0 <= metrics["ece"] <= 1
    assert sum(one["count"] for one in metrics["calibration"]) == 3
    assert [one["category"] for one in metrics["by_category"]] == ["Red cup", "蓝色的杯子"]
    assert evaluation.told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,red.png,Red cup,red,", "Row 2 has no label"),
        ("a,red.png,Red cup,red,maybe", "“maybe”"),
        ("same,red.png,Red cup,red,consistent", "id same"),
    ],
)
def test_a_table_with_a_bad_label_or_id_is_refused_before_anything_is_asked(
    evaluation: Evaluation, tmp_path: Path, row: str, problem: str
) -> None:
    data = listings(tmp_path, "same,red.png,Red cup,red,consistent", row)
    with pytest.raises(BadInput, match=problem):
        evaluation(KindName.LISTINGS, data)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["data.jsonl", "data.jsonl.xz"])
def test_summaries_are_compared_with_the_best_reference(
    evaluation: Evaluation, tmp_path: Path, name: str
) -> None:
    data = jsonl(
        tmp_path / name,
        {"id": "en", "text": HARBOUR, "summary": ["nothing of it", HARBOUR]},
        {"id": 7, "text": PORT, "summary": PORT},
        {"id": "none", "text": HARBOUR, "summary": None},
        {"id": "long", "text": "x" * 2000, "summary": "words"},
    )
    outcome = evaluation(KindName.SUMMARIES, data, sentences=2)
    assert (outcome.inputs, outcome.failed) == (3, 1)
    english, chinese, blank = evaluation.predictions
    assert english["id"] == "en"
    assert " ".join(english["summary"]) == HARBOUR
    assert chinese["id"] == 7
    assert "".join(chinese["summary"]) == PORT
    assert "error" in blank
    # Two are their own reference, in words and in characters; what failed is worth nothing.
    assert evaluation.metrics["rouge1"] == pytest.approx(2 / 3)
    assert evaluation.metrics["first_rougeL"] == pytest.approx(2 / 3)
    assert {one["group"] for one in evaluation.metrics["by_language"]} == {"en", "zh"}


def test_answers_are_right_when_the_passage_has_the_words(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    data = jsonl(
        tmp_path / "data.jsonl",
        {"id": "en", "text": HARBOUR, "question": "How many cranes?", "answer": "twelve cranes"},
        {"id": "zh", "text": f"{HARBOUR}\f{PORT}", "question": "多少泊位？", "answer": "三个"},
        {"id": "no", "text": HARBOUR, "question": "Who paid for it?", "answer": ""},
    )
    outcome = evaluation(KindName.ANSWERS, data)
    assert (outcome.inputs, outcome.failed) == (3, 0)
    predictions = {one["id"]: one for one in evaluation.predictions}
    right = [
        "twelve cranes" in predictions["en"]["quote"],
        "三个" in predictions["zh"]["quote"],
        not predictions["no"]["found"],
    ]
    assert evaluation.metrics["accuracy"] == pytest.approx(sum(right) / 3)
    assert evaluation.metrics["recall"] == pytest.approx(sum(right[:2]) / 2)
    assert evaluation.metrics["rejected"] == right[2]
    for one in predictions.values():
        assert one["page"] in ((1, 2) if one["found"] else (None,))
    depths = [one for one in evaluation.metrics["by_depth_and_length"] if one["count"]]
    assert [one["depth"] for one in depths] == ["20–40 %", "80–100 %"]


def test_only_as_many_inputs_as_asked_for_are_read(evaluation: Evaluation, tmp_path: Path) -> None:
    rows = [{"id": i, "text": HARBOUR, "summary": HARBOUR} for i in range(4)]
    data = jsonl(tmp_path / "data.jsonl", *rows)
    assert evaluation(KindName.SUMMARIES, data, limit=2).inputs == 2
    assert [one["id"] for one in evaluation.predictions] == [0, 1]


def test_a_killed_run_goes_on_where_it_was(evaluation: Evaluation, tmp_path: Path) -> None:
    rows = [{"id": i, "text": f"{HARBOUR} {i}", "summary": HARBOUR} for i in range(4)]
    data = jsonl(tmp_path / "data.jsonl", *rows)
    evaluation(KindName.SUMMARIES, data)
    whole, figures = evaluation.predictions, evaluation.metrics["rouge1"]
    path = tmp_path / "out" / "predictions.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:20], encoding="utf-8")
    evaluation.told.clear()
    evaluation(KindName.SUMMARIES, data, resume=True)
    assert evaluation.told == [(2, 4), (3, 4), (4, 4)]
    assert evaluation.predictions == whole
    assert evaluation.metrics["rouge1"] == figures


def test_what_was_begun_with_other_options_is_not_resumed(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    data = jsonl(tmp_path / "data.jsonl", {"id": 1, "text": HARBOUR, "summary": HARBOUR})
    evaluation(KindName.SUMMARIES, data)
    with pytest.raises(BadInput, match="leave --resume out"):
        evaluation(KindName.SUMMARIES, data, sentences=2, resume=True)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[1, 2]", "Line 1 of data.jsonl is no JSON object"),
        ('{"id": "x", "summary": "s"}', "row x has no text"),
        ('{"id": "x", "text": "t", "summary": 5}', "neither a text nor a list"),
        ('{"id": "x", "text": "t"}', "No row of data.jsonl has a summary"),
    ],
)
def test_data_of_another_form_is_refused(
    evaluation: Evaluation, tmp_path: Path, line: str, problem: str
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(line, encoding="utf-8")
    with pytest.raises(BadInput, match=problem):
        evaluation(KindName.SUMMARIES, data)


class Page(HTMLParser):
    """Which elements stand open, and what could reach out of the page."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.reaching: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.reaching += [name for name, _ in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def pages(evaluation: Evaluation, folder: Path) -> Iterator[str]:
    """The report of each kind, of data with markup in all of its words."""
    hostile = '<script src="https://evil.example/x.js">alert(1)</script>'
    evaluation(
        KindName.LISTINGS,
        listings(
            folder,
            f'"{hostile.replace(chr(34), chr(34) * 2)}",red.png,<b>cup</b>,red,consistent',
            "b,blue.png,<img src=x>,red,inconsistent",
        ),
    )
    yield evaluation.report
    row = {"id": hostile, "text": hostile, "summary": hostile, "source": hostile}
    other = {**row, "id": 2, "source": "<i>"}
    evaluation(KindName.SUMMARIES, jsonl(folder / "s.jsonl", row, other))
    yield evaluation.report
    row = {"id": hostile, "text": hostile, "question": hostile, "answer": "alert"}
    evaluation(KindName.ANSWERS, jsonl(folder / "a.jsonl", row))
    yield evaluation.report


def test_reports_are_whole_and_reach_for_nothing(evaluation: Evaluation, tmp_path: Path) -> None:
    for text in pages(evaluation, tmp_path):
        page = Page()
        page.feed(text)
        page.close()
        assert page.open == []
        assert "svg" in page.tags
        assert not page.tags & {"script", "img", "link", "iframe", "b", "i"}
        assert page.reaching == []
        assert not re.search(r"url\(|@import", text)
        assert "default-src 'none'" in text


def test_one_kind_of_label_alone_has_no_auroc(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation(KindName.LISTINGS, listings(tmp_path, "a,red.png,Cup,red,consistent"))
    assert evaluation.metrics["auroc"] is None

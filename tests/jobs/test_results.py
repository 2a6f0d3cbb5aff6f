"""The list of past results: search, filters, pages."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from mmapp.jobs import Jobs
from mmapp.records import NOT_FOUND
from mmapp.types import AskParams, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddText
from tests.jobs.scenes import TEXT, engine
from tests.tasks.fakes import Rule, likes

CHINESE = "易北河大桥周一关闭。工程师发现两座桥墩有裂缝。维修将持续到春天。"


@pytest.fixture
def done(jobs: Jobs, add_text: AddText) -> dict[str, str]:
    ids = {}
    for name, text in [("Überblick 100%.txt", TEXT), ("新闻.txt", CHINESE)]:
        document = add_text(text, name)
        job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 2))
        jobs.run(job.id, engine(), "w1")
        ids[name] = job.id
    return ids


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["新闻.txt", "Überblick 100%.txt"]),
        ("CRACKS million", ["Überblick 100%.txt"]),
        ("überblick", ["Überblick 100%.txt"]),
        ("ÜBERBLICK cracks", ["Überblick 100%.txt"]),
        ("桥墩", ["新闻.txt"]),
        ("新闻", ["新闻.txt"]),
        ("100%", ["Überblick 100%.txt"]),
        ("%", ["Überblick 100%.txt"]),
        ("cracks 桥墩", []),
        ("_", []),
    ],
)
@pytest.mark.usefixtures("done")
def test_every_word_is_looked_for_in_labels_and_results(
    jobs: Jobs, query: str, names: list[str]
) -> None:
    assert [row.job.label for row in jobs.results(query)] == names
    assert jobs.count_results(query) == len(names)


def test_a_row_has_its_result_and_a_headline(jobs: Jobs, done: dict[str, str]) -> None:
    row = jobs.results("cracks")[0]
    assert row.job.id == done["Überblick 100%.txt"]
    assert row.result == jobs.result(row.job.id)
    assert row.headline.startswith("Engineers found cracks in two piers.")


@pytest.mark.parametrize(
    ("rule", "headline"),
    [
        (likes("million"), "Repairs will cost 4.2 million euros and last until spring."),
        (lambda _parts, _question, answer: -1.0 if answer == "no" else -9.0, NOT_FOUND),
    ],
)
def test_an_answer_is_found_by_its_question_and_listed_by_its_words(
    jobs: Jobs, add_text: AddText, rule: Rule, headline: str
) -> None:
    job = jobs.submit(TaskName.ASK, AskParams(add_text(TEXT).sha256, "What is the price?"))
    jobs.run(job.id, engine(rule), "w1")
    (row,) = jobs.results("price", task=TaskName.ASK)
    assert (row.job.id, row.headline) == (job.id, headline)
    again = jobs.submit(TaskName.ASK, AskParams(job.params["document"], "What is the price?"))
    assert again.status is Status.SUCCEEDED
    other = jobs.submit(TaskName.ASK, AskParams(job.params["document"], "Who pays?"))
    assert other.status is Status.QUEUED


def test_filters_narrow_by_task_status_and_day(jobs: Jobs, done: dict[str, str]) -> None:
    today = date.today()
    failed = jobs.submit(
        TaskName.SUMMARIZE, SummarizeParams(jobs.get(done["新闻.txt"]).params["document"], 5)
    )
    jobs.run(failed.id, engine(lambda *_: 1 / 0), "w1")
    assert [row.job.id for row in jobs.results(status=Status.FAILED)] == [failed.id]
    assert "ZeroDivisionError" in jobs.results(status=Status.FAILED)[0].headline
    assert jobs.count_results(task=TaskName.CHECK_LISTING) == 0
    assert jobs.count_results(since=today, until=today) == 3
    assert jobs.count_results(since=today + timedelta(days=1)) == 0
    assert jobs.count_results(until=today - timedelta(days=1)) == 0


def test_results_come_in_pages_newest_first(jobs: Jobs, done: dict[str, str]) -> None:
    assert [row.job.id for row in jobs.results(limit=1)] == [done["新闻.txt"]]
    assert [row.job.id for row in jobs.results(limit=1, offset=1)] == [done["Überblick 100%.txt"]]

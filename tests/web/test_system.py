"""The System page says who works, what waits and what ended, in both languages."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy

from mmapp import plots
from mmapp.config import REPOSITORY
from mmapp.jobs import Jobs, WorkerInfo
from mmapp.processes import Process
from mmapp.types import Capacity, Job, Priority, Role, SummarizeParams, TaskName
from mmapp.web.frame import Site
from mmapp.web.system_page import CardFigure, card_figures, checkpoint, show
from mmapp.web.words import LANGUAGES, Words


def worker(name: str, *, ready: bool = True, error: str = "") -> WorkerInfo:
    now, of = datetime.now(UTC), Process.current()
    return WorkerInfo(name, "nano", "", "cpu", "", ready, error, now, now, None, of, of.pid)


def test_workers_are_shown_with_what_they_do(site: Site, jobs: Jobs, summary: Job) -> None:
    assert "No worker is ready" in show(site)
    for info in (
        dataclasses.replace(worker("ready"), capacity=Capacity(7_168, 10**6, 900.0)),
        worker("loading", ready=False),
        worker("silent"),
        worker("busy"),
        # The last, because a worker that becomes ready settles what kept others from it.
        worker("<b>broken", error="no <memory>"),
    ):
        jobs.greet(info)
    document = jobs.add_document("b.txt", b"Another text of one sentence.")
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
    assert jobs.take(job.id, "busy")
    long_ago = datetime.now(UTC) - timedelta(minutes=10)
    with jobs._database._engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE workers SET last_seen = :at WHERE name = 'silent'"),
            {"at": long_ago.replace(tzinfo=None)},
        )
    page = show(site)
    for words in (
        "<td>ready</td><td>ready</td>",
        "<td>cpu · reads 7,168 tokens at once</td>",
        "<td>loading the checkpoint</td>",
        "&lt;b&gt;broken</td><td>no &lt;memory&gt;</td>",
        "<td>silent for 10 min</td>",
        f"<td>works on {job.id}</td>",
        "1 done and 0 failed in the last 24 hours",
    ):
        assert words in page
    assert summary.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_lane_has_its_words_and_its_wait(site: Site, jobs: Jobs, language: str) -> None:
    say = Words(language)  # type: ignore[arg-type]
    document = jobs.add_document("a.txt", b"A text of one sentence.")
    params = SummarizeParams(document.sha256, 1)
    jobs.submit(TaskName.SUMMARIZE, params, priority=Priority.BATCH)
    page = show(dataclasses.replace(site, say=say))
    waits = {Priority.BATCH: 1, Priority.INTERACTIVE: 0}
    for priority, count in waits.items():
        assert f"<td>{say(f'lane_{priority}')}</td><td>{count}</td>" in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_roles_are_shown_where_they_are_apart_and_what_nobody_does(
    site: Site, jobs: Jobs, language: str
) -> None:
    say = Words(language)  # type: ignore[arg-type]
    site = dataclasses.replace(site, say=say)
    document = jobs.add_document("a.txt", b"A text of one sentence.")
    jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
    jobs.greet(worker("whole"))
    assert say("waits_for") not in show(site)
    with jobs._database.transaction() as repository:
        repository.workers.forget(["whole"])
    jobs.greet(dataclasses.replace(worker("one"), roles=(Role.INGEST, Role.ENCODE)))
    page = show(site)
    assert f"<td>{say('role_ingest')} · {say('role_encode')}</td>" in page
    assert f"<td>{say('role_generate')}</td><td>1</td>" in page
    assert "mmapp worker --role generate" in page
    jobs.greet(dataclasses.replace(worker("other"), roles=(Role.GENERATE,)))
    assert "mmapp worker --role" not in show(site)


def test_figures_come_from_the_model_card_alone(site: Site, tmp_path: Path) -> None:
    shipped = list(card_figures(REPOSITORY / "checkpoints" / "nano"))
    assert any(one.subject == "listings" and "AUROC" in one.figure for one in shipped)
    (tmp_path / "README.md").write_text(
        "# x\n| not | a | figure | here |\n\n## Figures\n\n"
        "| on val | figure | value | beside it |\n| --- | --- | --- | --- |\n"
        "| answers | right | 0.5 | chance 0.25 |\n\n## Data\n| other | table | 1 | 2 |\n"
    )
    assert list(card_figures(tmp_path)) == [CardFigure("answers", "right", "0.5", "chance 0.25")]
    assert list(card_figures(tmp_path / "nothing")) == []
    assert "no model card" in checkpoint(site.say, site.settings)


def test_the_plot_of_hours_stacks_failures_on_successes() -> None:
    plot = plots.hours([("10:00", 3, 1), ("11:00", 0, 0), ("<i>", 0, 2)])
    assert (plot.count('class="good"'), plot.count('class="bad"')) == (1, 2)
    assert "&lt;i&gt;: 2" in plot
    assert "<svg" in plots.hours([])

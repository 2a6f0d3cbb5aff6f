"""The alerting rules, and the expressions of docs/operations.md, ask for metrics that are told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from mmapp.jobs import Jobs
from mmapp.types import SummarizeParams, TaskName
from tests import docs
from tests.jobs.conftest import AddText
from tests.jobs.scenes import TEXT, engine
from tests.jobs.test_statistics import told, worker

GROUPS = yaml.safe_load((docs.ROOT / "docker" / "alerts.yaml").read_text())["groups"]
RULES = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
PAGE = (docs.ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
#: What stands in backticks on the page, has a metric and is more than its name and labels.
SHOWN = [
    code
    for code in re.findall(r"`([^`]+)`", PROSE.replace("\n", " "))
    if "mmapp_" in code and ("(" in code or ">" in code)
]


def selectors(expression: Any) -> Iterator[Any]:
    """The selectors of metrics in an expression, wherever they stand."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if hasattr(expression, name):
            yield from selectors(getattr(expression, name))
    for argument in getattr(expression, "args", ()):
        yield from selectors(argument)


@pytest.fixture
def series(jobs: Jobs, add_text: AddText) -> dict[str, set[str]]:
    """The labels of every metric, after one job."""
    jobs.greet(worker("w"))
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    jobs.run(job.id, engine(), "w")
    jobs.beat("w")
    labels: dict[str, set[str]] = {}
    for sample in told(jobs):
        name, _, inside = sample.rstrip("}").partition("{")
        labels.setdefault(name, set()).update(re.findall(r"(\w+)=", inside))
    return labels


def test_every_rule_and_shown_expression_asks_for_what_is_told(
    series: dict[str, set[str]],
) -> None:
    assert len(RULES) >= 8
    assert len(SHOWN) >= 6
    for code in [*(rule["expr"] for rule in RULES.values()), *SHOWN]:
        found = list(selectors(promql_parser.parse(code)))
        assert found, code
        for selector in found:
            assert selector.name in series, code
            asked = {matcher.name for matcher in selector.matchers.matchers}
            assert asked <= series[selector.name], code


def test_a_rule_has_nothing_but_what_prometheus_knows() -> None:
    for name, rule in RULES.items():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, name
        assert rule["annotations"]["summary"].endswith("."), name
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s")), name

"""The report of a batch of listings: what is wrong where, the worst first, and photos used twice.

One page that needs nothing but itself (`mmapp.reports`). The share of refuted claims is told for
each attribute and category, scores as a histogram, and with a column `label` (consistent,
inconsistent) also how far scores can be believed. Photos are compared as they are stored, one after
the other; they are all that takes time. Refuses batches of documents. Called by `cli` and `api`.
"""

from __future__ import annotations

import base64
import heapq
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from PIL import Image

from mmapp import plots
from mmapp.batches.columns import CATEGORIES
from mmapp.batches.duplicates import mark, near_groups
from mmapp.errors import BadInput
from mmapp.jobs import BatchRowResult, Jobs
from mmapp.reports import cut, figures, page, section, table
from mmapp.types import Batch, Label, TaskName

#: Listings, groups of photos, failed rows, attributes and categories that are shown.
MOST_SHOWN = 40
#: Photos of one listing or group that are shown, and their longer side in pixels.
MOST_PHOTOS, PHOTO_SIDE = 6, 96
#: Bins of the plot of calibration.
BINS = 10

LABELS = ("consistent", "inconsistent")

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A row of the batch, as a person finds it again."""

    row: int
    title: str

    def __str__(self) -> str:
        return f"{self.row + 1}: {self.title}"


@dataclass(frozen=True, slots=True)
class _Checked:
    """A listing with its verdict."""

    place: _Place
    photos: tuple[str, ...]
    score: float
    verdict: str
    refuted: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Seen:
    """What one pass over the rows leaves: counts, the worst, and who uses which photo."""

    verdicts: Counter[str] = field(default_factory=Counter)
    claims: Counter[str] = field(default_factory=Counter)
    by_attribute: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_category: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    scores: list[float] = field(default_factory=list)
    labelled: list[tuple[float, bool]] = field(default_factory=list)
    worst: list[tuple[float, int, _Checked]] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    users: dict[str, list[_Place]] = field(default_factory=lambda: defaultdict(list))
    twins: dict[str, list[_Place]] = field(default_factory=lambda: defaultdict(list))


def batch_report(batch: Batch, jobs: Jobs, on_progress: OnProgress) -> str:
    """The whole page; `on_progress` is told how many photos of how many were looked at."""
    if batch.task is not TaskName.CHECK_LISTING:
        raise BadInput(f"{batch.name} is a batch of documents; a report is about listings")
    seen = _Seen()
    for row in jobs.batch_rows(batch.id):
        _see(row, seen)
    groups = _photo_groups(seen.users, jobs, on_progress)
    body = [
        section("Figures · 指标", figures(_figures(batch, seen, groups))),
        _plots(seen),
        _shares("Refuted by attribute · 各属性被否定的比例", seen.by_attribute),
        _shares("Refuted by category · 各类别被否定的比例", seen.by_category),
        section("The worst first · 最可疑的商品", _worst(seen, jobs)),
        section("Photos in several listings · 多个商品共用的照片", _shared(groups, seen, jobs)),
        section("The same listing twice · 重复的商品", table(_twins(seen))),
        section("Rows that could not be checked · 未能核对的行", table(_failed(seen))),
    ]
    about = f"{batch.name} · {batch.rows:,} rows · batch {batch.id} · {batch.created_at:%Y-%m-%d}"
    return page(f"mmapp: {batch.name}", "Listings · 商品核对", about, [one for one in body if one])


# --- what the rows say ---------------------------------------------------------------------------


def _see(row: BatchRowResult, seen: _Seen) -> None:
    if row.job is not None:
        params = row.job.params
        place = _Place(row.row, " ".join(str(params["title"]).split()))
        for sha256 in params["photos"]:
            seen.users[sha256].append(place)
        seen.twins[json.dumps(params, sort_keys=True)].append(place)
    if row.result is None or row.job is None:
        if row.error:
            seen.failed.append((row.row, row.error))
        return
    _see_verdict(row, place, tuple(params["photos"]), row.result.payload, seen)


def _see_verdict(
    row: BatchRowResult,
    place: _Place,
    photos: tuple[str, ...],
    payload: Mapping[str, Any],
    seen: _Seen,
) -> None:
    cells = {name.casefold(): cell.strip() for name, cell in row.cells.items()}
    category = next((cells[name] for name in CATEGORIES if cells.get(name)), "")
    for claim in payload["claims"]:
        seen.claims[claim["label"]] += 1
        seen.by_attribute[claim["attribute"]][claim["label"]] += 1
        if category:
            seen.by_category[category][claim["label"]] += 1
    score, verdict = float(payload["score"]), str(payload["verdict"])
    seen.verdicts[verdict] += 1
    seen.scores.append(score)
    if (label := cells.get("label", "").casefold()) in LABELS:
        seen.labelled.append((score, label == "consistent"))
    refuted = tuple(
        (claim["attribute"], claim["text"])
        for claim in payload["claims"]
        if claim["label"] == Label.REFUTED
    )
    checked = _Checked(place, photos, score, verdict, refuted)
    # A heap of the lowest scores: the best of them is the first to go.
    heapq.heappush(seen.worst, (-score, -row.row, checked))
    if len(seen.worst) > MOST_SHOWN:
        heapq.heappop(seen.worst)


def _photo_groups(
    users: Mapping[str, Sequence[_Place]], jobs: Jobs, on_progress: OnProgress
) -> list[list[str]]:
    """Photos in several rows, with those that look like them; the most used first."""
    sha256s = list(users)
    marks = []
    for number, sha256 in enumerate(sha256s, 1):
        with _photo(sha256, jobs) as photo:
            marks.append(mark(photo))
        on_progress(number, len(sha256s))
    groups = [[sha256s[index] for index in group] for group in near_groups(marks)]
    grouped = {sha256 for group in groups for sha256 in group}
    groups += [[sha256] for sha256 in sha256s if sha256 not in grouped]
    shared = [group for group in groups if len(_rows_of(group, users)) > 1]
    return sorted(shared, key=lambda group: -len(_rows_of(group, users)))


def _rows_of(group: Sequence[str], users: Mapping[str, Sequence[_Place]]) -> list[_Place]:
    places = {place.row: place for sha256 in group for place in users[sha256]}
    return [places[row] for row in sorted(places)]


def _photo(sha256: str, jobs: Jobs) -> Image.Image:
    return Image.open(io.BytesIO(jobs.page_image(sha256, 1)))


# --- what is shown -------------------------------------------------------------------------------


def _figures(batch: Batch, seen: _Seen, groups: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    claims, checked = sum(seen.claims.values()), len(seen.scores)
    counts = {
        "Rows": batch.rows,
        "Checked": checked,
        "of these answered from earlier": batch.reused,
        "Could not be checked": len(seen.failed),
        **{f"Verdict {verdict}": count for verdict, count in sorted(seen.verdicts.items())},
        "Claims": claims,
        **{f"Claims {label}": seen.claims[label] for label in Label},
        "Photos": len(seen.users),
        "Groups of photos that several listings share": len(groups),
    }
    return [(name, f"{count:,}") for name, count in counts.items()]


def _plots(seen: _Seen) -> str:
    if not seen.scores:
        return ""
    drawn = [
        section("Scores · 得分", plots.histogram(seen.scores, "P(consistent)", "listings")),
    ]
    if seen.labelled:
        drawn.append(section("Calibration · 校准", _calibration(seen.labelled)))
    return f'<div class="plots">{"".join(drawn)}</div>'


def _calibration(labelled: Sequence[tuple[float, bool]]) -> str:
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for score, right in labelled:
        bins[min(int(score * BINS), BINS - 1)].append((score, right))
    points = [
        (sum(score for score, _ in held) / len(held), sum(right for _, right in held) / len(held))
        for held in bins
        if held
    ]
    shares = [len(held) / len(labelled) for held in bins]
    return plots.curve(points, "score", "share that is consistent; bars: listings", shares)


def _shares(title: str, groups: Mapping[str, Counter[str]]) -> str:
    """The groups with the most refuted claims first."""
    if not groups:
        return ""
    ordered = sorted(groups.items(), key=lambda one: (-one[1][Label.REFUTED], one[0]))
    rows = []
    for name, counts in ordered[:MOST_SHOWN]:
        total = sum(counts.values())
        cells: list[plots.Cell] = [(None, f"{total:,}", True)]
        for label in Label:
            share = counts[label] / total
            shade = None if label is Label.NOT_ENOUGH_INFO else share
            cells.append((shade, f"{share:.0%}", label is not Label.REFUTED))
        rows.append((name, cells))
    return section(title, plots.shaded(["claims", "supported", "refuted", "not visible"], rows))


def _worst(seen: _Seen, jobs: Jobs) -> str:
    lines = []
    for _, _, one in sorted(seen.worst, reverse=True):
        wrong = "; ".join(f"{attribute}: {text}" for attribute, text in one.refuted)
        lines.append(
            f"<tr><td>{_thumbnails(one.photos, jobs)}</td><td>{escape(cut(str(one.place)))}</td>"
            f'<td class="number">{one.score:.3f}</td><td>{escape(one.verdict)}</td>'
            f"<td>{escape(cut(wrong))}</td></tr>"
        )
    names = ("", "row · 行", "score · 得分", "verdict · 结论", "refuted · 被否定")
    heads = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><tr>{heads}</tr>{''.join(lines)}</table>" if lines else "<p>—</p>"


def _shared(groups: Sequence[Sequence[str]], seen: _Seen, jobs: Jobs) -> str:
    lines = []
    for group in groups[:MOST_SHOWN]:
        rows = "; ".join(map(str, _rows_of(group, seen.users)))
        how = "nearly the same · 近似" if len(group) > 1 else "the same · 相同"
        lines.append(
            f"<tr><td>{_thumbnails(group, jobs)}</td><td>{how}</td>"
            f"<td>{escape(cut(rows))}</td></tr>"
        )
    return f"<table>{''.join(lines)}</table>" if lines else "<p>—</p>"


def _twins(seen: _Seen) -> list[dict[str, str]]:
    groups = [places for places in seen.twins.values() if len(places) > 1]
    return [{"rows · 行": "; ".join(map(str, places))} for places in groups[:MOST_SHOWN]]


def _failed(seen: _Seen) -> list[dict[str, str]]:
    return [
        {"row · 行": str(row + 1), "why · 原因": error} for row, error in seen.failed[:MOST_SHOWN]
    ]


def _thumbnails(sha256s: Sequence[str], jobs: Jobs) -> str:
    return "".join(_thumbnail(sha256, jobs) for sha256 in sha256s[:MOST_PHOTOS])


def _thumbnail(sha256: str, jobs: Jobs) -> str:
    file = io.BytesIO()
    with _photo(sha256, jobs) as photo:
        small = photo.convert("RGB")
    small.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    small.save(file, "JPEG", quality=70)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="">'

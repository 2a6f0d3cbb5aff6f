"""Figures: for each picture in a document, whether the words about it agree with it.

The words are its caption, or the sentence that refers to it (`captions`). Their first sentence is
checked as a listing's title is and the rest as its description, by `check_listing` itself, on the
picture as its page shows it; so what that checkpoint knows of photos bounds what it knows of
figures. A verdict is `agrees`, `disagrees`, `unclear`, or `no caption` where nothing in the
document tells what the picture shows. No model is asked then, so there is no probability. Only
pictures count: a chart drawn in lines is none. Called by `tasks.run`; refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmapp.documents.quotes import PageText, shown_box, stored_box
from mmapp.errors import DocumentError
from mmapp.tasks import prompts
from mmapp.tasks.captions import About, words_about
from mmapp.tasks.check_listing import check_listing
from mmapp.tasks.inputs import FiguresInput, ListingInput
from mmapp.tasks.reading import coverage, described, hidden
from mmapp.tasks.sentences import sentence_spans
from mmapp.types import Box, Engine, Listing, Page, Picture, Progress, ReportProgress

if TYPE_CHECKING:
    from PIL.Image import Image

#: The verdict of a listing as that of a figure.
VERDICTS = {"consistent": "agrees", "inconsistent": "disagrees", "uncertain": "unclear"}
NO_CAPTION = "no caption"
#: All that a figure's verdict can be.
EVERY_VERDICT = (*VERDICTS.values(), NO_CAPTION)


def figures(engine: Engine, inputs: FiguresInput, report: ReportProgress) -> dict[str, Any]:
    """The payload of a check of figures, with "usage" for the record."""
    document = inputs.document
    pages = [PageText(page) for page in document.pages]
    covered = coverage(document, [page for page in pages if page.text.strip()], report)
    found = inputs.pictures.found
    told = words_about(found, pages)
    checking = _Checking(engine, inputs, report)
    checked = [
        checking.checked(number, picture, about)
        for number, (picture, about) in enumerate(zip(found, told, strict=True))
    ]
    counts = {name: sum(one["verdict"] == name for one in checked) for name in EVERY_VERDICT}
    return {
        "document": described(document.document),
        "figures": checked,
        "counts": counts,
        "left_out": dict(inputs.pictures.left_out),
        "coverage": covered,
        "hidden": hidden(document),
        "usage": checking.usage(),
    }


def as_listings(inputs: FiguresInput) -> Iterator[ListingInput | None]:
    """Each figure as the listing that it is checked as; None: there are no words about it, or its
    page can't be drawn."""
    pages = [PageText(page) for page in inputs.document.pages]
    cutting, found = _Cutting(inputs), inputs.pictures.found
    for picture, about in zip(found, words_about(found, pages), strict=True):
        if about is None:
            yield None
            continue
        try:
            photo, _ = cutting.cut(picture)
        except DocumentError:
            yield None
            continue
        words = cutting.said(about)["text"]
        yield ListingInput(_listing(words, inputs.document.document.sha256), (photo,))


class _Cutting:
    """The figures of a document, cut out of its pages, with the words about them."""

    def __init__(self, inputs: FiguresInput) -> None:
        self._draw = inputs.draw
        self._drawn: tuple[int, Image] | None = None
        self.pages = {page.number: page for page in inputs.document.pages}

    def said(self, about: About) -> dict[str, Any]:
        """The words with their place."""
        span = about.span
        page = PageText(self.pages[span.page])
        return {
            "text": page.text[span.start : span.end],
            "label": about.label,
            "found_by": about.found_by.value,
            "page": span.page,
            "boxes": [list(box) for box in page.boxes_of(span.start, span.end)],
        }

    def cut(self, picture: Picture) -> tuple[Image, Box]:
        """The picture as its page shows it, and its box there, in points."""
        page = self.pages[picture.page]
        if self._drawn is None or self._drawn[0] != page.number:
            self._drawn = page.number, self._draw(page.number)
        drawn = self._drawn[1]
        across, down = drawn.width / page.width, drawn.height / page.height
        x0, y0, x1, y1 = shown_box(page, picture.box)
        left, top = int(x0 * across), int(y0 * down)
        right = max(left + 1, min(drawn.width, round(x1 * across)))
        bottom = max(top + 1, min(drawn.height, round(y1 * down)))
        area = (left / across, top / down, right / across, bottom / down)
        return drawn.crop((left, top, right, bottom)), area


class _Checking:
    """The figures of a document being checked one after another; counts as it goes."""

    def __init__(self, engine: Engine, inputs: FiguresInput, report: ReportProgress) -> None:
        self._engine, self._inputs, self._report = engine, inputs, report
        self._total = len(inputs.pictures.found)
        self._cutting = _Cutting(inputs)
        self._tokens: dict[str, int] = {}
        self._seconds: dict[str, float] = {}

    def checked(self, number: int, picture: Picture, about: About | None) -> dict[str, Any]:
        """What is told of a figure, the `number`-th from 0."""
        self._tell(number, Progress())
        page = self._cutting.pages[picture.page]
        head: dict[str, Any] = {"page": picture.page, "box": list(picture.box)}
        if about is None:
            return head | _unasked(None, NO_CAPTION)
        said = self._cutting.said(about)
        listing = _listing(said["text"], self._inputs.document.document.sha256)
        try:
            photo, area = self._cutting.cut(picture)
        except DocumentError as problem:
            return head | _unasked(said, VERDICTS["uncertain"]) | {"error": str(problem)}
        found = check_listing(
            self._engine,
            ListingInput(listing, (photo,)),
            lambda progress: self._tell(number, progress),
        )
        self._count(found["usage"])
        scale = ((area[2] - area[0]) / photo.width, (area[3] - area[1]) / photo.height)
        return head | {
            "caption": said,
            "claims": [_on_page(claim, page, area, scale) for claim in found["claims"]],
            "verdict": VERDICTS[found["verdict"]],
            "probability": found["score"],
            "error": "",
        }

    def usage(self) -> dict[str, Any]:
        return {
            "tokens": {"read": 0, "scored": 0} | self._tokens,
            "durations_s": {name: round(value, 3) for name, value in self._seconds.items()},
            "prompt_sha256": prompts.prompt_sha256(),
        }

    def _count(self, usage: Mapping[str, Any]) -> None:
        for name, tokens in usage["tokens"].items():
            self._tokens[name] = self._tokens.get(name, 0) + tokens
        for name, seconds in usage["durations_s"].items():
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def _tell(self, number: int, within: Progress) -> None:
        """Figures done; a figure's own phases are a share of it, reading and checking the half."""
        share = within.fraction if within.phase == "locating" else within.fraction / 2
        work = (number + min(1.0, share)) / self._total
        self._report(Progress("checking", number, self._total, "figures", work=work))


def _listing(words: str, sha256: str) -> Listing:
    """The words as a listing offers a product: the first sentence names it."""
    spans = sentence_spans(words) or [(0, len(words))]
    start, end = spans[0]
    title = words[start:end].rstrip(" .。")
    return Listing((sha256,), title, words[end:].strip())


def _unasked(said: dict[str, Any] | None, verdict: str) -> dict[str, Any]:
    """A figure about which no model is asked."""
    return {
        "caption": said,
        "claims": [],
        "verdict": verdict,
        "probability": None,
        "error": "",
    }


def _on_page(
    claim: Mapping[str, Any], page: Page, area: Box, scale: Sequence[float]
) -> dict[str, Any]:
    """A claim as `check` tells it, its evidence in points of the page."""
    evidence = []
    for one in claim["evidence"]:
        x0, y0, x1, y1 = one["box"]
        shown = (
            area[0] + x0 * scale[0],
            area[1] + y0 * scale[1],
            area[0] + x1 * scale[0],
            area[1] + y1 * scale[1],
        )
        box = [round(edge, 2) for edge in stored_box(page, shown)]
        evidence.append({"page": page.number, "box": box})
    return {**claim, "evidence": evidence}

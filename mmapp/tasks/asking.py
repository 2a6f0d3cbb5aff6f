"""Questions about photos, put to an engine: all answers to all of them, in every framing.

The photos are read once for each framing that the checkpoint's profile names, in the same steps;
all questions are then scored with their three answers in one batch. Progress and the counts for the
record are kept as it goes. Called by `check_listing` and `propose`; refuses nothing, and lets the
exceptions of `report` pass.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmapp.tasks import prompts
from mmapp.tasks.regions import MOST_PIXELS, Region, find_regions, whole
from mmapp.types import Continuation, Engine, Label, Progress, ReportProgress
from model.framings import framings

if TYPE_CHECKING:
    from PIL.Image import Image

#: log P of supported, refuted and unseen.
Triple = tuple[float, float, float]


class Asking:
    """Questions being asked about photos: progress and counts as it goes."""

    def __init__(
        self,
        engine: Engine,
        asked: Sequence[tuple[str, str]],
        report: ReportProgress,
        phase: str = "checking",
        unit: str = "claims",
    ) -> None:
        """`asked`: attribute and words of each; `phase` and `unit`: how progress calls them."""
        self._phase, self._unit = phase, unit
        self._engine, self._report = engine, report
        self._progress = Progress()
        self._framings = framings(engine.profile)
        self._questions = [prompts.listing_question(*each) for each in asked]
        self._tokens = {"read": 0, "scored": 0, "for_regions": 0}
        self._seconds = {"reading": 0.0, "checking": 0.0, "locating": 0.0}

    def answers(self, photos: Sequence[Image]) -> list[list[Triple]]:
        """For each framing, of the whole photos first, log P of each question's three answers."""
        pixels = sum(photo.width * photo.height for photo in photos)
        at_once = max(1, MOST_PIXELS // pixels)
        return [
            answers
            for first in range(0, len(self._framings), at_once)
            for answers in self._answers(photos, first, first + at_once)
        ]

    @staticmethod
    def means(rounds: Sequence[Sequence[Triple]]) -> list[Triple]:
        """Of each answer over the framings."""
        count = len(rounds)
        return [
            (sum(yes) / count, sum(no) / count, sum(unseen) / count)
            for each in zip(*rounds, strict=True)
            for yes, no, unseen in [zip(*each, strict=True)]
        ]

    def _answers(self, photos: Sequence[Image], first: int, end: int) -> list[list[Triple]]:
        """About the photos in some of the framings, in the same steps."""
        rounds, some = len(self._framings), self._framings[first:end]
        started = time.perf_counter()
        prefixes = self._engine.prefill_many(
            [prompts.listing_parts([framing.of(photo) for photo in photos]) for framing in some],
            lambda d, t: self._tell(
                "reading", first * t // len(some) + d, rounds * t // len(some), "tokens"
            ),
        )
        self._tokens["read"] += sum(prefix.length for prefix in prefixes)
        self._seconds["reading"] += time.perf_counter() - started
        started = time.perf_counter()
        count = len(self._questions)
        scored = 0

        def on_scored(done: int, total: int) -> None:
            nonlocal scored
            scored = total
            through = first + len(some) * (done / total if total else 1)
            self._tell(self._phase, int(count * through / rounds), count, self._unit)

        asked: list[Continuation] = [
            (question, answer)
            for question in self._questions
            for answer in prompts.answers("check_listing")
        ]
        found = self._engine.score_many([(prefix, asked) for prefix in prefixes], on_scored)
        self._tokens["scored"] += scored
        self._seconds["checking"] += time.perf_counter() - started
        return [list(zip(scores[::3], scores[1::3], scores[2::3], strict=True)) for scores in found]

    def regions(
        self,
        photos: Sequence[Image],
        answers: Sequence[Triple],
        labels: Mapping[int, Label],
    ) -> dict[int, list[Region]]:
        """Question to where its answer comes from, for each in `labels`, which says what the answer
        was. `answers`: about the whole photos."""
        places = list(labels)
        if not places:
            return {}
        if not self._engine.profile.get("regions", True):
            everywhere = [Region(number, whole(photo)) for number, photo in enumerate(photos)]
            return dict.fromkeys(places, everywhere)
        started = time.perf_counter()
        signs = [1.0 if labels[place] is Label.SUPPORTED else -1.0 for place in places]
        base = [
            sign * (answers[place][0] - answers[place][1])
            for sign, place in zip(signs, places, strict=True)
        ]

        def margins(views: Sequence[Image]) -> list[list[float]]:
            found = self._margins(views, [self._questions[place] for place in places])
            return [[sign * m for sign, m in zip(signs, each, strict=True)] for each in found]

        found = find_regions(
            photos,
            base,
            [labels[place] is Label.SUPPORTED for place in places],
            margins,
            lambda done, total: self._tell("locating", done, total, "views"),
        )
        self._seconds["locating"] += time.perf_counter() - started
        return {place: [region] for place, region in zip(places, found, strict=True)}

    def usage(self) -> dict[str, Any]:
        return {
            "tokens": dict(self._tokens),
            "durations_s": {name: round(value, 3) for name, value in self._seconds.items()},
            "prompt_sha256": prompts.prompt_sha256(),
        }

    def _margins(self, views: Sequence[Image], questions: Sequence[str]) -> list[list[float]]:
        """log P(yes) - log P(no) of each question, about each view alone."""
        yes, no, _unclear = prompts.answers("check_listing")
        asked: list[Continuation] = [(q, answer) for q in questions for answer in (yes, no)]
        tokens = 0

        def on_scored(_done: int, total: int) -> None:
            nonlocal tokens
            tokens = total
            self._report(self._progress)

        found = self._engine.score_many(
            [(prompts.listing_parts([view]), asked) for view in views], on_scored
        )
        self._tokens["for_regions"] += tokens
        return [[a - b for a, b in zip(scores[::2], scores[1::2], strict=True)] for scores in found]

    def _tell(self, phase: str, done: int, total: int, unit: str) -> None:
        self._progress = Progress(phase=phase, done=done, total=total, unit=unit)
        self._report(self._progress)

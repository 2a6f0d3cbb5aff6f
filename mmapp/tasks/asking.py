"""Questions about photos, put to an engine: all answers to all of them, in every framing.

The photos are read once for each framing that the checkpoint's profile names; all questions are
then scored with their three answers in one batch. Progress and the counts for the record are kept
as it goes. Called by `check_listing` and `propose`; refuses nothing, and lets the exceptions of
`report` pass.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmapp.tasks import prompts
from mmapp.tasks.regions import Region, find_regions, whole
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
        self._tokens = {"read": 0, "scored": 0, "read_for_regions": 0, "scored_for_regions": 0}
        self._seconds = {"reading": 0.0, "checking": 0.0, "locating": 0.0}

    def answers(self, photos: Sequence[Image]) -> list[list[Triple]]:
        """For each framing, of the whole photos first, log P of each claim's three answers."""
        return [
            self._answers([framing.of(photo) for photo in photos], number)
            for number, framing in enumerate(self._framings)
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

    def _answers(self, photos: Sequence[Image], number: int) -> list[Triple]:
        """About the photos in framing `number`."""
        started = time.perf_counter()
        rounds = len(self._framings)
        prefix = self._engine.prefill(
            prompts.listing_parts(photos),
            lambda d, t: self._tell("reading", number * t + d, rounds * t, "tokens"),
        )
        self._tokens["read"] += prefix.length
        self._seconds["reading"] += time.perf_counter() - started
        started = time.perf_counter()
        count = len(self._questions)
        scored = 0

        def on_scored(done: int, total: int) -> None:
            nonlocal scored
            scored = total
            through = number + (done / total if total else 1)
            self._tell(self._phase, int(count * through / rounds), count, self._unit)

        asked: list[Continuation] = [
            (question, answer)
            for question in self._questions
            for answer in prompts.answers("check_listing")
        ]
        scores = self._engine.score(prefix, asked, on_scored)
        self._tokens["scored"] += scored
        self._seconds["checking"] += time.perf_counter() - started
        return list(zip(scores[::3], scores[1::3], scores[2::3], strict=True))

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

        def margins(variant: Sequence[Image]) -> list[float]:
            found = self._margins(variant, [self._questions[place] for place in places])
            return [sign * margin for sign, margin in zip(signs, found, strict=True)]

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

    def _margins(self, photos: Sequence[Image], questions: Sequence[str]) -> list[float]:
        """log P(yes) - log P(no) of each question, about these photos."""
        prefix = self._engine.prefill(prompts.listing_parts(photos), self._tell_again)
        self._tokens["read_for_regions"] += prefix.length
        scored = 0

        def on_scored(_done: int, total: int) -> None:
            nonlocal scored
            scored = total
            self._tell_again()

        yes, no, _unclear = prompts.answers("check_listing")
        asked: list[Continuation] = [(q, answer) for q in questions for answer in (yes, no)]
        scores = self._engine.score(prefix, asked, on_scored)
        self._tokens["scored_for_regions"] += scored
        return [a - b for a, b in zip(scores[::2], scores[1::2], strict=True)]

    def _tell(self, phase: str, done: int, total: int, unit: str) -> None:
        self._progress = Progress(phase=phase, done=done, total=total, unit=unit)
        self._report(self._progress)

    def _tell_again(self, _done: int = 0, _total: int = 0) -> None:
        """Gives `report` a chance to cancel inside a step too small to show."""
        self._report(self._progress)

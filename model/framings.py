"""Framings: the same photo seen again nearer, or mirrored, as a person looks twice.

A small checkpoint that is asked about a photo in several framings errs less than one that is asked
once: its training showed it crops, so that things seen whole are a little smaller than it is used
to (Touvron et al. 2019, "Fixing the train-test resolution discrepancy"), and chance errors cancel
out. Which framings a checkpoint is asked about beside the whole photo stands in its profile.json
under `framings`; most need none. Mirroring turns words in a photo around: it is not for checkpoints
that read them.

Called by the application's listing check, which imports this module and nothing heavier of the
model, and by the measuring of listings. Refuses a framing without anything in it (ValueError).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps


@dataclass(frozen=True, slots=True)
class Framing:
    """The middle of a photo."""

    share: float = 1.0  #: of its width and of its height
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"a framing shows a share of {self.share}; it must be over 0, up to 1")

    def of(self, photo: Image.Image) -> Image.Image:
        """What the framing shows of a photo; at least a pixel."""
        if self.share < 1:
            width, height = photo.size
            left, top = round(width * (1 - self.share) / 2), round(height * (1 - self.share) / 2)
            right, bottom = max(left + 1, width - left), max(top + 1, height - top)
            photo = photo.crop((left, top, right, bottom))
        return ImageOps.mirror(photo) if self.mirrored else photo


WHOLE = Framing()


def framings(profile: Mapping[str, Any]) -> tuple[Framing, ...]:
    """The whole photo, and then what the profile names."""
    return (WHOLE, *(Framing(**each) for each in profile.get("framings", ())))

"""What job tests are about: a checkpoint folder to be hashed, a text, a photo, an engine."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image

from mmapp.checkpoints import CONFIG, WEIGHTS
from tests.tasks.fakes import FakeEngine, Rule, likes

WEIGHTS_BYTES = b"the weights of the fake engine"
TEXT = (
    "The bridge over the Elbe was closed on Monday. Engineers found cracks in two piers.\n\n"
    "Repairs will cost 4.2 million euros and last until spring."
)


def checkpoint_folder(folder: Path, weights: bytes = WEIGHTS_BYTES) -> Path:
    """A folder that can be identified, though not loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text("{}")
    (folder / WEIGHTS).write_bytes(weights)
    return folder


def engine(rule: Rule | None = None) -> FakeEngine:
    """An engine whose weights are those of `checkpoint_folder`."""
    return FakeEngine(
        rule or likes("cracks", "million"),
        weights_sha256=hashlib.sha256(WEIGHTS_BYTES).hexdigest(),
    )


def photo_bytes(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()

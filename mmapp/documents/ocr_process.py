"""The process that recognises text in pictures: loads its models once, then reads one by one.

Started as `python -m mmapp.documents.ocr_process FD BYTES THREADS` by `ocr`, never imported by it.
It is given pictures that another child made of foreign files, so it is limited in memory and files,
knows no setting and no password, and is killed when it takes too long. Detection and recognition
are RapidOCR's with the models of its wheel; they are named by path, so nothing is ever downloaded.
Here a picture is brought to a size and a direction in which lines are read well, and the columns of
the recogniser's output become the edges of characters. It ends when the other side hangs up.
"""

from __future__ import annotations

import ctypes
import io
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import rapidocr
from numpy.typing import NDArray
from PIL import Image

from mmapp.documents.characters import clean
from mmapp.documents.frames import Channel, ChannelClosed

MODELS = Path(rapidocr.__file__).parent / "models"
#: Longest side of the picture in which lines are looked for, and of the one they are cut from. A4
#: at 104 dpi is the first: more pixels cost time and find no more lines.
FIND_SIDE = 1_216
READ_SIDE = 2_600
#: Smaller pictures are enlarged, by this at most.
MOST_ENLARGED = 2.0
#: Pixels that are decoded at most; the other side draws fewer.
MAX_PIXELS = 120_000_000
#: A box this many times as high as wide holds a line that runs up or down.
UPRIGHT = 1.5
#: A page is tried in other directions when its lines run up or down or are read worse than this,
#: and the lines that are read for that.
DOUBTFUL = 0.8
SAMPLE = 5
#: A line may rise by this share of its length and still have edges of characters along x.
LEVEL = 0.05
MAX_FILES = 64
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class _Line:
    """One line as it was read; boxes and edges in pixels of the turned picture."""

    text: str
    box: tuple[float, float, float, float]
    #: Where it would stand if the page were not askew.
    level: tuple[float, float, float, float]
    edges: tuple[float, ...]
    #: The mean probability of its characters.
    confidence: float


def main(descriptor: int, memory: int, threads: int) -> None:
    _be_alone()
    models = _Models(threads)
    _limit(memory)
    with socket.socket(fileno=descriptor) as endpoint:
        channel = Channel(endpoint, None, sys.maxsize)
        channel.send_json({"kind": "ready"})
        try:
            while True:
                channel.send_json(_answer(models, channel.receive()))
        except ChannelClosed:
            pass


def _be_alone() -> None:
    """Die with the process that started this one, where the system can (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _limit(memory: int) -> None:
    """Bounds beyond what the libraries and models have taken by now."""
    taken = 0
    if sys.platform.startswith("linux"):
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    bounds = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, MAX_FILES),
        (resource.RLIMIT_AS, taken + memory),
    ]
    for kind, value in bounds:
        _, hard = resource.getrlimit(kind)
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (least, least))
        except (OSError, ValueError):
            # macOS refuses some kinds; the deadline holds there.
            continue


def _answer(models: _Models, data: bytes) -> dict[str, Any]:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            picture, scale = _fitted(image.convert("RGB"))
        turn, lines = _read(models, picture)
    except MemoryError:
        return {"kind": "failed", "reason": "it takes more memory than MMAPP_OCR_MEMORY"}
    except Exception as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
        return {"kind": "failed", "reason": reason}
    told = [
        (
            line.text,
            [round(value / scale, 1) for value in line.box],
            [round(value / scale, 1) for value in line.level],
            [round(value / scale, 1) for value in line.edges],
            round(line.confidence, 3),
        )
        for line in lines
    ]
    size = (picture.width / scale, picture.height / scale)
    return {"kind": "lines", "size": size, "turn": turn, "lines": told}


def _fitted(picture: Image.Image) -> tuple[Image.Image, float]:
    """The picture in a size that is read well, and by how much it was scaled."""
    longest = max(picture.size)
    scale = min(READ_SIDE / longest, max(1.0, min(MOST_ENLARGED, FIND_SIDE / longest)))
    if scale == 1:
        return picture, 1.0
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS), scale


def _read(models: _Models, picture: Image.Image) -> tuple[int, list[_Line]]:
    """The lines, and by how many degrees counterclockwise the picture was turned to read them."""
    pixels = _pixels(picture)
    quads = models.find(pixels)
    if not quads:
        return 0, []
    crops = [models.cut(pixels, quad) for quad in quads]
    turn = 0
    if median(_height(quad) / max(_width(quad), 1.0) for quad in quads) >= UPRIGHT:
        turn = _better(models, crops, 90, 270)
    else:
        lines = _lines(models, quads, crops)
        if not lines or mean(line.confidence for line in lines) >= DOUBTFUL:
            return 0, lines
        turn = _better(models, crops, 0, 180)
        if turn == 0:
            return 0, lines
    pixels = _pixels(picture.rotate(turn, expand=True))
    quads = models.find(pixels)
    return turn, _lines(models, quads, [models.cut(pixels, quad) for quad in quads])


def _better(models: _Models, crops: Sequence[NDArray[np.uint8]], one: int, other: int) -> int:
    """Whether the longest lines are read better as they were cut, or turned around."""
    longest = sorted(crops, key=lambda crop: -crop.shape[1])[:SAMPLE]
    ways = (longest, [np.ascontiguousarray(crop[::-1, ::-1]) for crop in longest])
    first, second = (mean(line[1] for line in models.recognise(way)) for way in ways)
    return one if first >= second else other


def _lines(
    models: _Models, quads: Sequence[NDArray[np.float32]], crops: Sequence[NDArray[np.uint8]]
) -> list[_Line]:
    found = []
    askew = median(_rise(quad) for quad in quads) if quads else 0.0
    for quad, (text, confidence, centres) in zip(quads, models.recognise(crops), strict=True):
        kept, origins = clean(text)
        if not kept:
            continue
        box = _around(quad)
        edges: tuple[float, ...] = ()
        if abs(_rise(quad)) <= LEVEL:
            edges = _edges([centres[index] for index in origins], box[0], box[2])
        level = _around(_levelled(quad, askew))
        found.append(_Line(kept, box, level, edges, confidence))
    return found


def _edges(centres: Sequence[float], x0: float, x1: float) -> tuple[float, ...]:
    """Where characters begin and the last one ends: half way between their centres."""
    between = [(one + other) / 2 for one, other in pairwise(centres)]
    return tuple(x0 + (x1 - x0) * share for share in (0.0, *between, 1.0))


def _rise(quad: NDArray[np.float32]) -> float:
    """By how much the line rises or falls, as a share of its length."""
    across, down = quad[1] - quad[0]
    return float(down / across) if across > 0 else 0.0


def _levelled(quad: NDArray[np.float32], askew: float) -> NDArray[np.float32]:
    """The corners after the page is turned by its slant, around its upper left."""
    cosine = 1 / math.hypot(1, askew)
    sine = askew * cosine
    turned: NDArray[np.float32] = quad @ np.array([[cosine, -sine], [sine, cosine]], np.float32)
    return turned


def _around(quad: NDArray[np.float32]) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = quad.min(axis=0).tolist(), quad.max(axis=0).tolist()
    return (x0, y0, x1, y1)


def _pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """Blue, green, red, as OpenCV counts them: (height, width, 3)."""
    return np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])


def _width(quad: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(quad[1] - quad[0]))


def _height(quad: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(quad[3] - quad[0]))


class _Models:
    """RapidOCR's two models.

    Its third, which tells lines that stand on their heads, is left out: it turned level lines of
    small print around. Directions are told by what is read better.
    """

    def __init__(self, threads: int) -> None:
        self._rapid: Any = rapidocr.RapidOCR(
            params={
                "Global.use_cls": False,
                "Global.use_preprocess_img": False,
                "Global.use_vertical_padding": False,
                "Global.return_word_box": True,
                "Global.log_level": "critical",
                "Det.model_path": str(MODELS / "PP-OCRv6_det_small.onnx"),
                "Det.limit_type": "max",
                "Det.limit_side_len": FIND_SIDE,
                "Rec.model_path": str(MODELS / "PP-OCRv6_rec_small.onnx"),
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        # Both models are loaded by this, and not by the first picture, which has a deadline.
        blank = np.full((48, 320, 3), 255, np.uint8)
        self._rapid.run_ocr_steps(blank, {})
        self._rapid.recognize_txt([blank])
        self._found: Any = self._rapid.text_det

    def find(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Corners of lines, clockwise from the first letter's upper left: (4, 2) each."""
        boxes = self._found(pixels).boxes
        return [] if boxes is None else list(boxes)

    def cut(self, pixels: NDArray[np.uint8], quad: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The line, level; what runs up or down is turned to the left."""
        (crop,) = self._rapid.crop_text_regions(pixels, quad[None])
        return np.asarray(crop, np.uint8)

    def recognise(
        self, crops: Sequence[NDArray[np.uint8]]
    ) -> list[tuple[str, float, tuple[float, ...]]]:
        """Of each line its text, its confidence, and its characters' centres as shares of it."""
        if not crops:
            return []
        read = self._rapid.recognize_txt(list(crops))
        return [
            (text, float(score), _centres(text, word))
            for text, score, word in zip(read.txts, read.scores, read.word_results, strict=True)
        ]


def _centres(text: str, word: Any) -> tuple[float, ...]:
    """From the columns in which the recogniser saw each character; it tells none for blanks."""
    columns = iter([column for columns in word.word_cols for column in columns])
    length = max(float(word.line_txt_len), 1.0)
    centres: list[float] = []
    for character in text:
        before = centres[-1] if centres else 0.0
        column = None if character.isspace() else next(columns, None)
        centre = before if column is None else (column + 0.5) / length
        centres.append(min(max(centre, before), 1.0))
    return tuple(centres)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

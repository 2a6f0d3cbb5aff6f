"""What text recognition found becomes lines of a page like those of a text layer.

Written lines are joined where one was found in pieces, gathered to paragraphs, put in reading order
and brought to the page's coordinates. The file's own text stays where the page shows it, and what
is written in its place is not added again. The unseen layer of a scan is replaced by what is read
in the scan: its words were never seen. Those that are not read there at all are told as hidden.

Pure; called by `scans`. Refuses nothing.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from statistics import median

from mmapp.documents.characters import is_cjk
from mmapp.documents.ocr import Written, WrittenLine
from mmapp.documents.order import Chunk, reading_order
from mmapp.documents.quotes import shown_box, stored_box, stored_edges
from mmapp.types import Box, HiddenText, Hiding, Line, Page, Recognition, Source

#: Lines that are less sure are left out: blurred and halved pages gave nonsense up to 0.71, words
#: with wrong letters up to 0.9.
SURE = 0.8
#: Letters in a row from which on a page counts as written; single ones are seen in photos of
#: clothes too ("V" for a neckline, 0.995 sure). A Chinese character says as much as two letters.
FEWEST_LETTERS = 2
#: Pieces of one line: at one height, as high as each other, and no further apart than their height.
ONE_ROW = 0.6
ONE_HEIGHT = 1.5
ONE_LINE_GAP = 1.0
#: A line follows another in a paragraph at up to this many times the paragraph's usual pitch, and
#: where one ends before this share of the other's width, the paragraph ends.
PITCH = 1.25
FIRST_PITCH = 1.9
FULL = 0.75
#: Share of a written line over which the file's own text stands: it is the same line.
SAME_PLACE = 0.5
#: Likeness, 0 to 1, from which on a scan shows the words of its text layer.
ALIKE = 0.6
#: Scripts that the recogniser reads; the layer of a scan in another one is left as it is.
READ_SCRIPTS = ("LATIN", "CJK", "HIRAGANA", "KATAKANA", "DIGIT")


def recognised(page: Page, written: Written) -> Page:
    """The page with what is written in its pictures."""
    layer = [line for line in page.lines if line.source is Source.UNCHECKED]
    if layer and not _can_read(layer):
        return dataclasses.replace(page, recognition=Recognition.DONE)
    own = [line for line in page.lines if line.source is not Source.UNCHECKED]
    sure = _sure(written.lines)
    paragraphs = [
        [_placed(page, written, line) for line in block] for block in _paragraphs(_rows(sure))
    ]
    found = [block for block in (_new(block, own) for block in paragraphs) if block]
    lines = _in_reading_order(page, [*_blocks(page, own), *found])
    read = [one.line for block in paragraphs for one in block]
    unread = [line for line in layer if not _is_read(page, line, read)]
    state = Recognition.DONE
    if written.lines and not lines:
        state = Recognition.ILLEGIBLE
    return dataclasses.replace(
        page,
        lines=lines,
        hidden=(*page.hidden, *_told(unread)),
        recognition=state,
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    """A line on the page, and its box as it is shown and would be if the page were not askew."""

    line: Line
    level: Box


def _sure(lines: Sequence[WrittenLine]) -> list[WrittenLine]:
    """What can be relied on; nothing where only single signs are."""
    sure = [line for line in lines if line.confidence >= SURE and _key(line.text)]
    is_written = any(
        sum(2 if is_cjk(sign) else 1 for sign in _key(line.text)) >= FEWEST_LETTERS for line in sure
    )
    return sure if is_written else []


def _can_read(lines: Sequence[Line]) -> bool:
    """Whether most of the letters are of scripts that the recogniser knows."""
    letters = [letter for line in lines for letter in line.text if letter.isalpha()]
    known = sum(unicodedata.name(letter, "").startswith(READ_SCRIPTS) for letter in letters)
    return known >= len(letters) / 2


# Written lines: from pieces to lines, from lines to paragraphs.


def _rows(lines: Sequence[WrittenLine]) -> list[WrittenLine]:
    """Pieces of one line joined, from left to right."""
    rows: list[WrittenLine] = []
    for line in sorted(lines, key=lambda line: line.level[0]):
        near = [index for index, row in enumerate(rows) if _goes_on(row, line)]
        if near:
            last = max(near, key=lambda index: rows[index].level[2])
            rows[last] = _joined(rows[last], line)
        else:
            rows.append(line)
    return sorted(rows, key=lambda row: row.level[1])


def _goes_on(row: WrittenLine, line: WrittenLine) -> bool:
    small, large = sorted((_height(row.level), _height(line.level)))
    together = min(row.level[3], line.level[3]) - max(row.level[1], line.level[1])
    gap = line.level[0] - row.level[2]
    return (
        together >= ONE_ROW * small
        and large <= ONE_HEIGHT * small
        and -small / 2 <= gap <= ONE_LINE_GAP * small
    )


def _joined(row: WrittenLine, line: WrittenLine) -> WrittenLine:
    together = is_cjk(row.text[-1]) and is_cjk(line.text[0])
    text = row.text + ("" if together else " ") + line.text
    edges: tuple[float, ...] = ()
    if row.edges and line.edges:
        edges = (*(row.edges[:-1] if together else row.edges), *line.edges)
    weights = len(row.text), len(line.text)
    sureness = row.confidence * weights[0] + line.confidence * weights[1]
    box, level = _around([row.box, line.box]), _around([row.level, line.level])
    return WrittenLine(text, box, level, edges, sureness / sum(weights))


def _paragraphs(rows: Sequence[WrittenLine]) -> list[list[WrittenLine]]:
    """Lines below each other that are read as one."""
    blocks: list[list[WrittenLine]] = []
    for row in rows:
        above = [block for block in blocks if _follows(block, row)]
        if above:
            max(above, key=lambda block: block[-1].level[1]).append(row)
        else:
            blocks.append([row])
    return blocks


def _follows(block: Sequence[WrittenLine], row: WrittenLine) -> bool:
    """Whether a line goes on with a paragraph, whose last line reaches as far as the others."""
    last, box = block[-1].level, row.level
    small, large = sorted((_height(last), _height(box)))
    beside = min(last[2], box[2]) - max(last[0], box[0])
    widest = max(_width(one.level) for one in (*block, row))
    return (
        large <= ONE_HEIGHT * small
        and beside >= min(_width(last), _width(box)) / 2
        and 0 < _pitch(last, box) <= _usual_pitch(block)
        and _width(last) >= FULL * widest
    )


def _usual_pitch(block: Sequence[WrittenLine]) -> float:
    """How far below the last line the next one of its paragraph begins at most."""
    if len(block) == 1:
        return FIRST_PITCH * _height(block[0].level)
    pitches = [_pitch(one.level, other.level) for one, other in pairwise(block)]
    return PITCH * median(pitches)


def _pitch(one: Box, other: Box) -> float:
    """From the middle of a line to the middle of another one below it."""
    return (other[1] + other[3] - one[1] - one[3]) / 2


# From the picture to the page.


def _placed(page: Page, written: Written, line: WrittenLine) -> _Placed:
    """The line on the page; without edges where it was read in another direction than shown."""
    across, down = page.width / written.size[0], page.height / written.size[1]
    box, level = (
        (x0 * across, y0 * down, x1 * across, y1 * down)
        for x0, y0, x1, y1 in (_turned_back(line.box, written), line.level)
    )
    edges: tuple[float, ...] = ()
    if line.edges and not written.turn:
        edges = stored_edges(page, tuple(edge * across for edge in line.edges))
    placed = Line(
        line.text,
        _rounded(stored_box(page, box)),
        tuple(round(edge, 2) for edge in edges),
        source=Source.OCR,
        confidence=round(line.confidence, 3),
    )
    return _Placed(placed, level)


def _turned_back(box: Box, written: Written) -> Box:
    """From the picture turned counterclockwise to the picture as it was."""
    width, height = written.size
    x0, y0, x1, y1 = box
    match written.turn:
        case 90:
            return (width - y1, x0, width - y0, x1)
        case 180:
            return (width - x1, height - y1, width - x0, height - y0)
        case 270:
            return (y0, height - x1, y1, height - x0)
    return box


def _new(block: Sequence[_Placed], own: Sequence[Line]) -> list[_Placed]:
    """The lines in whose place the file has no text of its own."""
    boxes = [line.box for line in own if line.box is not None]
    return [
        one
        for one in block
        if one.line.box is not None
        and sum(_shared(one.line.box, box) for box in boxes) < SAME_PLACE * _area(one.line.box)
    ]


def _blocks(page: Page, lines: Sequence[Line]) -> list[list[_Placed]]:
    """The page's own lines by the blocks that they are in."""
    blocks: dict[int, list[_Placed]] = {}
    for line in lines:
        if line.box is not None:
            placed = _Placed(line, shown_box(page, line.box))
            blocks.setdefault(line.block, []).append(placed)
    return list(blocks.values())


def _in_reading_order(page: Page, blocks: Sequence[Sequence[_Placed]]) -> tuple[Line, ...]:
    placed = [one for block in blocks for one in block]
    chunks, start = [], 0
    for block in blocks:
        numbers = tuple(range(start, start + len(block)))
        chunks.append(Chunk(numbers, tuple(one.level for one in block)))
        start += len(block)
    ordered = reading_order(chunks, page.width)
    return tuple(
        dataclasses.replace(placed[number].line, block=block)
        for block, chunk in enumerate(ordered)
        for number in chunk.lines
    )


# The text layer of a scan.


def _is_read(page: Page, line: Line, found: Sequence[Line]) -> bool:
    """Whether a line of the layer says what is read in its place."""
    if line.box is None:
        return False
    place = shown_box(page, line.box)
    there = sorted(
        (shown_box(page, other.box)[0], _part(page, other, place))
        for other in found
        if other.box is not None and _in_one_row(shown_box(page, other.box), place)
    )
    said, read = _key(line.text), _key("".join(text for _, text in there))
    if not said:
        return True
    return SequenceMatcher(None, said, read, autojunk=False).ratio() >= ALIKE


def _part(page: Page, line: Line, place: Box) -> str:
    """The characters of a line between the left and the right of a place, as they are shown."""
    if not line.edges:
        return line.text
    # The inverse of `stored_edges` is itself.
    edges = stored_edges(page, line.edges)
    middles = [(one + other) / 2 for one, other in pairwise(edges)]
    return "".join(
        character
        for character, middle in zip(line.text, middles, strict=True)
        if place[0] <= middle <= place[2]
    )


def _in_one_row(one: Box, other: Box) -> bool:
    together = min(one[3], other[3]) - max(one[1], other[1])
    beside = min(one[2], other[2]) - max(one[0], other[0])
    return beside > 0 and together >= min(_height(one), _height(other)) / 2


def _told(lines: Sequence[Line]) -> list[HiddenText]:
    return [
        HiddenText(line.text, Hiding.NOT_IN_SCAN, line.box)
        for line in lines
        if line.box is not None
    ]


def _key(text: str) -> str:
    """Letters and digits, alike whatever their case and width."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


def _around(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return (min(lefts), min(tops), max(rights), max(bottoms))


def _rounded(box: Box) -> Box:
    x0, y0, x1, y1 = box
    return (round(x0, 2), round(y0, 2), round(x1, 2), round(y1, 2))


def _height(box: Box) -> float:
    return box[3] - box[1]


def _width(box: Box) -> float:
    return box[2] - box[0]


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0

"""Words in a PDF's text layer that the page does not show: found, and taken out of the lines.

What a person does not see must not steer a summary. Flags of the text tell some of it: nothing is
painted, or outside the page, or too small for any eye. All else is decided by looking: the page is
drawn with its text and without, and a word in whose place the two pictures are alike is not shown,
whatever hides it (its colour, a shape or an image above it, a clip). Two words in one place are
told apart by their colours and by the order of drawing. The unseen words above the picture of a
scan are its text layer and stay, when the picture has ink where they stand and none between them;
their lines are marked, because which words the ink shows is for text recognition to say.

Called by `pdf` in the parser's child, with blocks as PyMuPDF gives them. Pure but for the pictures
that it asks the sheet for. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import mean
from typing import Any, Protocol

from PIL import Image, ImageStat

from mmapp.documents.characters import clean, is_cjk
from mmapp.types import Box, HiddenText, Hiding

#: Channels of 0 to 255 that differ by less look alike. A full stop of black text at `LOOK_DPI`
#: differs by 26 or more; white on #F8F8F8 by 7.
ALIKE = 12
#: Colours of two words in one place count as seen only from here on.
COLOURS_ALIKE = 24
#: Points, on a page as large as A4 or larger; on smaller ones as much smaller.
SMALLEST_SIZE = 2.0
A4_HEIGHT = 842.0
#: Points that a character is wide on average in the narrowest word.
NARROWEST = 0.3
#: Share of the smaller word by which two words in one place overlap, and points within which their
#: middles are for that.
IN_ONE_PLACE = 0.3
ROW = 4.0
#: Letters and digits of a hidden passage; fewer are signs whose fonts tell wrong boxes.
FEWEST_LETTERS = 3
#: Dots per inch at which pages are compared, and those at which the ink of a scan is looked at.
LOOK_DPI = 48
SCAN_DPI = 144
#: Ink of a scan: darker (or lighter) than its paper by this, and between words at most this share
#: of what is in them.
INK = 60
INK_BETWEEN = 0.5
#: Gaps between words that must be there to be looked at; else the strips above and below are.
FEWEST_GAPS = 2
#: What is told by the pictures.
LOOKED_AT = (Hiding.SAME_COLOUR, Hiding.COVERED)
#: The key of lines that are the text layer of a scan.
OVER_SCAN = "over_scan"
#: PyMuPDF's mark of characters that something else is painted through.
CLIPS = 64


class Sheet(Protocol):
    """What is asked about the page, in points of the page before its rotation."""

    width: float
    height: float

    def difference(self) -> Image.Image:
        """What the text changes: the largest difference of channels (mode L, `LOOK_DPI`)."""

    def bare(self, dpi: int) -> Image.Image:
        """The page without its text (mode RGB)."""

    def paintings(self) -> Sequence[tuple[int, Box]]:
        """What is filled, images too: its place in the order of drawing, and its box."""

    def drawn(self) -> Mapping[tuple[str, int, int], int]:
        """The place of characters in that order, by the character and its origin in points."""


@dataclass(slots=True, eq=False)
class _Word:
    """Neighbouring characters of one span without a blank; a Chinese character by itself."""

    line: int
    #: Places of its characters in the line.
    first: int
    end: int
    characters: list[dict[str, Any]]
    box: Box
    size: float
    colour: tuple[int, int, int]
    alpha: int
    clips: bool
    why: Hiding | None = None
    #: It is not seen, but stands over a picture that has ink in its place.
    over_scan: bool = False

    @property
    def text(self) -> str:
        return "".join(character["c"] for character in self.characters)

    @property
    def letters(self) -> int:
        """Letters and digits; a Chinese character says as much as a short word."""
        return sum(
            FEWEST_LETTERS if is_cjk(letter) else 1 for letter in self.text if letter.isalnum()
        )


def without_hidden(
    blocks: Sequence[dict[str, Any]], sheet: Sheet
) -> tuple[list[dict[str, Any]], tuple[HiddenText, ...]]:
    """The blocks with the lines that are seen, cut where a hidden word stood, and what was cut."""
    lines = [line for block in blocks for line in block.get("lines", ())]
    words = [word for number, line in enumerate(lines) for word in _words(number, line)]
    _judge(words, sheet)
    for word in words:
        if word.over_scan:
            lines[word.line][OVER_SCAN] = True
    hidden = [word for word in words if word.why is not None]
    if not hidden:
        return list(blocks), ()
    by_line: dict[int, list[_Word]] = {}
    for word in hidden:
        by_line.setdefault(word.line, []).append(word)
    kept, number = [], 0
    for block in blocks:
        pieces: list[dict[str, Any]] = []
        for line in block.get("lines", ()):
            pieces += _without(line, by_line[number]) if number in by_line else [line]
            number += 1
        kept.append({**block, "lines": pieces})
    return kept, tuple(_told(hidden, lines))


def layer_words(blocks: Iterable[dict[str, Any]], shown: set[tuple[Any, ...]]) -> list[HiddenText]:
    """The lines of characters that are in `blocks`, every layer switched on, and not in `shown`."""
    found = []
    for block in blocks:
        for line in block.get("lines", ()):
            missing = [
                character
                for span in line["spans"]
                for character in span["chars"]
                if character_key(character) not in shown
            ]
            text, _ = clean([character["c"] for character in missing])
            if text:
                found.append(HiddenText(text, Hiding.LAYER_OFF, _around(missing)))
    return found


def character_key(character: Mapping[str, Any]) -> tuple[str, int, int]:
    """A character and where it stands, in points."""
    x, y = character["origin"]
    return character["c"], _whole(x), _whole(y)


def _words(number: int, line: Mapping[str, Any]) -> Iterator[_Word]:
    place = 0
    for span in line["spans"]:
        run: list[dict[str, Any]] = []
        for character in span["chars"]:
            letter = character["c"]
            alone = is_cjk(letter)
            if (letter.isspace() or alone) and run:
                yield _word(number, place - len(run), run, span)
                run = []
            if alone:
                yield _word(number, place, [character], span)
            elif not letter.isspace():
                run.append(character)
            place += 1
        if run:
            yield _word(number, place - len(run), run, span)


def _word(
    line: int, first: int, characters: list[dict[str, Any]], span: Mapping[str, Any]
) -> _Word:
    colour = int(span["color"])
    return _Word(
        line=line,
        first=first,
        end=first + len(characters),
        characters=characters,
        box=_joined([characters[0]["bbox"], characters[-1]["bbox"]]),
        size=float(span["size"]),
        colour=(colour >> 16 & 255, colour >> 8 & 255, colour & 255),
        alpha=int(span["alpha"]),
        clips=bool(span["char_flags"] & CLIPS),
    )


def _judge(words: Sequence[_Word], sheet: Sheet) -> None:
    """Sets `why` of the words that are hidden: by their flags first, then by the pictures."""
    for word in words:
        word.why = _by_flags(word, sheet)
    painted = [word for word in words if word.why is None and not word.clips]
    if painted:
        _look(painted, sheet)
        _smooth(words)
    unseen = [word for word in words if word.why in (Hiding.INVISIBLE, Hiding.COVERED)]
    if unseen:
        _forgive_scan(unseen, sheet)


def _by_flags(word: _Word, sheet: Sheet) -> Hiding | None:
    x0, y0, x1, y1 = word.box
    # Not so for what is no number, which broken fonts give.
    if not (0 <= (x0 + x1) / 2 <= sheet.width and 0 <= (y0 + y1) / 2 <= sheet.height):
        return Hiding.OFF_PAGE
    scale = min(1.0, max(sheet.width, sheet.height) / A4_HEIGHT)
    across = max(x1 - x0, y1 - y0) / len(word.characters)
    if word.size < SMALLEST_SIZE * scale or across < NARROWEST * scale:
        return Hiding.TINY
    return Hiding.INVISIBLE if word.alpha == 0 and not word.clips else None


def _look(words: Sequence[_Word], sheet: Sheet) -> None:
    """Compare the page with and without its text in the place of each word."""
    difference = sheet.difference()
    for word in words:
        part = _part(difference, word.box, sheet)
        if part.getextrema()[1] < ALIKE:  # type: ignore[operator]
            word.why = _alike_because(word, sheet)
    shared = _in_one_place([word for word in words if word.why is None])
    for word in shared:
        if _is_like_ground(word, sheet):
            word.why = Hiding.SAME_COLOUR
        elif _is_under_paint(word, shared, sheet):
            word.why = Hiding.COVERED


def _smooth(words: Sequence[_Word]) -> None:
    """Signs are hidden with the words on both sides; what has few letters is not hidden alone."""
    lines = {number: list(line) for number, line in groupby(words, key=lambda word: word.line)}
    for line in lines.values():
        if not any(word.why in LOOKED_AT for word in line):
            continue
        lettered = [word for word in line if word.letters]
        for word in line:
            if not word.letters and word.why in (None, *LOOKED_AT):
                word.why = _of_neighbours(word, lettered)
        for why, run in groupby(line, key=lambda word: word.why):
            passage = list(run)
            if why in LOOKED_AT and sum(word.letters for word in passage) < FEWEST_LETTERS:
                for word in passage:
                    word.why = None


def _of_neighbours(sign: _Word, lettered: Sequence[_Word]) -> Hiding | None:
    """What is said of the words before and after a sign, if both are hidden."""
    before = [word.why for word in lettered if word.first < sign.first][-1:]
    after = [word.why for word in lettered if word.first > sign.first][:1]
    beside = before + after
    return beside[0] if beside and all(why is not None for why in beside) else None


def _alike_because(word: _Word, sheet: Sheet) -> Hiding:
    return Hiding.SAME_COLOUR if _is_like_ground(word, sheet) else Hiding.COVERED


def _is_like_ground(word: _Word, sheet: Sheet) -> bool:
    """Whether the word has the colour on which it stands: the median of its middle."""
    x0, y0, x1, y1 = word.box
    quarter = (y1 - y0) / 4
    middle = _part(sheet.bare(LOOK_DPI), (x0, y0 + quarter, x1, y1 - quarter), sheet)
    ground = ImageStat.Stat(middle).median
    opacity = word.alpha / 255
    return (
        max(abs(one - other) * opacity for one, other in zip(word.colour, ground, strict=True))
        < COLOURS_ALIKE
    )


def _in_one_place(words: Sequence[_Word]) -> list[_Word]:
    """Words that overlap another one; the same word twice (printed bold) is one word."""
    rows: dict[int, list[_Word]] = {}
    for word in words:
        number = int((word.box[1] + word.box[3]) / 2 / ROW)
        rows.setdefault(number, []).append(word)
        rows.setdefault(number + 1, []).append(word)
    found: dict[int, _Word] = {}
    for row in rows.values():
        row.sort(key=lambda word: word.box[0])
        for index, word in enumerate(row):
            for other in row[index + 1 :]:
                if other.box[0] >= word.box[2]:
                    break
                if word.text != other.text and _overlap(word.box, other.box) >= IN_ONE_PLACE:
                    found[id(word)], found[id(other)] = word, other
    return list(found.values())


def _is_under_paint(word: _Word, others: Iterable[_Word], sheet: Sheet) -> bool:
    """Whether something is filled above the word, and another word is written above that."""
    mine = _order(word, sheet)
    covers = [place for place, box in sheet.paintings() if place > mine and _holds(box, word.box)]
    return bool(covers) and any(
        _order(other, sheet) > covers[0]
        for other in others
        if other is not word and _overlap(word.box, other.box) >= IN_ONE_PLACE
    )


def _order(word: _Word, sheet: Sheet) -> int:
    # The least: a later word may have the same letter in the same place.
    return min(sheet.drawn().get(character_key(one), -1) for one in word.characters)


def _forgive_scan(words: Sequence[_Word], sheet: Sheet) -> None:
    """Take back what was said of words that are the text layer of a scanned line."""
    picture = sheet.bare(SCAN_DPI).convert("L")
    lines: dict[int, list[_Word]] = {}
    for word in words:
        lines.setdefault(word.line, []).append(word)
    for line in lines.values():
        if _has_ink(line, picture, sheet):
            for word in line:
                word.why, word.over_scan = None, True


def _has_ink(line: Sequence[_Word], picture: Image.Image, sheet: Sheet) -> bool:
    """Whether the picture has ink where the words stand, and little where they do not."""
    around = _joined([word.box for word in line])
    low, high = _part(picture, around, sheet).getextrema()
    if high - low < INK:  # type: ignore[operator]
        return False
    dark = _part(picture, _wider(around), sheet)
    paper = ImageStat.Stat(dark).median[0]
    inked = picture.point([255 if abs(value - paper) > INK / 2 else 0 for value in range(256)])
    inside = [_share(inked, word.box, sheet) for word in line]
    if min(inside) <= 0:
        return False
    beside = [_share(inked, box, sheet) for box in _gaps(line)]
    if len(beside) < FEWEST_GAPS:
        beside = [_share(inked, box, sheet) for box in _strips(around)]
    return mean(beside) <= INK_BETWEEN * mean(inside)


def _gaps(line: Sequence[_Word]) -> list[Box]:
    """The blanks between neighbouring words that stand on one level."""
    found = []
    for word, after in pairwise(line):
        _, top, right, bottom = word.box
        if after.box[0] > right and after.first > word.end:
            found.append((right, top, after.box[0], bottom))
    return found


def _strips(box: Box) -> tuple[Box, Box]:
    """Where the space between lines is: at the upper and the lower edge of a line's box."""
    x0, y0, x1, y1 = box
    height = 0.12 * (y1 - y0)
    return (x0, y0, x1, y0 + height), (x0, y1 - height, x1, y1)


def _wider(box: Box) -> Box:
    x0, y0, x1, y1 = box
    more = (y1 - y0) / 2
    return (x0 - more, y0 - more, x1 + more, y1 + more)


def _share(inked: Image.Image, box: Box, sheet: Sheet) -> float:
    return float(ImageStat.Stat(_part(inked, box, sheet)).mean[0]) / 255


def _part(picture: Image.Image, box: Box, sheet: Sheet) -> Image.Image:
    """What the picture of the page shows in the box; at least one pixel."""
    across, down = picture.width / sheet.width, picture.height / sheet.height
    left = min(max(int(box[0] * across), 0), picture.width - 1)
    top = min(max(int(box[1] * down), 0), picture.height - 1)
    right = min(max(int(box[2] * across) + 1, left + 1), picture.width)
    bottom = min(max(int(box[3] * down) + 1, top + 1), picture.height)
    return picture.crop((left, top, right, bottom))


def _without(line: dict[str, Any], hidden: Sequence[_Word]) -> list[dict[str, Any]]:
    """The pieces of a line between its hidden words."""
    gone = {place for word in hidden for place in range(word.first, word.end)}
    pieces: list[dict[str, Any]] = []
    spans: list[dict[str, Any]] = []
    place = 0
    for span in line["spans"]:
        run: list[dict[str, Any]] = []
        for character in span["chars"]:
            if place not in gone:
                run.append(character)
            elif run or spans:
                pieces.append(_piece(line, [*spans, {**span, "chars": run}]))
                spans, run = [], []
            place += 1
        if run:
            spans.append({**span, "chars": run})
    if spans:
        pieces.append(_piece(line, spans))
    return pieces


def _piece(line: dict[str, Any], spans: list[dict[str, Any]]) -> dict[str, Any]:
    return {**line, "spans": spans, "bbox": _around([c for span in spans for c in span["chars"]])}


def _told(hidden: Sequence[_Word], lines: Sequence[dict[str, Any]]) -> Iterator[HiddenText]:
    """Neighbouring words of a line that are hidden for one reason, as one text."""
    run: list[_Word] = []
    for word in hidden:
        if run and (word.line, word.why) != (run[-1].line, run[-1].why):
            yield from _text(run, lines)
            run = []
        run.append(word)
    if run:
        yield from _text(run, lines)


def _text(run: Sequence[_Word], lines: Sequence[dict[str, Any]]) -> Iterator[HiddenText]:
    characters = [c for span in lines[run[0].line]["spans"] for c in span["chars"]]
    text, _ = clean([one["c"] for one in characters[run[0].first : run[-1].end]])
    if text and run[0].why is not None:
        yield HiddenText(text, run[0].why, _joined([word.box for word in run]))


def _around(characters: Sequence[Mapping[str, Any]]) -> Box:
    return _joined([character["bbox"] for character in characters])


def _joined(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return (min(lefts), min(tops), max(rights), max(bottoms))


def _overlap(one: Box, other: Box) -> float:
    """As a share of the smaller box."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min(_area(one), _area(other))
    return width * height / smaller if width > 0 and height > 0 and smaller > 0 else 0.0


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _holds(outer: Box, inner: Box) -> bool:
    """Whether the middle of `inner` stands in `outer`, with all its width."""
    middle = (inner[1] + inner[3]) / 2
    return outer[0] <= inner[0] and inner[2] <= outer[2] and outer[1] <= middle <= outer[3]


def _whole(value: float) -> int:
    return round(value) if abs(value) < 1e9 else 0

"""PDF: bytes -> pages of lines with boxes, and pictures of pages. The only user of PyMuPDF.

Runs in the parser child alone: MuPDF holds the interpreter lock for a whole call, can take any time
and memory, and is given nothing but PDF. Encrypted files need their password here; it goes no
further.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import sub
from typing import Any

# PyMuPDF imports these where they are installed, for features that are not used here; without them
# it is there in a tenth of a second, in a third of the memory, and with no thread beside it, so
# that forking is safe.
for unwanted in ("pymupdf.layout", "pymupdf4llm", "onnxruntime", "numpy"):
    sys.modules.setdefault(unwanted, None)  # type: ignore[arg-type]

import pymupdf  # noqa: E402
from PIL import Image, ImageChops  # noqa: E402
from pymupdf import mupdf  # noqa: E402

from mmapp.documents import hidden, ink  # noqa: E402
from mmapp.documents.characters import clean  # noqa: E402
from mmapp.documents.figures import Painted, PaintedPage  # noqa: E402
from mmapp.documents.limits import Limits, quoted  # noqa: E402
from mmapp.documents.order import Chunk, reading_order  # noqa: E402
from mmapp.documents.quotes import shown_box  # noqa: E402
from mmapp.errors import (  # noqa: E402
    CorruptFile,
    DocumentError,
    EmptyFile,
    EncryptedFile,
    NotFound,
    WrongPassword,
)
from mmapp.types import (  # noqa: E402
    Bookmark,
    Box,
    HiddenText,
    Line,
    Mark,
    Page,
    Source,
)

pymupdf.TOOLS.mupdf_display_errors(False)  # type: ignore[no-untyped-call]
pymupdf.TOOLS.mupdf_display_warnings(False)  # type: ignore[no-untyped-call]

POINTS_PER_INCH = 72.0
#: Who wrote the notes of an annotated file, as viewers show it.
NOTED_BY = "mmapp"
#: Coordinates beyond this are nonsense; PDF's own bound for a page is 14,400.
FARTHEST = 1_000_000.0
#: How far, in line heights, kerning and accents may step back within a line that runs one way.
STEP_BACK = 0.35
NO_MEMORY = re.compile(r"[mc]alloc .*failed|out of memory", re.IGNORECASE)
MUPDF_NUMBER = re.compile(r"^code=\d+: ")
#: Pages between two releases of what MuPDF keeps of fonts and images.
PAGES_KEPT = 50
#: Text of the page and beside it: what stands outside is told, not overlooked.
EVERYWHERE = (-FARTHEST, -FARTHEST, FARTHEST, FARTHEST)
TEXT_FLAGS = pymupdf.TEXTFLAGS_TEXT & ~pymupdf.TEXT_MEDIABOX_CLIP
#: Most pixels of the pictures in which hidden words are looked for.
MAX_LOOK_PIXELS = 16_000_000
#: Entries of a file's own outline that are read, and characters of each; more are no outline.
MOST_BOOKMARKS = 2_000
BOOKMARK_CHARACTERS = 300
#: What MuPDF calls painting that can cover words.
PAINTINGS = ("fill-path", "fill-shade", "fill-image", "fill-imgmask")


@dataclass(slots=True)
class _Found:
    """A line as it was found, and its box as it is shown."""

    text: str
    box: Box
    edges: tuple[float, ...]
    shown: Box
    level: bool
    source: Source


class Pdf:
    """An open PDF."""

    def __init__(self, name: str, data: bytes, password: str | None, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self._document = _open(name, data)
        self.encrypted = bool(self._document.needs_pass)
        if self.encrypted:
            self._unlock(password)
        self.page_count = self._count_pages()
        self._characters = 0
        self._unfolded = self._with_every_layer(data, password)

    def pages(self) -> Iterator[Page]:
        """Each page; one that can't be read has an error, and the rest goes on."""
        failed = 0
        for number in range(1, self.page_count + 1):
            page = self._page(number)
            failed += bool(page.error)
            if failed == self.page_count:
                raise CorruptFile(
                    f"{quoted(self.name)}: none of its {failed:,} pages can be read "
                    f"({page.error}). Open it in a PDF viewer and save it anew."
                )
            yield page
            if number % PAGES_KEPT == 0:
                pymupdf.TOOLS.store_shrink(100)  # type: ignore[no-untyped-call]

    def outline(self) -> list[Bookmark]:
        """The bookmarks that lead to a page; a broken outline is none, the pages are read alike."""
        try:
            entries = self._document.get_toc(simple=True)
        except MemoryError:
            raise
        except Exception:
            return []
        found = []
        for level, title, page in entries[:MOST_BOOKMARKS]:
            text, _ = clean(str(title)[:BOOKMARK_CHARACTERS])
            if text and 1 <= page <= self.page_count:
                found.append(Bookmark(level, text, page))
        return found

    def painted(self) -> Iterator[PaintedPage]:
        """The pictures that each page paints; a page that can't be read has none."""
        for number in range(1, self.page_count + 1):
            try:
                page = self._document.load_page(number - 1)
                whole = tuple(page.rect * page.derotation_matrix)
                found = tuple(_painted(page.get_image_info(), _box(whole)))
            except MemoryError:
                raise
            except Exception:
                found, whole = (), (0.0, 0.0, 0.0, 0.0)
            yield PaintedPage(number, (whole[2] - whole[0]) * (whole[3] - whole[1]), found)
            if number % PAGES_KEPT == 0:
                pymupdf.TOOLS.store_shrink(100)  # type: ignore[no-untyped-call]

    def picture(self, number: int, dpi: int, *, with_text: bool = True) -> Image.Image:
        """A page as it is shown, in RGB; a huge page at as many dots as the settings allow.

        Without its text, only its pictures and drawings are left.
        """
        if not 1 <= number <= self.page_count:
            raise NotFound(
                f"{quoted(self.name)} has no page {number:,}; "
                f"its pages are 1 to {self.page_count:,}."
            )
        try:
            page = self._document.load_page(number - 1)
            if not with_text:
                return _Sheet(page, self.limits.max_pixels).shown_bare(dpi)
            zoom = self._zoom(page.rect, dpi)
            matrix = pymupdf.Matrix(zoom, zoom)  # type: ignore[no-untyped-call]
            pixmap = page.get_pixmap(matrix=matrix, alpha=False)
        except MemoryError:
            raise
        except Exception as problem:
            raise CorruptFile(
                f"Page {number} of {quoted(self.name)} can't be drawn ({_reason(problem)}). "
                f"Open it in a PDF viewer and save it anew."
            ) from None
        size = (pixmap.width, pixmap.height)
        return Image.frombytes("RGB", size, pixmap.samples_mv, "raw", "RGB", pixmap.stride)

    def annotated(self, marks: Sequence[Mark]) -> bytes:
        """The file with each mark highlighted and its note on it; all else stays as it is."""
        try:
            for mark in marks:
                page = self._document.load_page(mark.page - 1)
                # Boxes count on the page before its rotation, as PyMuPDF wants them here.
                quads = [pymupdf.Rect(box).quad for box in mark.boxes]  # type: ignore[no-untyped-call]
                if quads:
                    annotation = page.add_highlight_annot(quads)
                    annotation.set_info(title=NOTED_BY, content=mark.note)
                    annotation.update()
            data: bytes = self._document.tobytes(deflate=True)
        except MemoryError:
            raise
        except Exception as problem:
            raise CorruptFile(
                f"{quoted(self.name)} can't be annotated ({_reason(problem)}). "
                f"Open it in a PDF viewer, save it anew, and summarize that file."
            ) from None
        return data

    def _unlock(self, password: str | None) -> None:
        if not password:
            raise EncryptedFile(
                f"{quoted(self.name)} is encrypted and no password was given. Give its password."
            )
        if not self._document.authenticate(password):
            raise WrongPassword(
                f"The password does not open {quoted(self.name)}. Check capitals and spaces."
            )

    def _count_pages(self) -> int:
        try:
            count = int(self._document.page_count)
        except MemoryError:
            raise
        except Exception as problem:
            raise _corrupt(self.name, _reason(problem)) from None
        self.limits.check_pages(self.name, count)
        if count == 0 and self._document.is_repaired:
            raise _corrupt(self.name, "no page is left in it")
        if count == 0:
            raise EmptyFile(f"{quoted(self.name)} has no pages. Choose another file.")
        return count

    def _page(self, number: int) -> Page:
        width = height = 0.0
        rotation = 0
        try:
            page = self._document.load_page(number - 1)
            width, height = page.rect.width, page.rect.height
            rotation = page.rotation % 360
            empty = Page(number, width, height, rotation=rotation)
            blocks = self._blocks(page)
            sheet = _Sheet(page, self.limits.max_pixels)
            seen, unseen = hidden.without_hidden(blocks, sheet)
            unseen += self._in_layers(number, blocks)
            lines = _lines(seen, empty)
            if not ink.is_text(lines):
                lines = ()
            recognition = ink.recognition(lines, sheet)
        except (DocumentError, MemoryError):
            raise
        except Exception as problem:
            return Page(number, width, height, (), _reason(problem), rotation)
        told = tuple(dataclasses.replace(one, box=_box(one.box)) for one in unseen)
        return dataclasses.replace(empty, lines=lines, hidden=told, recognition=recognition)

    def _blocks(self, page: Any) -> list[dict[str, Any]]:
        text_page = page.get_textpage(clip=EVERYWHERE, flags=TEXT_FLAGS)
        # Counted before the characters are unfolded to hundreds of bytes each.
        self._characters += len(text_page.extractText())
        self.limits.check_characters(self.name, self._characters)
        blocks: list[dict[str, Any]] = text_page.extractRAWDICT()["blocks"]
        return blocks

    def _with_every_layer(self, data: bytes, password: str | None) -> Any:
        """The file once more with all optional layers on; None where none is off."""
        if all(layer["on"] for layer in self._document.get_ocgs().values()):
            return None
        unfolded = _open(self.name, data)
        if self.encrypted:
            unfolded.authenticate(password)
        catalog = unfolded.pdf_catalog()
        unfolded.xref_set_key(catalog, "OCProperties/D/BaseState", "/ON")
        unfolded.xref_set_key(catalog, "OCProperties/D/OFF", "[]")
        return unfolded

    def _in_layers(self, number: int, blocks: list[dict[str, Any]]) -> tuple[HiddenText, ...]:
        """The words of layers that are switched off."""
        if self._unfolded is None:
            return ()
        shown = {
            hidden.character_key(character)
            for block in blocks
            for line in block.get("lines", ())
            for span in line["spans"]
            for character in span["chars"]
        }
        page = self._unfolded.load_page(number - 1)
        return tuple(hidden.layer_words(self._blocks(page), shown))

    def _zoom(self, page: Any, dpi: int) -> float:
        return _zoom(page.width, page.height, dpi, self.limits.max_pixels)


class _Sheet:
    """A page as `hidden` looks at it: before its rotation, each picture made when it is needed."""

    def __init__(self, page: Any, max_pixels: int) -> None:
        self._page, self._rotation = page, page.rotation
        turned = page.rotation % 180 != 0
        width, height = page.rect.width, page.rect.height
        self.width, self.height = (height, width) if turned else (width, height)
        self._max_pixels = min(max_pixels, MAX_LOOK_PIXELS)
        self._bare: dict[int, Image.Image] = {}

    def difference(self) -> Image.Image:
        whole = self._drawn(hidden.LOOK_DPI, with_text=True)
        red, green, blue = ImageChops.difference(whole, self.bare(hidden.LOOK_DPI)).split()
        return ImageChops.lighter(ImageChops.lighter(red, green), blue)

    def bare(self, dpi: int) -> Image.Image:
        if dpi not in self._bare:
            self._bare[dpi] = self._drawn(dpi, with_text=False)
        return self._bare[dpi]

    def shown_bare(self, dpi: int) -> Image.Image:
        """The page without its text, turned as it is shown."""
        turns = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180}
        turns[270] = Image.Transpose.ROTATE_90
        bare = self._drawn(dpi, with_text=False)
        rotation = self._rotation % 360
        return bare.transpose(turns[rotation]) if rotation else bare

    def paintings(self) -> list[tuple[int, Box]]:
        return self._paintings

    @functools.cached_property
    def _paintings(self) -> list[tuple[int, Box]]:
        log = enumerate(self._page.get_bboxlog())
        return [(place, box) for place, (kind, box) in log if kind in PAINTINGS]

    def drawn(self) -> dict[tuple[str, int, int], int]:
        return self._order

    @functools.cached_property
    def _order(self) -> dict[tuple[str, int, int], int]:
        return {
            hidden.character_key({"c": chr(code), "origin": origin}): span["seqno"]
            for span in self._page.get_texttrace()
            for code, _, origin, _ in span["chars"]
        }

    @functools.cached_property
    def _list(self) -> Any:
        """What MuPDF draws, interpreted once."""
        self._page.set_rotation(0)
        try:
            return self._page.get_displaylist().this
        finally:
            self._page.set_rotation(self._rotation)

    def _drawn(self, dpi: int, *, with_text: bool) -> Image.Image:
        zoom = _zoom(self.width, self.height, dpi, self._max_pixels)
        area = mupdf.FzIrect(0, 0, math.ceil(self.width * zoom), math.ceil(self.height * zoom))
        rgb = mupdf.FzColorspace(mupdf.FzColorspace.Fixed_RGB)
        pixmap = mupdf.fz_new_pixmap_with_bbox(rgb, area, mupdf.FzSeparations(), 0)
        mupdf.fz_clear_pixmap_with_value(pixmap, 255)
        scale = mupdf.FzMatrix(zoom, 0, 0, zoom, 0, 0)
        device = mupdf.fz_new_draw_device(scale, pixmap)
        if not with_text:
            # A device that has no function for something leaves it out.
            device.m_internal.fill_text = None
            device.m_internal.stroke_text = None
        everywhere = mupdf.FzRect(mupdf.FzRect.Fixed_INFINITE)
        mupdf.fz_run_display_list(
            self._list, device, mupdf.FzMatrix(), everywhere, mupdf.FzCookie()
        )
        mupdf.fz_close_device(device)
        samples = mupdf.fz_pixmap_samples_memoryview(pixmap)
        size = (pixmap.w(), pixmap.h())
        return Image.frombytes("RGB", size, samples, "raw", "RGB", pixmap.stride())


def _zoom(width: float, height: float, dpi: int, max_pixels: int) -> float:
    """From the page's size, before MuPDF allocates a pixel."""
    zoom = dpi / POINTS_PER_INCH
    # MuPDF rounds outwards, which counts on a page that is thin.
    while (width * zoom + 1) * (height * zoom + 1) > max_pixels:
        zoom *= 0.9
    return zoom


def _open(name: str, data: bytes) -> Any:
    try:
        document = pymupdf.open(stream=data, filetype="pdf")  # type: ignore[no-untyped-call]
    except MemoryError:
        raise
    except Exception as problem:
        raise _corrupt(name, _reason(problem)) from None
    if not document.is_pdf:
        raise _corrupt(name, "there is no PDF behind its first bytes")
    return document


def _corrupt(name: str, reason: str) -> CorruptFile:
    return CorruptFile(
        f"{quoted(name)} looks like a PDF but can't be opened ({reason}). "
        f"Get it again, or open it in a PDF viewer and save it anew."
    )


def _reason(problem: Exception) -> str:
    """What MuPDF says, without its number for it; memory it did not get is our limit, no defect."""
    if NO_MEMORY.search(str(problem)):
        raise MemoryError from None
    text, _ = clean(MUPDF_NUMBER.sub("", str(problem))[:200])
    return text or type(problem).__name__


def _lines(blocks: list[dict[str, Any]], page: Page) -> tuple[Line, ...]:
    """The lines of a page in reading order; turned text (stamps in the margin) comes last."""
    found: list[_Found] = []
    level: list[Chunk] = []
    turned: list[Chunk] = []
    for block in blocks:
        start = len(found)
        for line in block.get("lines", ()):
            read = _line(line, page)
            if read is not None:
                found.append(read)
        if len(found) == start:
            continue
        numbers = tuple(range(start, len(found)))
        chunk = Chunk(numbers, tuple(found[number].shown for number in numbers))
        (level if any(found[number].level for number in numbers) else turned).append(chunk)
    ordered = reading_order(level, page.width) + turned
    return tuple(
        Line(
            found[number].text,
            found[number].box,
            found[number].edges,
            block,
            found[number].source,
        )
        for block, chunk in enumerate(ordered)
        for number in chunk.lines
    )


def _line(line: dict[str, Any], page: Page) -> _Found | None:
    characters = [character for span in line["spans"] for character in span["chars"]]
    text, origins = clean([character["c"] for character in characters])
    if not text:
        return None
    box = _box(line["bbox"])
    level = _is_level(line["dir"], page.rotation)
    edges: tuple[float, ...] = ()
    if level:
        edges = _edges([characters[index]["bbox"] for index in origins], page.rotation)
    source = Source.UNCHECKED if line.get(hidden.OVER_SCAN) else Source.LAYER
    return _Found(text, box, edges, shown_box(page, box), level, source)


def _is_level(direction: tuple[float, float], rotation: int) -> bool:
    """Whether a line runs from left to right on the page as it is shown."""
    along = {0: (1, 0), 90: (0, -1), 180: (-1, 0), 270: (0, 1)}[rotation]
    return math.dist(direction, along) < 0.01


def _edges(boxes: list[Box], rotation: int) -> tuple[float, ...]:
    """Where each character begins and the last one ends; empty for lines that mix directions."""
    axis = rotation % 180 // 90
    forward = 1 if rotation in (0, 270) else -1
    near, far = (axis, axis + 2) if forward == 1 else (axis + 2, axis)
    step_back = STEP_BACK * (boxes[0][3 - axis] - boxes[0][1 - axis])
    for direction, begin, end in ((forward, near, far), (-forward, far, near)):
        edges = [box[begin] for box in boxes]
        edges.append(boxes[-1][end])
        steps = map(sub, edges[1:], edges) if direction == 1 else map(sub, edges, edges[1:])
        # Not so for infinities and what is no number, which broken fonts give.
        if min(steps) >= -step_back and max(edges) - min(edges) < FARTHEST:
            return tuple(_spread(edges))
    return ()


def _spread(edges: list[float]) -> list[float]:
    """Where one glyph stands for several characters, MuPDF gives all its width to the first."""
    if len(set(edges)) == len(edges):
        return edges
    spread = list(edges)
    first = 0
    while first < len(edges) - 1:
        last = first + 1
        while last < len(edges) - 1 and edges[last + 1] == edges[last]:
            last += 1
        step = (edges[last] - edges[first]) / (last - first)
        for index in range(first + 1, last):
            spread[index] = edges[first] + step * (index - first)
        first = last
    return spread


def _painted(infos: Sequence[dict[str, Any]], page: Box) -> Iterator[Painted]:
    """Pictures as far as they lie on the page."""
    for info in infos:
        x0, y0, x1, y1 = _box(info["bbox"])
        box = (max(x0, page[0]), max(y0, page[1]), min(x1, page[2]), min(y1, page[3]))
        if box[0] < box[2] and box[1] < box[3]:
            yield Painted(box, (info["width"], info["height"], info["size"]))


def _box(box: tuple[float, ...]) -> Box:
    x0, y0, x1, y1 = (_finite(value) for value in box)
    return (x0, y0, x1, y1)


def _finite(value: float) -> float:
    """Hundredths of a point, within what a page can be; broken fonts give infinities."""
    if math.isnan(value):
        return 0.0
    return round(min(max(value, -FARTHEST), FARTHEST), 2)

"""Files made on the spot: PDFs object by object, good and bad, and pictures."""

from __future__ import annotations

import io
import zlib

from PIL import Image

from benchmarks.mutants import pdf, stream

CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"


def written(*contents: bytes, box: str = "0 0 600 800", rotate: int = 0) -> bytes:
    """A PDF with a page for each content stream; font F is Helvetica."""
    pages = [4 + 2 * index for index in range(len(contents))]
    kids = " ".join(f"{page} 0 R" for page in pages)
    objects = [CATALOG, f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode(), FONT]
    for page, content in zip(pages, contents, strict=True):
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[{box}]/Rotate {rotate}/Contents {page + 1} 0 R"
            "/Resources<</Font<</F 3 0 R>>>>>>".encode()
        )
        objects.append(stream(content))
    return pdf(objects)


def line(x: float, y: float, words: str, size: int = 12) -> bytes:
    """Content that writes a line; y counts from the bottom."""
    return f"BT /F {size} Tf {x} {y} Td ({words}) Tj ET\n".encode("cp1252")


def laughs(depth: int = 9) -> bytes:
    """Forms that each draw the next ten times: 10 to the power of `depth` rectangles."""
    form = "/Type/XObject/Subtype/Form/BBox[0 0 200 200]"
    objects = [
        CATALOG,
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R"
        b"/Resources<</XObject<</F 5 0 R>>>>>>",
        stream(b"/F Do"),
    ]
    for level in range(depth):
        entries = f"{form}/Resources<</XObject<</F {6 + level} 0 R>>>>".encode()
        objects.append(stream(b"/F Do " * 10, entries))
    return pdf([*objects, stream(b"0 0 1 1 re f", form.encode())])


def text_bomb(megabytes: int) -> bytes:
    """One page of `megabytes` of text operators, in a few hundred bytes."""
    operators = line(10, 10, "a" * 60) * (megabytes * 1_000_000 // 90)
    packed = zlib.compress(zlib.compress(operators, 9), 9)
    content = stream(packed, b"/Filter[/FlateDecode/FlateDecode]")
    page = (
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R"
        b"/Resources<</Font<</F 5 0 R>>>>>>"
    )
    return pdf([CATALOG, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, content, FONT])


def picture(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image

"""Mutants: files that are broken, or built to harm who reads them, all made from seeds by chance.

Some are real files with bytes changed; the others are written to say one impossible thing. Called
by `benchmarks.hostile`; the same seed makes the same files.
"""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

#: How files of several kinds begin.
HEADS = (
    b"\x89PNG\r\n\x1a\n",
    b"%PDF-1.7\n",
    b"GIF89a",
    b"PK\x03\x04",
    b"MZ\x90\0",
    b"\xff\xd8",
)

Mutation = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True, slots=True)
class Mutant:
    #: What was done.
    kind: str
    name: str
    data: bytes


def mutants(seeds: Sequence[tuple[str, bytes]], count: int, seed: int) -> Iterator[Mutant]:
    """`count` files, of each kind about as many; `seeds` are names and bytes of good files."""
    chance = random.Random(seed)
    kinds = [*CHANGES, *INVENTIONS]
    for number in range(count):
        kind = kinds[number % len(kinds)]
        if kind in CHANGES:
            name, data = chance.choice(seeds)
            yield Mutant(kind, f"{number}-{name}", CHANGES[kind](data, chance))
        else:
            suffix, invent = INVENTIONS[kind]
            yield Mutant(kind, f"{number}.{suffix}", invent(chance))


def _flip_bits(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 4, 16, 64, 256))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _cut_out(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randrange(1, 4096) :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start : start + 2000] * chance.randrange(2, 50) + data[start:]


def _change_numbers(data: bytes, chance: random.Random) -> bytes:
    """Numbers of the structure become others: lengths, references, sizes."""

    def other(match: re.Match[bytes]) -> bytes:
        if chance.random() > 0.05:
            return match[0]
        return str(chance.choice((0, -1, 1, 2**31, 2**63, chance.randrange(10**6)))).encode()

    return re.sub(rb"(?<=[ \[])\d{1,7}(?=[ \]])", other, data)


def _rename(data: bytes, chance: random.Random) -> bytes:
    """Good bytes behind the beginning of another kind of file."""
    return chance.choice(HEADS) + data


CHANGES: dict[str, Mutation] = {
    "bits flipped": _flip_bits,
    "truncated": _truncate,
    "a part cut out": _cut_out,
    "a part repeated": _repeat,
    "numbers changed": _change_numbers,
    "another beginning": _rename,
}


def pdf(objects: Sequence[bytes]) -> bytes:
    """A PDF of these objects, numbered from 1; the first is the catalog."""
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % table)


def stream(data: bytes, entries: bytes = b"") -> bytes:
    return b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(data), entries, data)


CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
FONT = b"<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
WORDS = b"BT /F1 12 Tf 72 700 Td (The ship left port late. It sank.) Tj ET"


def _page(box: bytes = b"[0 0 612 792]", resources: bytes = FONT, contents: int = 4) -> bytes:
    return b"<< /Type /Page /Parent 2 0 R /MediaBox %b /Resources %b /Contents %d 0 R >>" % (
        box,
        resources,
        contents,
    )


def _looping_pages(chance: random.Random) -> bytes:
    """A tree of pages whose branches are their own parents."""
    count = chance.choice((1, 2, 10**6))
    kids = b" ".join(chance.choice((b"2 0 R", b"3 0 R")) for _ in range(chance.randrange(1, 5)))
    inner = b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count %d /Parent 3 0 R >>" % count
    return pdf([CATALOG, b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, count), inner])


def _huge_box(chance: random.Random) -> bytes:
    side = chance.choice((b"1e9", b"99999999", b"-5000", b"0", b"0.0001", b"1e39", b"20000"))
    other = chance.choice((side, b"792"))
    pages = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    box = b"[0 0 %b %b]" % (side, other)
    return pdf([CATALOG, pages, _page(box), stream(WORDS)])


def _nested_streams(chance: random.Random) -> bytes:
    """Zeros, deflated again and again: a few bytes that become gigabytes."""
    depth = chance.randrange(2, 5)
    data = bytes(chance.choice((10**6, 10**7)))
    for _ in range(depth):
        data = zlib.compress(data, 9)
    filters = b"/Filter [%b]" % b" ".join([b"/FlateDecode"] * depth)
    pages = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    return pdf([CATALOG, pages, _page(), stream(data, filters)])


def _nested_forms(chance: random.Random) -> bytes:
    """Forms that draw forms: each level doubles the work, or the last draws the first."""
    depth = chance.choice((2, 6, 10, 40))
    pages = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    first = 5
    page = _page(resources=b"<< /XObject << /X %d 0 R >> >>" % first)
    forms = []
    for level in range(depth):
        below = first + level + 1 if level + 1 < depth else chance.choice((first, first + level))
        entries = b"/Type /XObject /Subtype /Form /BBox [0 0 612 792]"
        entries += b" /Resources << /XObject << /X %d 0 R >> >>" % below
        forms.append(stream(b"/X Do /X Do", entries))
    return pdf([CATALOG, pages, page, stream(b"/X Do"), *forms])


def _deep_arrays(chance: random.Random) -> bytes:
    depth = chance.choice((100, 10_000, 100_000))
    return pdf([CATALOG, b"[" * depth + b"]" * chance.choice((0, depth))])


def _png_bomb(chance: random.Random) -> bytes:
    """A picture of thousands of millions of pixels in a few kilobytes."""
    side = chance.choice((2**31 - 1, 60_000, 20_000, 9_000))
    head = struct.pack(">IIBBBBB", side, side, 8, chance.choice((0, 2, 6)), 0, 0, 0)
    rows = zlib.compress(bytes(10**6), 9)
    chunks = [(b"IHDR", head), (b"IDAT", rows * chance.randrange(1, 4)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def _gif_bomb(chance: random.Random) -> bytes:
    """Thousands of frames, each of the largest size."""
    size = struct.pack("<HH", 65_535, 65_535)
    frame = b"," + bytes(4) + size + b"\0" + b"\x02\x02\x4c\x01\0"
    return b"GIF89a" + size + b"\x80\0\0" + bytes(6) + frame * chance.choice((1, 10_000)) + b";"


def _looping_tiff(_chance: random.Random) -> bytes:
    """A directory of images whose next one is itself."""
    entry = struct.pack("<HHII", 256, 4, 1, 10)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 8)


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(0, 5_000))


def _wrong_text(chance: random.Random) -> bytes:
    """Text with marks of many encodings, control characters and one endless word."""
    chinese = "你好。".encode("gb18030")
    parts = (b"\xff\xfe", b"\xed\xa0\x80", chinese, b"\0", b"a" * 2_000, b"\x1b[2J", b"It sank.")
    return b"Words. " + b" ".join(chance.choice(parts) for _ in range(20))


INVENTIONS: dict[str, tuple[str, Callable[[random.Random], bytes]]] = {
    "looping page tree": ("pdf", _looping_pages),
    "huge page": ("pdf", _huge_box),
    "nested streams": ("pdf", _nested_streams),
    "nested forms": ("pdf", _nested_forms),
    "deep arrays": ("pdf", _deep_arrays),
    "image bomb": ("png", _png_bomb),
    "bomb of frames": ("gif", _gif_bomb),
    "looping TIFF": ("tiff", _looping_tiff),
    "noise": ("pdf", _noise),
    "wrong text": ("txt", _wrong_text),
}

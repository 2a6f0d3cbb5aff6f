"""What kind of file it is, told by content and never by name.

Runs beside everything else, so it only compares bytes: no library opens the file here. What can't
be read is refused with what it looks like and what to do. Called by `reader`, and by whoever wants
to know before reading.
"""

from __future__ import annotations

import re

from mmapp.documents import text
from mmapp.documents.limits import quoted
from mmapp.errors import EmptyFile, UnsupportedFile
from mmapp.types import MediaType

IMAGES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), MediaType.PNG),
    (re.compile(rb"\xff\xd8\xff"), MediaType.JPEG),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), MediaType.WEBP),
    (re.compile(rb"II[\*+]\x00|MM\x00[\*+]"), MediaType.TIFF),
    (re.compile(rb"GIF8[79]a"), MediaType.GIF),
)
#: Other bytes may stand before it, say PDF's readers; but text may speak of it too.
PDF_HEADER = re.compile(rb"%PDF-")
PDF_HEADER_WITHIN = 1024
PDF_OBJECT = re.compile(rb"\d\s+obj\b")

AS_PDF = "Save it as PDF, and add that."
AS_PICTURE = "Save it as JPEG or PNG, and add that."
PRINT = "Print it to PDF in a browser, and add that."
UNPACK = "Unpack it, and add the files inside."
#: Of the zip files, told by a name inside.
ZIPPED = (
    (b"word/", "a Word document (docx)", AS_PDF),
    (b"xl/", "an Excel workbook (xlsx)", AS_PDF),
    (b"ppt/", "a PowerPoint presentation (pptx)", AS_PDF),
    (b"application/vnd.oasis.opendocument", "an OpenDocument file", AS_PDF),
    (b"application/epub+zip", "an EPUB book", AS_PDF),
    (b"META-INF/MANIFEST.MF", "a Java archive", UNPACK),
)
BINARY = (
    (rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", "a zip archive", UNPACK),
    (
        rb"\x1f\x8b|BZh\d|\xfd7zXZ\x00|7z\xbc\xaf\x27\x1c|Rar!|\x28\xb5\x2f\xfd",
        "an archive",
        UNPACK,
    ),
    (rb".{257}ustar", "a tar archive", UNPACK),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office file", AS_PDF),
    (rb"\xc5\xd0\xd3\xc6", "a PostScript file", AS_PDF),
    (rb"AT&TFORM", "a DjVu file", AS_PDF),
    (rb"....ftyp(?:hei|hev|mif1|msf1|avi[fs])", "a HEIC or AVIF photo", AS_PICTURE),
    (rb"BM.{4}\x00{4}", "a BMP image", AS_PICTURE),
    (rb"8BPS", "a Photoshop file", AS_PICTURE),
    (rb"\x00\x00\x01\x00", "an icon", AS_PICTURE),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image", AS_PICTURE),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL image", AS_PICTURE),
    (rb"MZ|\x7fELF|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", "a program", "Programs are not read."),
    (
        rb"....ftyp|RIFF....AVI |\x1aE\xdf\xa3",
        "a video",
        "Videos are not read; add pictures of it.",
    ),
    (rb"ID3|\xff[\xfb\xf3\xf2]|OggS|fLaC|RIFF....WAVE", "a sound file", "Sounds are not read."),
    (rb"SQLite format 3\x00", "a database", "Export what should be read as text or PDF."),
)
PROLOGUE = rb"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*"
MARKUP = (
    (rb"\{\\rtf", "a rich text file (RTF)", AS_PDF),
    (rb"%!PS", "a PostScript file", AS_PDF),
    (PROLOGUE + rb"(?:<!doctype svg[^>]*>\s*)?<svg[\s>]", "an SVG drawing", AS_PICTURE),
    (PROLOGUE + rb"<(?:!doctype html|html|head|body)[\s>]", "a web page (HTML)", PRINT),
    (rb"<\?xml\s", "an XML file", AS_PDF),
)
READABLE = "PDF, PNG, JPEG, WebP, TIFF, GIF, Markdown and plain text can be read."


def sniff(data: bytes, name: str = "the file") -> MediaType:
    """The kind of `data`; raises `EmptyFile` or `UnsupportedFile`."""
    if not data:
        raise EmptyFile(f"{quoted(name)} has 0 bytes. Choose another file, or get it again.")
    for pattern, media_type in IMAGES:
        if pattern.match(data):
            return media_type
    if _is_pdf(data):
        return MediaType.PDF
    encoding = text.find_encoding(data)
    if encoding is None:
        raise _not_text(name, data)
    beginning = data[:PDF_HEADER_WITHIN].removeprefix(b"\xef\xbb\xbf").lstrip()
    for markup, looks_like, remedy in MARKUP:
        if re.match(markup, beginning, re.DOTALL | re.IGNORECASE):
            raise _unsupported(name, looks_like, remedy)
    return MediaType.MARKDOWN if text.is_markdown(data, encoding) else MediaType.TEXT


def _is_pdf(data: bytes) -> bool:
    header = PDF_HEADER.search(data[:PDF_HEADER_WITHIN])
    if header is None:
        return False
    return header.start() == 0 or PDF_OBJECT.search(data) is not None


def _not_text(name: str, data: bytes) -> UnsupportedFile:
    for pattern, looks_like, remedy in BINARY:
        if re.match(pattern, data[:PDF_HEADER_WITHIN], re.DOTALL):
            if looks_like == "a zip archive":
                looks_like, remedy = _zipped(data)
            return _unsupported(name, looks_like, remedy)
    return UnsupportedFile(
        f"{quoted(name)} is of no known kind. {READABLE} "
        f"If it is text, save it as UTF-8; if not, save it as PDF."
    )


def _zipped(data: bytes) -> tuple[str, str]:
    # The names stand at the end, the first of them also at the beginning.
    names = data[:4096] + data[-65_536:]
    for sign, looks_like, remedy in ZIPPED:
        if sign in names:
            return looks_like, remedy
    return "a zip archive", UNPACK


def _unsupported(name: str, looks_like: str, remedy: str) -> UnsupportedFile:
    return UnsupportedFile(f"{quoted(name)} looks like {looks_like}. {READABLE} {remedy}")

"""The files that the browser uploads, made here so that every word and place in them is known."""

from __future__ import annotations

import io
from pathlib import Path

FIRST = "The old bridge over the river was closed to all traffic on Monday morning."
SECOND = "Engineers found deep cracks in two of the seven piers that carry the bridge."
THIRD = "The repair will cost four million and the bridge will open again in spring."
CHINESE = ("周一上午，河上的旧桥对所有车辆关闭。", "工程师在七个桥墩中的两个发现了很深的裂缝。")
PASSWORD = "kaffee"


def pdf(folder: Path, name: str = "bridge.pdf", *, password: str = "") -> Path:
    """Three pages with one sentence each, at (72, 100) in points from the top left."""
    import pymupdf

    with pymupdf.open() as document:
        for sentence in (FIRST, SECOND, THIRD):
            document.new_page(width=595, height=842).insert_text((72, 100), sentence, fontsize=11)
        options = (
            {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "user_pw": password} if password else {}
        )
        return write(folder / name, document.tobytes(**options))


def chinese_text(folder: Path) -> Path:
    return write(folder / "旧桥.txt", "\n\n".join(CHINESE).encode())


def photo(folder: Path, name: str, colour: str) -> Path:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (160, 120), "white")
    ImageDraw.Draw(picture).rectangle((50, 30, 110, 100), fill=colour)
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return write(folder / name, file.getvalue())


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path

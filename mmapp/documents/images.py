"""Image files: bytes -> clean pictures, and the encoding in which pictures are kept.

Runs in the parser child alone. Pillow is told which format it may try, and each frame's size is
checked before it is decoded. What comes out has the pixels and nothing else: upright, RGB, without
metadata, encoded anew, so that no trick in the file reaches a browser.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.ImageCms import PyCMSError

# Loaded before the child forks; `Image.open` would look for them each time.
from PIL import (  # isort: skip
    GifImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from mmapp.documents.limits import Limits, plain_name, quoted
from mmapp.errors import CorruptFile, DocumentError
from mmapp.types import MediaType

# Pillow only warns up to twice its own bound; the settings' bound is checked here, and is final.
Image.MAX_IMAGE_PIXELS = None

#: Pillow's names of the kinds.
FORMATS = {
    MediaType.PNG: "PNG",
    MediaType.JPEG: "JPEG",
    MediaType.WEBP: "WEBP",
    MediaType.TIFF: "TIFF",
    MediaType.GIF: "GIF",
}
#: Of full colour resolution; differences are not seen.
JPEG_QUALITY = 92
JPEG_MAX_SIDE = 65_500
#: Drawings are kept exactly (PNG) unless that takes this many times more bytes than JPEG.
EXACT_IS_WORTH = 2.5
#: Side of the piece from the middle on which this is tried.
SAMPLE_SIDE = 512


def pictures(
    name: str, data: bytes, media_type: MediaType, limits: Limits
) -> Iterator[Image.Image]:
    """Every frame of the file as an upright RGB picture."""
    try:
        with Image.open(io.BytesIO(data), formats=(FORMATS[media_type],)) as image:
            limits.check_pixels(name, *image.size)
            count = _count_frames(image, media_type)
            limits.check_pages(name, count, "frames")
            for number in range(count):
                image.seek(number)
                limits.check_pixels(name, *image.size)
                yield plain(image)
    except (DocumentError, MemoryError):
        raise
    except Exception as problem:
        raise CorruptFile(
            f"{quoted(name)} looks like {FORMATS[media_type]} but can't be opened "
            f"({_reason(problem)}). Get it again, or open it in an image viewer and save it anew."
        ) from None


def encode(picture: Image.Image) -> bytes:
    """PNG for drawings and text, JPEG for photos: whichever the middle of the picture asks for."""
    jpeg_fits = max(picture.size) <= JPEG_MAX_SIDE
    if jpeg_fits:
        middle = _middle(picture)
        exact = len(_encoded(middle, MediaType.PNG))
        jpeg_fits = exact > EXACT_IS_WORTH * len(_encoded(middle, MediaType.JPEG))
    return _encoded(picture, MediaType.JPEG if jpeg_fits else MediaType.PNG)


def plain(image: Image.Image) -> Image.Image:
    """An upright RGB copy of the current frame, in sRGB, over white where it is transparent."""
    picture = _in_rgb(ImageOps.exif_transpose(image))
    # What stands here would be saved again: comments, positions, profiles.
    picture.info = {}
    return picture


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGB", over.size, "white")
        white.paste(over, mask=over.getchannel("A"))
        return white
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image).convert("RGB")
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        return _standard_colours(image, profile)
    return image.convert("RGB")


def _count_frames(image: Image.Image, media_type: MediaType) -> int:
    # What else is in a JPEG is a preview or a depth map of the same picture.
    return 1 if media_type is MediaType.JPEG else int(getattr(image, "n_frames", 1))


def _reason(problem: Exception) -> str:
    if isinstance(problem, UnidentifiedImageError):
        return "its header is broken"
    return plain_name(str(problem) or type(problem).__name__)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 and 32 bit grey: by the range of 16 bit, or by the picture's own range beyond that."""
    if image.mode == "I;16":
        low, high = 0.0, 65535.0
    else:
        image = image.convert("F") if image.mode == "F" else image.convert("I")
        extrema = image.getextrema()
        low, high = float(extrema[0]), float(extrema[1])  # type: ignore[arg-type]
        if image.mode == "I" and low >= 0 and 255 < high <= 65535:
            low, high = 0.0, 65535.0
    scale = 255.0 / (high - low) if high > low else 0.0
    wide = image.convert("F") if image.mode != "F" else image
    return wide.point(lambda value: value * scale - low * scale).convert("L")


def _standard_colours(image: Image.Image, profile: bytes) -> Image.Image:
    """By the picture's own profile to sRGB; a broken profile is passed over, as viewers do."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (PyCMSError, OSError, ValueError):
        return image.convert("RGB")
    return converted if converted is not None else image.convert("RGB")


def _middle(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    left, top = max(0, (width - SAMPLE_SIDE) // 2), max(0, (height - SAMPLE_SIDE) // 2)
    return picture.crop((left, top, min(width, left + SAMPLE_SIDE), min(height, top + SAMPLE_SIDE)))


def _encoded(picture: Image.Image, media_type: MediaType) -> bytes:
    stream = io.BytesIO()
    if media_type is MediaType.JPEG:
        picture.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    else:
        picture.save(stream, "PNG")
    return stream.getvalue()

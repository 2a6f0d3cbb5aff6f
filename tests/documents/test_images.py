import pytest
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from mmapp.errors import CorruptFile, FileTooLarge
from tests.documents.craft import opened, picture


def noise(width, height):
    return Image.effect_noise((width, height), 90).convert("RGB")


def read_one(reader, data):
    read = reader.read("a.png", data)
    (image,) = read.images
    return opened(image)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_each_kind_of_image_gives_one_page_with_its_pixels(reader, kind):
    image = Image.new("RGB", (60, 40), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 29, 39), fill=(200, 0, 0))
    read = reader.read("a", picture(image, kind))
    assert read.document.media_type.name == kind
    (page,) = read.pages
    assert (page.number, page.width, page.height, page.lines) == (1, 60, 40, ())
    clean = opened(read.images[0])
    assert clean.size == (60, 40)
    assert max(abs(a - b) for a, b in zip(clean.getpixel((5, 20)), (200, 0, 0), strict=True)) < 12
    assert min(clean.getpixel((50, 20))) > 243


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
def test_every_frame_is_a_page(reader, kind):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    frames = [Image.new("RGB", (30, 20), colour) for colour in colours]
    data = picture(frames[0], kind, save_all=True, append_images=frames[1:])
    read = reader.read("a", data)
    assert [page.number for page in read.pages] == [1, 2, 3]
    seen = [opened(image).getpixel((10, 10)) for image in read.images]
    assert [pixel.index(max(pixel)) for pixel in seen] == [0, 1, 2]


def test_the_preview_inside_a_photo_is_no_page(reader):
    data = picture(noise(40, 40), "MPO", save_all=True, append_images=[noise(20, 20)])
    assert len(reader.read("a.jpg", data).pages) == 1


def test_a_photo_is_turned_upright_and_its_metadata_is_gone(reader):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Camera of somebody"
    data = picture(noise(60, 40), "JPEG", exif=exif, comment=b"a secret comment")
    (image,) = reader.read("a.jpg", data).images
    assert opened(image).size == (40, 60)
    assert not opened(image).getexif()
    assert b"Camera" not in image
    assert b"secret" not in image


def test_the_words_in_a_png_are_gone(reader):
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Author", "somebody secret")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = picture(Image.new("RGB", (9, 9)), "PNG", pnginfo=notes, icc_profile=srgb)
    (image,) = reader.read("a.png", data).images
    assert opened(image).info == {}
    assert b"secret" not in image


def test_transparency_is_seen_over_white(reader):
    for image in (
        Image.new("RGBA", (8, 8), (255, 0, 0, 0)),
        Image.new("LA", (8, 8), (0, 0)),
    ):
        assert read_one(reader, picture(image, "PNG")).getpixel((4, 4)) == (255, 255, 255)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30] * 256)
    data = picture(palette, "PNG", transparency=0)
    assert read_one(reader, data).getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (Image.new("I;16", (8, 8), 32768), "PNG"),
        (Image.new("I;16", (8, 8), 32768), "TIFF"),
        (Image.new("L", (8, 8), 128), "PNG"),
        (Image.new("CMYK", (8, 8), (0, 0, 0, 127)), "TIFF"),
    ],
)
def test_other_depths_and_colours_become_plain_rgb(reader, image, kind):
    clean = read_one(reader, picture(image, kind))
    assert clean.mode == "RGB"
    assert all(abs(channel - 128) <= 2 for channel in clean.getpixel((4, 4)))


def test_wide_greys_span_black_to_white(reader):
    image = Image.new("F", (2, 1))
    image.putpixel((0, 0), -1.5)
    image.putpixel((1, 0), 4.5)
    clean = read_one(reader, picture(image, "TIFF"))
    assert (clean.getpixel((0, 0))[0], clean.getpixel((1, 0))[0]) == (0, 255)


def test_drawings_stay_exact_and_photos_stay_small(reader):
    drawing = Image.new("RGB", (400, 300), "white")
    ImageDraw.Draw(drawing).text((20, 20), "Some words", fill="black")
    (kept,) = reader.read("a.png", picture(drawing, "PNG")).images
    assert opened(kept).format == "PNG"
    assert opened(kept).tobytes() == drawing.tobytes()
    photo = noise(400, 300).resize((1600, 1200), Image.Resampling.BICUBIC)
    (kept,) = reader.read("a.png", picture(photo, "PNG")).images
    assert opened(kept).format == "JPEG"


def test_too_many_pixels_are_refused_before_they_are_decoded(limited):
    data = picture(Image.new("1", (5000, 5000)), "PNG")
    assert len(data) < 10_000
    with pytest.raises(
        FileTooLarge, match=r"5,000 x 5,000 = 25,000,000 pixels; at most 1,000,000.*MAX_PIXELS"
    ):
        limited(max_pixels=1_000_000).read("a.png", data)


def test_too_many_frames_are_refused(limited):
    frames = [Image.new("L", (4, 4), n) for n in range(9)]
    data = picture(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    with pytest.raises(FileTooLarge, match=r"9 frames; at most 8.*MMAPP_MAX_PAGES"):
        limited(max_pages=8).read("a.tif", data)


def test_pictures_that_unfold_from_a_small_file_are_bounded(limited):
    frames = [Image.new("1", (2000, 2000), n % 2) for n in range(40)]
    data = picture(frames[0], "TIFF", save_all=True, append_images=frames[1:], compression="group4")
    with pytest.raises(FileTooLarge, match="unfold to pictures"):
        limited(max_bytes=len(data) + 1000).read("a.tif", data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_a_broken_image_is_refused_with_what_to_do(reader, kind):
    data = picture(noise(200, 200), kind)
    for broken in (data[: len(data) // 2], data[:20]):
        with pytest.raises(
            CorruptFile, match=f'"a.img" looks like {kind} .*save it anew'
        ) as caught:
            reader.read("a.img", broken)
        assert "BytesIO" not in str(caught.value)


def test_a_file_that_is_both_image_and_pdf_is_only_an_image(reader):
    data = picture(noise(20, 20), "JPEG") + b"%PDF-1.7\n1 0 obj\n<</JS(x)>>\nendobj"
    (image,) = reader.read("a.pdf", data).images
    assert b"%PDF" not in image


def test_an_image_is_shown_in_the_colours_of_its_profile(reader):
    """A profile that swaps nothing but lightens: Lab's neighbour XYZ, linear in light."""
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    pixels = picture(Image.new("RGB", (8, 8), (60, 60, 60)), "PNG")
    plain = read_one(reader, pixels).getpixel((4, 4))
    broken = picture(opened(pixels), "PNG", icc_profile=b"no profile")
    assert read_one(reader, broken).getpixel((4, 4)) == plain == (60, 60, 60)
    other = read_one(reader, picture(opened(pixels), "PNG", icc_profile=linear))
    assert other.mode == "RGB"

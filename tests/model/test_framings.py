import subprocess
import sys

import pytest
from PIL import Image

from model.framings import WHOLE, Framing, framings


def photo() -> Image.Image:
    """Left half black, right half white, 40 by 20."""
    picture = Image.new("L", (40, 20), "black")
    picture.paste("white", (20, 0, 40, 20))
    return picture


def test_the_whole_photo_comes_first_and_alone_unless_the_profile_names_others() -> None:
    assert framings({}) == (WHOLE,)
    named = framings({"framings": [{"share": 0.5}, {"share": 0.5, "mirrored": True}]})
    assert named == (WHOLE, Framing(0.5), Framing(0.5, mirrored=True))


def test_a_framing_shows_the_middle() -> None:
    assert WHOLE.of(photo()).tobytes() == photo().tobytes()
    near = Framing(0.5).of(photo())
    assert near.size == (20, 10)
    assert (near.getpixel((0, 0)), near.getpixel((19, 0))) == (0, 255)
    mirrored = Framing(0.5, mirrored=True).of(photo())
    assert (mirrored.getpixel((0, 0)), mirrored.getpixel((19, 0))) == (255, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 1)])
def test_of_the_smallest_photo_something_is_left(size: tuple[int, int]) -> None:
    assert min(Framing(0.1).of(Image.new("RGB", size)).size) >= 1


@pytest.mark.parametrize("share", [0.0, -1.0, 1.1])
def test_a_framing_of_nothing_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="up to 1"):
        Framing(share)


def test_framings_load_no_torch() -> None:
    code = "import sys, model.framings; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

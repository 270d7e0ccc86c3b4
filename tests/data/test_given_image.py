"""One image as a user gives it becomes the pixels that its file has."""

import io

import numpy as np
import pytest
from PIL import Image

from kmodels import InputError
from kmodels.data.given_image import pixels_of
from kmodels.data.pillow_reading import UnreadableError


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_pillow_image_and_its_array_are_read_as_its_file(mode, channels, tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 4), np.uint8)).convert(mode)
    picture.save(tmp_path / "one.png")
    expected = pixels_of(tmp_path / "one.png", (8, 8, channels))
    assert expected.shape == (8, 8, channels)
    assert np.array_equal(pixels_of(picture, (8, 8, channels)), expected)
    if mode in ("L", "RGB", "RGBA"):
        assert np.array_equal(pixels_of(np.asarray(picture), (8, 8, channels)), expected)


def test_a_photograph_of_a_camera_is_upright():
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # Turned by a quarter.
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    found = pixels_of(Image.open(buffer), (12, 8, 3))
    assert np.array_equal(found, pixels_of(buffer.getvalue(), (12, 8, 3)))
    assert np.array_equal(found, np.rot90(pixels, -1))


def test_more_than_eight_bits_and_damaged_files_are_unreadable():
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(buffer, "PNG")
    damaged = Image.open(io.BytesIO(buffer.getvalue()[:60]))
    for picture, message in ((Image.new("I;16", (9, 9)), "8 bits"), (damaged, "."), (Image.new("L", (0, 3)), "no pix")):
        with pytest.raises(UnreadableError, match=message):
            pixels_of(picture, (8, 8, 3))


def test_a_path_with_a_nul_is_refused():
    with pytest.raises(InputError, match="NUL"):
        pixels_of("a\0b.png", (8, 8, 3))

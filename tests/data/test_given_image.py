"""One image as a user gives it becomes the pixels that its file has."""

import io
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from PIL import Image, ImageOps

from kmodels import InputError
from kmodels.data import given_image, load_dataset
from kmodels.data.file_sources import Folder
from kmodels.data.given_image import pixels_of
from kmodels.data.pillow_reading import UnreadableError, open_rgb


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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(orientation):
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    picture.save(buffer, "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    assert np.array_equal(pixels_of(buffer.getvalue(), (8, 8, 3)), expected)
    assert np.array_equal(pixels_of(Image.open(buffer), (8, 8, 3)), expected)


# (tag, type, how many, value): a resolution of bytes, and a width of text.
@pytest.mark.parametrize("damaged", [(0x011A, 7, 4, b"abcd"), (0x0100, 2, 4, b"abc\0")])
def test_damaged_exif_data_leave_the_image_readable_and_upright(damaged):
    entries = sorted([(0x0112, 3, 1, b"\6\0\0\0"), damaged])
    packed = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + bytes(4)
    pixels, buffer = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8), io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    assert np.array_equal(pixels_of(buffer.getvalue(), (8, 8, 3)), np.rot90(pixels, -1))


def test_a_bitmap_of_three_channels_in_sixteen_bits_has_eight_a_channel_or_less():
    header = b"BM" + struct.pack("<IHHI", 66 + 128, 0, 0, 66)
    header += struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 16, 3, 128, 0, 0, 0, 0)
    header += struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    found = pixels_of(header + struct.pack("<H", 0xF81F) * 64, (8, 8, 3))
    assert (found == (255, 0, 255)).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
    picture = coarse.resize((1600, 1200), Image.Resampling.BICUBIC)
    for name in ("one.jpg", "one.png"):
        picture.save(tmp_path / name, exif=exif, quality=92)
    upright = (1600, 1200) if orientation == 1 else (1200, 1600)
    with open_rgb(Folder(tmp_path), "one.jpg", (64, 80)) as opened:
        assert opened.size == upright
        # At least twice as large as needed, whichever way the image lies.
        assert sorted(opened.image.size) == [150, 200] or sorted(opened.image.size) == [300, 400]
        assert min(opened.image.size) >= 2 * 64
    for whole in (("one.jpg", None), ("one.jpg", (700, 700)), ("one.png", (64, 80))):
        with open_rgb(Folder(tmp_path), *whole) as opened:
            assert opened.image.size == opened.size == upright
    found, expected = (
        pixels_of(image, (64, 64, 3)).astype(float)
        for image in (tmp_path / "one.jpg", Image.open(tmp_path / "one.jpg"))
    )
    assert np.abs(found - expected).mean() < 1
    assert np.abs(found - expected).max() < 8


def test_a_network_is_given_the_pixels_that_it_learnt(tmp_path):
    for name in ("train/a/0", "train/b/0", "val/a/0", "val/b/0", "test/a/0", "test/b/0"):
        file = tmp_path / f"{name}.jpg"
        file.parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (1100, 1300, 3), np.uint8)).save(file)
    dataset = load_dataset("folder", 32, tmp_path)
    learnt = pixels_of(tmp_path / dataset.test.files[0].decode(), (32, 32, 3))
    np.testing.assert_array_equal(learnt, dataset.test.images[0])


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


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_read_at_the_same_time_are_checked_and_leave_warnings_as_they_were(monkeypatch):
    first_reads, second_reads, first_ends = Event(), Event(), Event()

    def read(files, name):
        if first_reads.is_set():
            second_reads.set()
            first_ends.wait(9)
        else:
            first_reads.set()
            second_reads.wait(9)
        return files._content

    monkeypatch.setattr(given_image._InMemory, "read", read)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    filters, show = list(warnings.filters), warnings.showwarning
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(pixels_of, png(9, 9), (8, 8, 3))
        first_reads.wait(9)
        second = pool.submit(pixels_of, png(15, 10), (8, 8, 3))
        first.result()
        first_ends.set()
        with pytest.raises(UnreadableError, match="150 pixels, and at most 100 are decoded"):
            second.result()
    assert warnings.filters == filters
    assert warnings.showwarning is show


def png(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()

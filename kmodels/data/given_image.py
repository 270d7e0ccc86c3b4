"""One image as a user gives it, a path, bytes, a Pillow image or an array, brought to the size of a network."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from kmodels.data.arrays import to_array, value_range
from kmodels.data.file_sources import Folder
from kmodels.data.pillow_reading import UnreadableError, open_rgb, upright_rgb
from kmodels.data.resizing import resize_and_crop
from kmodels.errors import InputError, require

ALLOWED = "an image must be a path, the bytes of an image file, a Pillow image or an array (height, width, channels)"
BYTES = bytes | bytearray | memoryview


def is_one(image):
    """Whether this is one image for certain: a path, bytes or a Pillow image."""
    return isinstance(image, str | os.PathLike | BYTES | Image.Image)


def is_array(image):
    """Whether this is an array or tensor, of whatever framework."""
    return hasattr(image, "shape") and not is_one(image)


class _InMemory:
    """The bytes of one image file, as a source of files."""

    def __init__(self, content):
        self._content = content

    def size(self, name):
        return len(self._content)

    def read(self, name):
        return self._content


def pixels_of(image, image_shape):
    """The pixels of an image as a network takes them.

    Args:
        image: a path, the bytes of an image file, a Pillow image or an array, see `checked_array`.
        image_shape: (height, width, channels) to scale and crop it to, with 1 or 3 channels.

    Returns:
        uint8 array of that shape; floats of that shape are returned as they are. A large JPEG file is not decoded whole
        and differs by a few of 255 from the same image given as a Pillow image or an array.

    Raises:
        UnreadableError: if the file or the Pillow image cannot be read.
        InputError: for anything else, or an array that does not fit.
    """
    if is_array(image):
        return _pixels_of_array(checked_array(image), image_shape)
    require(is_one(image), ALLOWED, type(image).__name__)
    if isinstance(image, Image.Image):
        return _fitted(upright_rgb(image), image_shape)
    if isinstance(image, BYTES):
        files, name = _InMemory(bytes(image)), ""
    else:
        require("\0" not in os.fspath(image), "a path has no NUL character in it", os.fspath(image))
        files, name = Folder(Path(image).parent), Path(image).name
    with open_rgb(files, name, image_shape[:2]) as opened:
        return _fitted(opened.image, image_shape)


def checked_array(image):
    """An array of pixels, of one image or several.

    Args:
        image: an array or tensor: integers 0..255, or floats.

    Returns:
        A NumPy array.

    Raises:
        InputError: if it has no numbers, integers outside 0..255, NaN or infinity.
    """
    array = to_array("pixels", image)
    require(array.ndim >= 2, ALLOWED, f"an array of the shape {array.shape}")
    if array.dtype.name == "bfloat16":
        array = array.astype("float32")
    require(array.dtype.kind in "iuf", "pixels must be integers 0..255 or floats", str(array.dtype))
    if array.dtype == np.uint8 or not array.size:
        return array
    low, high = value_range(array)
    require(np.isfinite([low, high]).all(), "pixels must be finite numbers from 0 to 255", "NaN or infinity")
    if array.dtype.kind in "iu":
        require(low >= 0 and high <= 255, "pixels that are integers must be from 0 to 255", f"{low} to {high}")
    return array


def _pixels_of_array(array, image_shape):
    if array.ndim == 2:
        array = array[..., None]
    if array.shape == image_shape:
        return array
    height, width, channels = image_shape
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or not array.size:
        hint = "; channels come last: use np.moveaxis(image, 0, -1)" if array.shape[:1] in ((1,), (3,)) else ""
        raise InputError(f"{ALLOWED}, with 1, 3 or 4 channels{hint}. Received: an array of the shape {array.shape}")
    if array.dtype.kind == "f":
        raise InputError(
            f"an image of floats must have the network's size, ({height}, {width}, {channels}); integers 0..255 are "
            f"resized: use image.round().astype('uint8'). Received: {array.dtype} {array.shape}"
        )
    array = array.astype(np.uint8, copy=False)
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    return _fitted(image.convert("RGB"), image_shape)


def _fitted(image, image_shape):
    height, width, channels = image_shape
    if not image.width * image.height:
        raise UnreadableError("it has no pixels")
    if channels == 1:
        return resize_and_crop(image.convert("L"), (height, width))[..., None]
    return resize_and_crop(image, (height, width))

"""Images of any kind as pixels to look at."""

import numpy as np


def to_rgb(image):
    """An image as uint8 (height, width, 3).

    Args:
        image: (height, width) or (height, width, channels). Integers are 0..255; floats, which may be in any range,
            are stretched from their least value, black, to their greatest, white. Of other channels than three the
            mean is taken.
    """
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "iu":
        pixels = _stretched(pixels.astype(np.float32))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[-1] != 3:
        pixels = pixels.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    return pixels.astype(np.uint8)


def to_unit_rgb(images):
    """Images as float32 (n, height, width, 3) in 0..1; see `to_rgb`.

    Args:
        images: at least one image of the same size.
    """
    return np.stack([to_rgb(image) for image in images]).astype(np.float32) / 255


def _stretched(pixels):
    """From 0 to 255; what is not a number is black."""
    finite = pixels[np.isfinite(pixels)]
    low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
    return np.nan_to_num(255 * ((pixels - low) / ((high - low) or 1)), posinf=255, neginf=0)

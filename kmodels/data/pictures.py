"""Resizing, the same wherever the pixels come from."""

import numpy as np
from PIL import Image, ImageOps


def fit(image, image_size):
    """A Pillow image as uint8 (image_size, image_size, 3): scaled to cover the square, the overhang cut evenly."""
    if image.size != (image_size, image_size):
        image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def fit_arrays(images, image_size):
    """`fit` for uint8 arrays (n, height, width, 3); None leaves them as they are."""
    if image_size is None or images.shape[1:3] == (image_size, image_size):
        return images
    return np.stack([fit(Image.fromarray(image), image_size) for image in images])

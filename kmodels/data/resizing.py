"""Resizing, the same for every source of pixels."""

import numpy as np
from PIL import Image, ImageOps


def resize_and_crop(image, image_size):
    """Scales a Pillow image to cover a square, or a rectangle, and crops its centre.

    Args:
        image: an RGB or grey Pillow image of any size.
        image_size: height and width of the square in pixels; or (height, width).

    Returns:
        uint8 (height, width, 3), or (height, width) of a grey image.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def resize_arrays(images, image_size):
    """`resize_and_crop` for arrays.

    Args:
        images: uint8 (n, height, width, 3).
        image_size: in pixels; None leaves the images as they are.

    Returns:
        uint8 (n, image_size, image_size, 3).
    """
    if image_size is None or images.shape[1:3] == (image_size, image_size):
        return images
    return np.stack([resize_and_crop(Image.fromarray(image), image_size) for image in images])

"""Augmentation layers, random for each image and compiled: their base, and those that move or cover pixels.

Keras' own RandomCrop uses one offset for a whole batch, and RandomRotation takes the training step out of compilation
on JAX. These are written in plain `keras.ops`, so that every backend compiles them.
"""

import math

import keras
from keras import ops

from kmodels.errors import require


class PerImage(keras.layers.Layer):
    """Applies `transform(images)` while training, nothing otherwise; in float32, whatever Keras' dtype policy is."""

    def __init__(self, *, seed, **kwargs):
        # Half precision would round pixels and their positions.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.seed = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        return self.transform(images) if training else images

    def draw(self, images, low=0.0, high=1.0):
        """A number for each image, uniform from `low` to `high`, as (n, 1, 1, 1)."""
        return self.uniform((ops.shape(images)[0], 1, 1, 1), low, high)

    def uniform(self, shape, low, high):
        """Numbers uniform from `low` to `high`, in float32 as the images are."""
        return keras.random.uniform(shape, low, high, dtype="float32", seed=self.seed)

    def compute_output_shape(self, input_shape):
        return input_shape


class RandomShiftCrop(PerImage):
    """Pads every side with `padding` zeros and crops a window of the old size, at a random offset for each image.

    Args:
        padding: pixels, at least 1.
        seed: of the random numbers, an int.
    """

    def __init__(self, padding, *, seed, **kwargs):
        require(padding >= 1, "padding must be at least 1 pixel", padding)
        super().__init__(seed=seed, **kwargs)
        self.padding = padding

    def transform(self, images):
        n, height, width, _ = ops.shape(images)
        p = self.padding
        padded = ops.pad(images, ((0, 0), (p, p), (p, p), (0, 0)))
        shift = keras.random.randint((n, 2), 0, 2 * p + 1, seed=self.seed)
        rows = shift[:, 0, None] + ops.arange(height, dtype=shift.dtype)
        columns = shift[:, 1, None] + ops.arange(width, dtype=shift.dtype)
        return _pixels(padded, rows[:, :, None], columns[:, None, :])


class RandomTurn(PerImage):
    """Turns each image about its centre by an angle of its own; what comes from outside is 0.

    Args:
        degrees: the angle is uniform in +-degrees, 0 < degrees <= 180.
        nearest: take the nearest pixel, as PyTorch's RandomRotation does by default, instead of blending four.
        seed: of the random numbers, an int.
    """

    def __init__(self, degrees, *, seed, nearest=False, **kwargs):
        require(0 < degrees <= 180, "degrees must be above 0 and at most 180", degrees)
        super().__init__(seed=seed, **kwargs)
        self.degrees, self.nearest = degrees, nearest

    def transform(self, images):
        n, height, width, _ = ops.shape(images)
        limit = self.degrees * math.pi / 180
        angle = self.uniform((n, 1, 1), -limit, limit)
        cos, sin = ops.cos(angle), ops.sin(angle)
        y = ops.arange(height, dtype="float32")[None, :, None] - (height - 1) / 2
        x = ops.arange(width, dtype="float32")[None, None, :] - (width - 1) / 2
        source_y = cos * y - sin * x + (height - 1) / 2
        source_x = sin * y + cos * x + (width - 1) / 2
        if self.nearest:
            source_y, source_x = ops.round(source_y), ops.round(source_x)
        return _sample(images, source_y, source_x)


class RandomTranspose(PerImage):
    """Exchanges rows and columns of every other image: no pixel is lost or interpolated.

    Between flips both ways it makes the eight positions of a square equally likely, quarter turns among them.

    Args:
        seed: of the random numbers, an int.

    Raises:
        InputError: for images that are not square.
    """

    def build(self, input_shape):
        require(input_shape[1] == input_shape[2], "images must be square to exchange rows and columns", input_shape[1:])

    def transform(self, images):
        return ops.where(self.draw(images) < 0.5, ops.transpose(images, (0, 2, 1, 3)), images)


class RandomErasing(PerImage):
    """Fills a rectangle of an image with noise, each pixel and colour uniform in 0..255 (Zhong et al. 2017).

    The rectangle covers 0.02 to 0.33 of the image and lies wholly within it; it is 0.3 to 3.3 times as tall as wide
    (of a square image), less far from a square where it would not fit.

    Args:
        probability: of an image to be changed, 0 to 1.
        seed: of the random numbers, an int.
    """

    def __init__(self, probability=0.5, *, seed, **kwargs):
        require(0 <= probability <= 1, "probability must be from 0 to 1", probability)
        super().__init__(seed=seed, **kwargs)
        self.probability = probability

    def transform(self, images):
        area = self.draw(images, 0.02, 0.33)
        # The longer side, sqrt(area * aspect), is at most the whole image.
        limit = ops.minimum(math.log(3.3), -ops.log(area))
        aspect = ops.exp(limit * self.draw(images, -1.0, 1.0))
        tall, wide = ops.sqrt(area * aspect), ops.sqrt(area / aspect)
        y = tall / 2 + self.draw(images) * (1 - tall)
        x = wide / 2 + self.draw(images) * (1 - wide)
        # One noise for all images, whose rectangles show other parts of it: generating it is slower than all the rest.
        noise = self.uniform((1, *ops.shape(images)[1:]), 0.0, 255.0)
        erased = ops.logical_and(rectangle(images, y, x, tall, wide), self.draw(images) < self.probability)
        return ops.where(erased, noise, images)


def rectangle(images, y, x, tall, wide):
    """Which pixels of each image have their centre within its rectangle, bool (n, height, width, 1).

    Args:
        y: the rectangle's centre, (n, 1, 1, 1), as a share of the height; x: of the width.
        tall: its height, (n, 1, 1, 1), as a share of the image's; wide: its width.
    """
    _, height, width, _ = ops.shape(images)
    rows = (ops.arange(height, dtype="float32")[None, :, None, None] + 0.5) / height
    columns = (ops.arange(width, dtype="float32")[None, None, :, None] + 0.5) / width
    return ops.logical_and(ops.abs(rows - y) < tall / 2, ops.abs(columns - x) < wide / 2)


def _sample(images, y, x):
    """Values of `images` (n, h, w, c) at the fractional positions `y`, `x` (n, h, w): bilinear, 0 outside."""
    _, height, width, _ = ops.shape(images)
    # A border of one zero pixel stands for everything outside.
    padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = ops.clip(y + 1, 0.0, height + 1.0)
    x = ops.clip(x + 1, 0.0, width + 1.0)
    top = ops.clip(ops.floor(y), 0.0, float(height))
    left = ops.clip(ops.floor(x), 0.0, float(width))
    down, right = (y - top)[..., None], (x - left)[..., None]
    top, left = ops.cast(top, "int32"), ops.cast(left, "int32")
    above = _pixels(padded, top, left) * (1 - right) + _pixels(padded, top, left + 1) * right
    below = _pixels(padded, top + 1, left) * (1 - right) + _pixels(padded, top + 1, left + 1) * right
    return above * (1 - down) + below * down


def _pixels(images, rows, columns):
    """Pixels (n, r, s, c) of `images` (n, h, w, c) at integer `rows` and `columns`, which broadcast to (n, r, s)."""
    n, height, width, channels = ops.shape(images)
    index = ops.cast(rows * width + columns, "int32")
    if keras.backend.backend() == "tensorflow":
        # It gathers whole pixels several times faster than single values.
        index = index + height * width * ops.arange(n, dtype="int32")[:, None, None]
        return ops.take(ops.reshape(images, (-1, channels)), index, axis=0)
    # Image by image, so that JAX can divide a batch between devices.
    flat, shape = ops.reshape(images, (-1, height * width, channels)), index.shape[1:]
    pixels = ops.take_along_axis(flat, ops.reshape(index, (-1, math.prod(shape), 1)), axis=1)
    return ops.reshape(pixels, (-1, *shape, channels))

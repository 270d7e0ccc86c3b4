"""Augmentation layers that change colours, for each image by itself; they compute what torchvision's do."""

from keras import ops

from kmodels.augment.layers import PerImage
from kmodels.errors import require


class RandomSharpness(PerImage):
    """Sharpens some images as torchvision's RandomAdjustSharpness does: away from a smoothed copy.

    An image becomes smooth + factor * (image - smooth), where smooth weighs each pixel 5/13 and its eight neighbours
    1/13. Pixels at the border stay as they are.

    Args:
        factor: above 1 sharpens, below blurs, 0 is the smoothed copy; at least 0.
        probability: of an image to be changed, 0 to 1.
        seed: of the random numbers, an int.
    """

    def __init__(self, factor=2, probability=0.5, *, seed, **kwargs):
        require(factor >= 0, "factor must be at least 0", factor)
        require(0 <= probability <= 1, "probability must be from 0 to 1", probability)
        super().__init__(seed=seed, **kwargs)
        self.factor, self.probability = factor, probability

    def transform(self, images):
        inner = images[:, 1:-1, 1:-1]
        # A sum of nine shifted images would be compiled into what computes them, which then is computed nine times.
        smooth = (9 * ops.average_pool(images, 3, strides=1) + 4 * inner) / 13
        detail = ops.pad(inner - smooth, ((0, 0), (1, 1), (1, 1), (0, 0)))
        chosen = ops.cast(self.draw(images) < self.probability, images.dtype)
        return _clipped(images + chosen * (self.factor - 1) * detail)


class RandomColorJitter(PerImage):
    """Changes brightness, contrast, saturation and hue, in this order, as torchvision's ColorJitter does in any order.

    The first three are blends by a factor uniform in [1 - value, 1 + value]: with black, with the mean grey of the
    image, with the image in grey. Each is cut off at 0 and 255. The hue moves by a share of the colour circle that is
    uniform in +-`hue`.

    Args:
        brightness: 0 to 1, and so are contrast and saturation.
        hue: 0 to 0.5.
        seed: of the random numbers, an int.

    Raises:
        InputError: for images without three colours.
    """

    def __init__(self, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, *, seed, **kwargs):
        amounts = (brightness, contrast, saturation)
        rule = "brightness, contrast and saturation must be from 0 to 1"
        require(all(0 <= amount <= 1 for amount in amounts), rule, amounts)
        require(0 <= hue <= 0.5, "hue must be from 0 to 0.5", hue)
        super().__init__(seed=seed, **kwargs)
        self.amounts, self.hue = amounts, hue

    def build(self, input_shape):
        require(input_shape[-1] == 3, "images must have three colours (RGB) for them to be changed", input_shape[1:])

    def transform(self, images):
        brightness, contrast, saturation = (self.draw(images, 1 - amount, 1 + amount) for amount in self.amounts)
        images = _clipped(brightness * images)
        mean = ops.mean(_grey(images), axis=(1, 2, 3), keepdims=True)
        images = _clipped(contrast * images + (1 - contrast) * mean)
        images = _clipped(saturation * images + (1 - saturation) * _grey(images))
        return self._other_hue(images) if self.hue else images

    def _other_hue(self, images):
        hsv = ops.image.rgb_to_hsv(images / 255)
        hue = (hsv[..., :1] + self.draw(images, -self.hue, self.hue)) % 1.0
        return _clipped(255 * ops.image.hsv_to_rgb(ops.concatenate([hue, hsv[..., 1:]], axis=-1)))


def _grey(images):
    """(n, height, width, 1): luma, with the weights of ITU-R BT.601."""
    weights = ops.convert_to_tensor([0.2989, 0.587, 0.114], dtype=images.dtype)
    return ops.sum(images * weights, axis=-1, keepdims=True)


def _clipped(images):
    return ops.clip(images, 0.0, 255.0)

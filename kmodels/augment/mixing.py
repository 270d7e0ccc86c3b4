"""Augmentation layers that mix images of a batch, and tell the loss in which shares.

Every image is mixed with the one before it in the batch (the first with the last): batches are shuffled, so that one is
any other image. What is random is the share that each image keeps of itself,
uniform from 0 to 1: the Beta(1, 1) of both papers for CIFAR.

The loss must weigh the labels by the same shares. The layer keeps those of its last call, and the loss reads them, in
the same trace of a step: they are values of that step and no state. So a call that does not train leaves none, and
taking them leaves none: no other loss ever sees them.
"""

from keras import ops

from kmodels.augment.layers import PerImage, rectangle
from kmodels.errors import require


class Mixing(PerImage):
    """Base of the layers that mix: `mix(images, partners)` gives the mixed images and the shares (n, 1, 1, 1)."""

    def __init__(self, *, seed, **kwargs):
        super().__init__(seed=seed, **kwargs)
        self._share = None

    def call(self, images, training=False):
        share = None
        if training:
            images, share = self.mix(images, before(images))
        # Past Keras, which looks into what is set on a layer for variables to track.
        object.__setattr__(self, "_share", share)
        return images

    def take_share(self):
        """The share of itself that each image of the last batch kept, (n,); None if unmixed, or read already."""
        share = self._share
        object.__setattr__(self, "_share", None)
        return share if share is None else ops.reshape(share, (-1,))


class MixUp(Mixing):
    """Blends each image with its partner (Zhang et al. 2017), by a random share for each image.

    The paper has one share per batch.

    Args:
        seed: of the random numbers, an int.
    """

    def mix(self, images, partners):
        share = self.draw(images)
        return partners + share * (images - partners), share


class CutMix(Mixing):
    """Puts a rectangle of its partner into each image, at the same position (Yun et al. 2019).

    The paper has one rectangle per batch.

    The rectangle has the image's form and the area 1 - share; its centre is anywhere, so that a part of it may lie
    outside. The share handed to the loss is that of the pixels which the image really kept.

    Args:
        seed: of the random numbers, an int.
    """

    def mix(self, images, partners):
        side = ops.sqrt(1 - self.draw(images))
        theirs = rectangle(images, self.draw(images), self.draw(images), side, side)
        share = 1 - ops.mean(ops.cast(theirs, "float32"), axis=(1, 2, 3), keepdims=True)
        return ops.where(theirs, partners, images), share


def before(values):
    """For each image of a batch, or its label, the one that it is mixed with."""
    return ops.roll(values, 1, axis=0)


def mixing_layer(augmentation):
    """The layer of an augmentation model that mixes; None if none does.

    Raises:
        InputError: for several: the loss weighs labels by the shares of one.
    """
    mixing = [layer for layer in augmentation.layers if isinstance(layer, Mixing)]
    names = [type(layer).__name__ for layer in mixing]
    require(len(mixing) <= 1, "augmentation must mix images once at most, by one of mixup and cutmix", names)
    return mixing[0] if mixing else None

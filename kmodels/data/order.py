"""The order in which an epoch shows the examples: a function of labels, seed and epoch alone.

Oversampling is an order too: indices of small classes come more than once. So it costs no copy of the pixels, and it
works wherever the batches come from.
"""

import numpy as np

from kmodels.errors import require

# How often a class is shown in an epoch: in proportion to its size to this power.
SAMPLERS = {"shuffle": 1.0, "oversample": 0.0, "sqrt": 0.5}
# A last batch with a smaller share of the batch size is left out.
SMALLEST_BATCH = 1 / 8


def require_sampler(sampler, data_loader):
    """Raises InputError for a sampler that the data loader would ignore."""
    rule = "data_loader 'stream' shows each image once; sampler must be shuffle"
    require(data_loader == "arrays" or sampler == "shuffle", rule, sampler)


def images_shown(images, batch_size):
    """How many of `images` training images an epoch shows: all, or all but a very small last batch.

    The gradient of a few images is mostly noise, and it would be the last step before validation: with 3 images after
    156 batches of 256, the validation loss of a small network on CIFAR-10 jumps from one epoch to the next, and early
    stopping ends too soon; without them it falls smoothly. Other images are left out in each epoch.

    Args:
        images: of the split.
        batch_size: images per step.
    """
    rest = images % batch_size
    return images - rest if images > batch_size and rest < SMALLEST_BATCH * batch_size else images


def epoch_order(labels, seed, epoch, sampler="shuffle"):
    """The indices of the examples in the order of an epoch, int64 (n,).

    Args:
        labels: ints (n,).
        seed: of the order; None keeps the order of the labels.
        epoch: counted from 0.
        sampler: one of SAMPLERS. All but "shuffle" repeat images of small classes and leave out some of large ones, so
            that an epoch has as many images as the split; no pixel is copied for it.
    """
    if seed is None:
        return np.arange(len(labels))
    rng = np.random.default_rng((seed, epoch))
    order = np.arange(len(labels)) if sampler == "shuffle" else _sampled(labels, SAMPLERS[sampler], rng)
    rng.shuffle(order)
    return order


def _sampled(labels, power, rng):
    """n indices, of each class in proportion to its size to this power; its images equally often, give or take one."""
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes**power / np.sum(sizes**power) * len(labels)
    wanted = np.floor(shares).astype(int)
    wanted[rng.permutation(len(classes))[: len(labels) - wanted.sum()]] += 1
    sampled = []
    for label, size, number in zip(classes, sizes, wanted, strict=True):
        indices = np.flatnonzero(labels == label)
        sampled += [np.tile(indices, number // size), rng.permutation(indices)[: number % size]]
    return np.concatenate(sampled)

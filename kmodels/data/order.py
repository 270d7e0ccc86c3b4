"""In which order an epoch sees the examples: a function of labels, seed and epoch alone.

Oversampling is an order too: places of small classes come more than once. So it costs no copy of the pixels, and every
feed, resident on the device or not, serves it.
"""

import numpy as np

# How often a class is drawn in an epoch: in proportion to its size to this power.
SAMPLERS = {"shuffle": 1.0, "oversample": 0.0, "sqrt": 0.5}


def epoch_order(labels, seed, epoch, sampler="shuffle"):
    """The places of the examples in the order of this epoch, int64 (n,); a `seed` of None keeps their own.

    Args:
        labels: ints (n,).
        sampler: one of SAMPLERS. All but "shuffle" repeat images of small classes and leave out some of large ones, so
            that an epoch has as many images as the split; no pixel is copied for it.
    """
    if seed is None:
        return np.arange(len(labels))
    rng = np.random.default_rng((seed, epoch))
    order = np.arange(len(labels)) if sampler == "shuffle" else _drawn(labels, SAMPLERS[sampler], rng)
    rng.shuffle(order)
    return order


def _drawn(labels, power, rng):
    """n places, of each class in proportion to its size to this power; its images equally often, but for one."""
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes**power / np.sum(sizes**power) * len(labels)
    wanted = np.floor(shares).astype(int)
    wanted[rng.permutation(len(classes))[: len(labels) - wanted.sum()]] += 1
    drawn = []
    for label, size, number in zip(classes, sizes, wanted, strict=True):
        places = np.flatnonzero(labels == label)
        drawn += [np.tile(places, number // size), rng.permutation(places)[: number % size]]
    return np.concatenate(drawn)

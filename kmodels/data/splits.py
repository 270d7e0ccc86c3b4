"""Splits that are the same for everyone: stratified, with a fixed seed that no training seed touches."""

import numpy as np

from kmodels.errors import require

# Published with the splits; changing it changes every split, and with them what all records were measured on.
SPLIT_SEED = 2020


def stratified_split(labels, fractions, seed=SPLIT_SEED):
    """Divides the places 0..n-1 so that every part has each class in the same share.

    Args:
        labels: ints (n,).
        fractions: the share of each part; together 1.
        seed: of the shuffle within each class.

    Returns:
        One sorted int64 array of places for each fraction; together they are all places, each once.
    """
    # RandomState, not default_rng: its stream is frozen for good, so the split outlives NumPy versions.
    rng = np.random.RandomState(seed)
    parts = [[] for _ in fractions]
    ends = np.cumsum(fractions)
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.round(ends[:-1] * len(places)).astype(int)
        for part, piece in zip(parts, np.split(places, cuts), strict=True):
            part.append(piece)
    return [np.sort(np.concatenate(part)).astype(np.int64) for part in parts]


def keep_of_classes(labels, fractions, seed):
    """Sorted places of a share of each class, drawn by `seed`; at least one image of a class whose share is above 0.

    Args:
        labels: ints (n,), 0..classes-1.
        fractions: for each class the share to keep, 0 to 1.

    Raises:
        InputError: if a share is not within 0 to 1, or nothing is left.
    """
    require(
        all(0 <= share <= 1 for share in fractions) and any(fractions),
        "fractions must be numbers from 0 to 1, not all 0",
        fractions,
    )
    sizes = np.bincount(labels, minlength=len(fractions))
    counts = [max(round(share * size), 1 if share else 0) for share, size in zip(fractions, sizes, strict=True)]
    return keep_counts(labels, counts, seed)


def keep_counts(labels, counts, seed):
    """Sorted places of so many images of each class, or all of a class with fewer, drawn by `seed`.

    Args:
        labels: ints (n,), 0..classes-1.
        counts: for each class how many to keep.
    """
    chosen = []
    for label, count in enumerate(counts):
        # A draw of its own for each class: what one class keeps does not depend on the others.
        places = np.random.RandomState([seed % 2**32, label]).permutation(np.flatnonzero(labels == label))
        chosen.append(places[:count])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def long_tail(labels, ratio):
    """How many images each class keeps in a long tail: from all of the first class down to 1/ratio of it in the last.

    Class i of k keeps n * ratio ** (-i / (k - 1)), rounded down, where n is the size of the largest class: the
    exponential profile of CIFAR-10-LT (Cui et al., Class-Balanced Loss Based on Effective Number of Samples, 2019).

    Args:
        labels: ints (n,), 0..classes-1.
        ratio: of the largest class to the smallest one, at least 1.

    Returns:
        Ints (classes,), each at least 1.

    Raises:
        InputError: if the ratio is below 1, or so large that a class would vanish.
    """
    sizes = np.bincount(labels)
    require(
        1 <= ratio <= sizes.max(),
        f"the ratio of a long tail must be from 1 to {sizes.max()}, the size of the "
        "largest class; above it the last class would vanish",
        ratio,
    )
    # The rounding of powers must not take an image from a whole number.
    counts = np.floor(sizes.max() * ratio ** -np.linspace(0, 1, len(sizes)) + 1e-6).astype(int)
    return np.minimum(counts, sizes)


def stratified_sample(labels, examples, seed=SPLIT_SEED):
    """Sorted places of exactly `examples` labels, each class in its share (largest remainders rounded up)."""
    rng = np.random.RandomState(seed)
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * examples / len(labels)
    keep = np.floor(shares).astype(int)
    for place in np.argsort(keep - shares, kind="stable")[: examples - keep.sum()]:
        keep[place] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:number] for label, number in zip(classes, keep, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)

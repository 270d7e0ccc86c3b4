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
    chosen = []
    for label, share in enumerate(fractions):
        # A draw of its own for each class: what one class keeps does not depend on the others.
        places = np.random.RandomState([seed % 2**32, label]).permutation(np.flatnonzero(labels == label))
        chosen.append(places[: max(round(share * len(places)), 1 if share else 0)])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


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

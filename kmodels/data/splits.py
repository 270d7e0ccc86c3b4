"""Splits that are the same for everyone: stratified, with a fixed seed that no training seed changes."""

import numbers

import numpy as np

from kmodels.errors import InputError, require, shorten

# Published with the splits. Changing it changes every split, and with them the data of every record.
SPLIT_SEED = 2020


def stratified_split(labels, fractions):
    """Divides the indices 0..n-1 so that each part has the same share of every class.

    Args:
        labels: ints (n,).
        fractions: the share of each part; they sum to 1.

    Returns:
        One sorted int64 array of indices for each fraction. Every index is in exactly one of them.
    """
    # RandomState, not default_rng: its stream is frozen for good, so the split outlives NumPy versions.
    rng = np.random.RandomState(SPLIT_SEED)
    parts = [[] for _ in fractions]
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        for part, piece in zip(parts, np.split(indices, _cuts(len(indices), fractions)), strict=True):
            part.append(piece)
    return [np.sort(np.concatenate(part)).astype(np.int64) for part in parts]


def grouped_split(labels, groups, fractions, class_names):
    """As `stratified_split`, with all images of a group in one part: about the same share of every class in each.

    The largest group first, each goes where its classes are most lacking. Groups of equal size come in an order that
    the seed decides.

    Args:
        labels: ints (n,), 0..classes-1.
        groups: (n,), equal for images of the same group.
        fractions: the share of each part; they sum to 1.
        class_names: for the error.

    Raises:
        InputError: if a part would have no image of a class.
    """
    labels, groups = np.asarray(labels), np.unique(groups, return_inverse=True)[1]
    sizes = np.zeros((groups.max() + 1, len(class_names)))
    np.add.at(sizes, (groups, labels), 1)
    wanted = np.outer(fractions, sizes.sum(axis=0))
    filled, part_of = np.zeros_like(wanted), np.empty(len(sizes), int)
    order = np.random.RandomState(SPLIT_SEED).permutation(len(sizes))
    for group in order[np.argsort(-sizes[order].sum(axis=1), kind="stable")]:
        # By how much the squared distance from what is wanted changes, where a part that wants little counts as much.
        lacking = wanted - filled
        change = ((lacking - sizes[group]) ** 2 - lacking**2) / np.maximum(wanted, 1)
        part_of[group] = change.sum(axis=1).argmin()
        filled[part_of[group]] += sizes[group]
    empty = [class_names[label] for label in np.flatnonzero((filled == 0).any(axis=0))]
    if empty:
        numbers = {class_names[label]: int((sizes[:, label] > 0).sum()) for label in range(len(class_names))}
        raise InputError(
            f"too few groups to divide {_percentages(fractions)} with an image of each class in every part: "
            f"{shorten(f'{name} is in {numbers[name]}' for name in empty)}"
        )
    return [np.flatnonzero(part_of[groups] == part).astype(np.int64) for part in range(len(fractions))]


def _cuts(examples, fractions):
    """Where the examples of one class are cut into parts, ints (parts - 1,)."""
    return np.round(np.cumsum(fractions)[:-1] * examples).astype(int)


def check_class_sizes(labels, fractions, class_names):
    """Raises an InputError if `stratified_split` would leave a part without an image of a class.

    Args:
        labels: ints (n,), 0..classes-1; classes without any image are not checked.
        fractions: as for `stratified_split`.
        class_names: for the error.
    """
    needed = len(fractions)
    while np.diff([0, *_cuts(needed, fractions), needed]).min() < 1:
        needed += 1
    sizes = np.bincount(labels, minlength=len(class_names))
    small = [f"{class_names[i]} ({size})" for i, size in enumerate(sizes) if 0 < size < needed]
    if small:
        raise InputError(
            f"too few images to divide {_percentages(fractions)}: {shorten(small)}; a class needs at least {needed}"
        )


def _percentages(fractions):
    return "/".join(f"{100 * fraction:.0f}" for fraction in fractions)


def cut_missing_splits(labels, given, class_names, origin):
    """Divides train where val or test is missing: 60/20/20 if both are, else 80/20.

    Args:
        labels: ints (n,), the labels of train, 0..classes-1.
        given: names of the splits besides train that exist: "val", "test", both or neither.
        class_names: for the error.
        origin: "as published", for the description.

    Returns:
        The indices of train that form each split, `{"train": ..., "val": ...}` without the given ones, and a
        description of the split.

    Raises:
        InputError: if a class has too few images to have one in each part.
    """
    names = ["train", *(name for name in ("val", "test") if name not in given)]
    fractions = {1: (1.0,), 2: (0.8, 0.2), 3: (0.6, 0.2, 0.2)}[len(names)]
    shares = _percentages(fractions)
    check_class_sizes(labels, fractions, class_names)
    parts = dict(zip(names, stratified_split(labels, fractions), strict=True))
    if len(names) == 1:
        return parts, origin
    if len(names) == 3:
        return parts, f"{shares}, stratified, seed {SPLIT_SEED}"
    (kept,) = {"val", "test"} & set(given)
    into = "" if kept == "test" else " into train and test"
    return parts, f"{kept} {origin}; train divided {shares}{into}, stratified, seed {SPLIT_SEED}"


def keep_fractions(labels, fractions, seed):
    """Sorted indices of a share of each class; at least one image of a class whose share is above 0.

    Args:
        labels: ints (n,), 0..classes-1.
        fractions: for each class the share to keep, 0 to 1.
        seed: of the choice.

    Raises:
        InputError: if a share is not within 0 to 1, or nothing is left.
    """
    require(
        all(isinstance(share, numbers.Real) and 0 <= share <= 1 for share in fractions) and any(fractions),
        "fractions must be numbers from 0 to 1, not all 0",
        fractions,
    )
    sizes = np.bincount(labels, minlength=len(fractions))
    counts = [max(round(share * size), 1 if share else 0) for share, size in zip(fractions, sizes, strict=True)]
    return keep_counts(labels, counts, seed)


def keep_counts(labels, counts, seed):
    """Sorted indices of `counts[i]` images of class i, or of all where the class has fewer.

    Args:
        labels: ints (n,), 0..classes-1.
        counts: for each class how many to keep.
        seed: of the choice. With the same seed, a smaller count keeps a subset of what a larger one keeps.
    """
    chosen = []
    for label, count in enumerate(counts):
        # Each class has its own generator: what one class keeps does not depend on the others.
        indices = np.random.RandomState([seed % 2**32, label]).permutation(np.flatnonzero(labels == label))
        chosen.append(indices[:count])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def long_tail(labels, ratio):
    """How many images each class keeps in a long tail: all of the first class, down to 1/ratio of it in the last.

    Class i of k keeps n * ratio ** (-i / (k - 1)), rounded down, where n is the size of the largest class: the
    exponential profile of CIFAR-10-LT (Cui et al., Class-Balanced Loss Based on Effective Number of Samples, 2019).

    Args:
        labels: ints (n,), 0..classes-1.
        ratio: of the largest class to the smallest one, at least 1.

    Returns:
        Ints (classes,), each at least 1.

    Raises:
        InputError: if the ratio is below 1, or so large that a class would be empty.
    """
    sizes = np.bincount(labels)
    require(
        isinstance(ratio, numbers.Real) and 1 <= ratio <= sizes.max(),
        f"the ratio of a long tail must be from 1 to {sizes.max()}, the size of the largest class; above it the last "
        "class would be empty",
        ratio,
    )
    # Powers are rounded: 1e-6 keeps a result that should be a whole number from being rounded down.
    counts = np.floor(sizes.max() * ratio ** -np.linspace(0, 1, len(sizes)) + 1e-6).astype(int)
    return np.minimum(counts, sizes)


def stratified_sample(labels, examples):
    """Sorted indices of exactly `examples` labels, each class in its share (largest remainders rounded up).

    A class whose share rounds to 0 gets one image, taken from the largest class, as long as that has more than one.

    Args:
        labels: ints (n,).
        examples: how many to choose, at most n.
    """
    rng = np.random.RandomState(SPLIT_SEED)
    classes, sizes = np.unique(labels, return_counts=True)
    shares = sizes * examples / len(labels)
    counts = np.floor(shares).astype(int)
    for i in np.argsort(counts - shares, kind="stable")[: examples - counts.sum()]:
        counts[i] += 1
    for i in np.flatnonzero(counts == 0):
        largest = np.argmax(counts)
        if counts[largest] > 1:
            counts[largest] -= 1
            counts[i] = 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:count] for label, count in zip(classes, counts, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)
